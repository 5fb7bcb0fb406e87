"""The two work pools and the places in them: coordinators on CPUs, sampling on GPUs.

Each GPU has a worker of its own, so no two of them can want the same device. A worker takes at
most one run of each queue at a time (two interactive ones where there is no GPU): an interactive
run starts while a night's batch goes on, and the two take turns on the device
(``flows.machines.devices.slot``).
"""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from core.numerics import allows_gpu
from core.refusal import Refusal
from flows.settings.settings import Settings

CPU, GPU = "cpu", "gpu"
POOLS = (CPU, GPU)
INTERACTIVE, BATCH = "interactive", "batch"
PRIORITIES = {INTERACTIVE: 1, BATCH: 10}

# Coordinators wait more than they compute. Two places stay free of batches, so that the janitor
# can always come in.
COORDINATORS = {INTERACTIVE: 2, BATCH: 6}
RUNS_PER_GPU = {INTERACTIVE: 1, BATCH: 1}
RUNS_WITHOUT_GPU = {INTERACTIVE: 2, BATCH: 1}  # while one run starts, another has the cores

MIB = 1 << 20


@dataclass(frozen=True)
class Place:
    """What one worker serves: a pool, and in the pool of GPUs one device.

    Attributes:
        pool: ``"cpu"`` or ``"gpu"``.
        index: Counts the workers of the pool on this host.
        visible: For ``CUDA_VISIBLE_DEVICES``; empty where jobs compute on the CPU.
        slot: Name of a pretended GPU, for its lock; empty for a real one and for none.
    """

    pool: str
    index: int = 0
    visible: str = ""
    slot: str = ""

    @property
    def name(self) -> str:
        """The worker's name: it is the same after a restart, so its books can be continued."""
        return f"{self.pool}-{socket.gethostname()}-{self.index}"

    @property
    def lanes(self) -> Mapping[str, int]:
        """How many runs of each queue the worker takes at a time."""
        if self.pool == CPU:
            return COORDINATORS
        return RUNS_PER_GPU if self.visible or self.slot else RUNS_WITHOUT_GPU

    @classmethod
    def read(cls, text: str) -> Self:
        """The place that ``write`` gave."""
        return cls(**json.loads(text))

    def write(self) -> str:
        """As JSON, for a command line."""
        return json.dumps(asdict(self))

    def environment(self) -> dict[str, str]:
        """The variables that keep the worker and its jobs on this device."""
        return {
            "CUDA_VISIBLE_DEVICES": self.visible,
            "LAMINA_DEVICE": "cuda" if self.visible else "cpu",
            "LAMINA_SLOT": self.slot,
        }


def places(pool: str, settings: Settings) -> list[Place]:
    """One place per worker of ``pool`` that this host should have; never none.

    Raises:
        Refusal: A GPU was asked for that this host does not have, or with portable arithmetic.
    """
    if pool == CPU:
        return [Place(CPU)]
    visible = _visible(settings.device)
    if settings.device.startswith("cuda") and not visible:
        raise Refusal(
            f"LAMINA_DEVICE={settings.device}: this host shows no such GPU; set it to auto or cpu."
        )
    if not settings.gpus:
        return [Place(GPU, i, device) for i, device in enumerate(visible)] or [Place(GPU)]
    return [
        Place(GPU, i, visible[i]) if i < len(visible) else Place(GPU, i, slot=f"pretended-{i}")
        for i in range(int(settings.gpus))
    ]


def _visible(device: str) -> list[str]:
    """How CUDA knows the GPUs of this host that ``device`` allows, in the driver's order."""
    if not allows_gpu(device):
        return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = _driver_knows() if listed is None else [d for d in listed.split(",") if d.strip()]
    _, _, index = device.partition(":")
    return found[int(index) : int(index) + 1] if index else found


def _driver_knows() -> list[str]:
    """The GPUs of this host."""
    return _ask_driver("--query-gpu=uuid", "--format=csv,noheader")


def gpu_memory_gb(visible: str) -> list[float]:
    """Memory of one GPU in 1e9 bytes, as a list; empty where the driver does not tell.

    Args:
        visible: As CUDA_VISIBLE_DEVICES names it.
    """
    words = ("--query-gpu=memory.total", "--format=csv,noheader,nounits", "-i", visible)
    try:
        told = _ask_driver(*words, timeout=5)
    except (OSError, subprocess.SubprocessError):  # a driver that hangs
        return []
    return [float(mib) * MIB / 1e9 for mib in told if mib.isdecimal()]


def _ask_driver(*words: str, timeout: float = 60) -> list[str]:
    """Asks the driver's own tool: importing torch for it takes seconds and memory."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, *words]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=timeout)
    return answer.stdout.split() if answer.returncode == 0 else []
