"""Which device computes, and whose turn it is.

One job at a time samples on a GPU: a lock file per device, held by the kernel for a process and
released by it when that process ends in whatever way. A CPU needs no turn, unless it was
declared to be so many GPUs (``LAMINA_GPUS``).
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from core.numerics import allows_gpu
from core.refusal import Refusal
from flows.machines.priority_lock import turn
from flows.settings.settings import read_settings

logger = logging.getLogger(__name__)


def choose_device(wish: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        Refusal: A GPU was asked for that this machine does not have, or with portable arithmetic.
    """
    allowed = allows_gpu(wish)
    if wish == "auto":
        return torch.device("cuda" if allowed and torch.cuda.is_available() else "cpu")
    device = torch.device(wish)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Refusal(
            f"LAMINA_DEVICE={wish}: this machine offers {torch.cuda.device_count()} CUDA devices; "
            "set it to auto or cpu."
        )
    return device


def gpu_memory_gb(device: torch.device) -> list[float]:
    """Memory of the device in 1e9 bytes, as a list; empty for a CPU."""
    if device.type != "cuda":
        return []
    return [torch.cuda.get_device_properties(device).total_memory / 1e9]


@contextmanager
def slot(device: torch.device, *, urgent: bool = True) -> Iterator[None]:
    """Hold the device for as long as the block lasts; wait for it if another job does.

    Args:
        device: That will compute.
        urgent: Whether to go before jobs that are not: a batch holds the device for one item
            at a time and lets urgent ones in between.
    """
    path = lock_path(device)
    gate = path.with_suffix(".gate") if path else read_settings().home / "locks" / "cpu.gate"
    with turn(path, gate, urgent=urgent):
        if path:
            logger.log(logging.INFO if urgent else logging.DEBUG, "holding %s", path.stem)
        yield


def lock_path(device: torch.device) -> Path | None:
    """The file whose lock is the device's turn, or None if it needs none.

    A real GPU has one for all users of the host, a pretended one stands in the state folder.
    """
    if device.type == "cuda":
        identity = torch.cuda.get_device_properties(device).uuid
        return Path(tempfile.gettempdir()) / f"lamina-gpu-{identity}.lock"
    settings = read_settings()
    return settings.locks / f"{settings.slot}.lock" if settings.slot else None
