"""What a request needs, by its operation's cost, and whether any machine offers it.

Costs stand with the operations and are measured there. Offers are rounded against the asker: a
quarter is added to all.
"""

import logging
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.memory import MARGIN, NO_ROOM, memory_limit_gb
from core.operations.operation import AnyOperation
from core.refusal import Refusal
from core.request import Request
from core.training.request import TrainingRequest

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

GB = 1e9

CHECKPOINTS_GB = 1.0  # at most, of all stages, with the log and the model itself
START_S = 20.0  # a Python start, the libraries and the weights
START_MINUTES = MARGIN * START_S / 60


class Resources(BaseModel):
    """What a job needs, or what a machine offers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpus: int = Field(0, ge=0, description="How many GPUs.")
    gpu_memory_gb: float = Field(0.0, ge=0, description="Memory of each GPU, in 1e9 bytes.")
    cpus: float = Field(1.0, gt=0, description="How many cores.")
    memory_gb: float = Field(1.0, gt=0, description="Main memory, in 1e9 bytes.")
    disk_gb: float = Field(0.1, ge=0, description="Disk, in 1e9 bytes.")
    minutes: float = Field(
        default=math.inf, gt=0, description="Time on one core, or time at most."
    )

    def __str__(self) -> str:
        """On one line, for a person."""
        gpus = f"{self.gpus} GPU of {self.gpu_memory_gb:.1f} GB, " if self.gpus else ""
        time = f", {self.minutes:.1f} min of one core" if math.isfinite(self.minutes) else ""
        return (
            f"{gpus}{self.cpus:g} CPU, {self.memory_gb:.1f} GB memory, {self.disk_gb:.2f} GB disk"
            f"{time}"
        )


def needed(operation: AnyOperation, request: Request, *, gpus: int = 0) -> Resources:
    """What one request needs, by its operation's cost, a start and a margin included.

    Args:
        operation: What is to be done.
        request: What is asked of an operation.
        gpus: 1 to sample on a GPU: memory is then wanted there, too.

    Raises:
        Refusal: A file whose size decides cannot be read.
    """
    cost = operation.cost(request)
    return Resources(
        gpus=gpus,
        gpu_memory_gb=MARGIN * (cost.gpu_memory_gb or cost.memory_gb) if gpus else 0.0,
        cpus=1.0,
        memory_gb=MARGIN * cost.memory_gb,
        disk_gb=MARGIN * cost.disk_gb,
        minutes=MARGIN * (((gpus and cost.gpu_seconds) or cost.seconds) + START_S) / 60,
    )


def training_needs(
    request: TrainingRequest, *, processes: int = 1, gpus: int = 0, data_size: int | None = None
) -> Resources:
    """What a training run needs, of all its processes together.

    Args:
        request: Of any kind.
        processes: That share a batch.
        gpus: How many of them have one.
        data_size: Of its data; by default it is looked up.
    """
    each = request.memory(request.data_size() if data_size is None else data_size)
    rows = request.batch_size / request.accumulation / processes
    return Resources(
        gpus=gpus,
        gpu_memory_gb=MARGIN * (each.process_gb + each.data_gb + each.row_gb) if gpus else 0.0,
        cpus=processes,
        memory_gb=MARGIN * processes * each.at_most(0 if gpus else rows),
        disk_gb=CHECKPOINTS_GB,
    )  # pyright: ignore[reportCallIssue]


def check_room(
    operation: AnyOperation,
    request: Request,
    device: "torch.device",
    folder: Path | None,
) -> Resources:
    """What the request needs, once it is known that this machine can do it.

    Args:
        operation: What is to be done.
        request: What is asked of an operation.
        device: That will draw.
        folder: Where results go; None leaves the disk out, for a batch that waits for room.

    Raises:
        Refusal: Memory, disk or the GPU would not do; with the numbers.
    """
    from flows.machines.devices import gpu_memory_gb

    gpus = gpu_memory_gb(device)
    wanted = needed(operation, request, gpus=len(gpus))
    check_here(wanted, folder, gpus=gpus)
    return wanted


def check_whole(
    operation: AnyOperation,
    request: Request,
    device: "torch.device",
    folder: Path,
) -> Resources:
    """The same, once the operation takes the request, too.

    What words alone ask for is held against the operation first, so that nobody is told of memory
    for what cannot be done at all; files may ask for more than there is, which takes long to find.
    """
    if not operation.inputs(request):
        operation.check(request)
        return check_room(operation, request, device, folder)
    wanted = check_room(operation, request, device, folder)
    operation.check(request)
    return wanted


def this_host(folder: Path, *, gpus: Sequence[float] = ()) -> Resources:
    """What this machine offers.

    Args:
        folder: Where results go; the free space there counts.
        gpus: Memory of each GPU, in 1e9 bytes.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    memory = min(memory, memory_limit_gb())
    standing = next(path for path in (folder, *folder.parents) if path.exists())
    return Resources(
        gpus=len(gpus),
        gpu_memory_gb=max(gpus, default=0.0),
        cpus=float(os.cpu_count() or 1),
        memory_gb=memory,
        disk_gb=shutil.disk_usage(standing).free / GB,
    )


def check_fits(wanted: Resources, offers: Iterable[Resources]) -> Resources:
    """The first offer that has room.

    Raises:
        Refusal: None has; with the numbers.
    """
    offers = list(offers)
    for offer in offers:
        if not _lacks(wanted, offer):
            return offer
    told = "; ".join(f"one offers {', '.join(_lacks(wanted, offer))}" for offer in offers)
    raise Refusal(NO_ROOM.format(needs=wanted, offers=told or "none offered"))


def check_here(wanted: Resources, folder: Path | None, *, gpus: Sequence[float] = ()) -> None:
    """Log what the job needs, and refuse it now if this host can never do it.

    A GPU is taken as if nobody else used it: who holds some of its memory changes by the minute.

    Args:
        wanted: What the job needs.
        folder: Where it writes; None leaves the disk out.
        gpus: Memory of each GPU that it may use, in 1e9 bytes.

    Raises:
        Refusal: Memory, disk or the GPU would not do.
    """
    logger.log(logging.DEBUG if folder is None else logging.INFO, "needs %s", wanted)
    offer = this_host(folder or Path("/"), gpus=gpus)
    if folder is None:
        offer = offer.model_copy(update={"disk_gb": math.inf})
    check_fits(wanted, [offer])


def _lacks(wanted: Resources, offer: Resources) -> list[str]:
    units = {
        "gpus": "GPUs",
        "gpu_memory_gb": "GB of GPU memory",
        "cpus": "CPUs",
        "memory_gb": "GB of memory",
        "disk_gb": "GB of free disk",
        "minutes": "minutes at most",
    }
    return [
        f"{getattr(offer, name):.4g} {unit}"
        for name, unit in units.items()
        if getattr(wanted, name) > getattr(offer, name)
    ]


def job_variables(
    wanted: Resources, pool: Literal["process", "docker", "kubernetes"]
) -> dict[str, Any]:
    """The job variables by which a work pool of that kind gives a run what it needs.

    A process shares its host, so only threads are bounded; a container and a pod are given their
    own share, and told to spread over their GPUs where these are several. Time bounds only pods;
    elsewhere the run's own watchdog does.
    """
    cpus, memory = math.ceil(wanted.cpus), math.ceil(wanted.memory_gb)
    if pool == "process":
        return {"env": {"OMP_NUM_THREADS": str(cpus)}}
    spread = {"env": {"LAMINA_RAY": str(wanted.gpus)}} if wanted.gpus > 1 else {}
    if pool == "docker":
        created: dict[str, Any] = {"shm_size": "8g", "nano_cpus": cpus * 10**9}
        if wanted.gpus:
            device = {"driver": "nvidia", "count": wanted.gpus, "capabilities": [["gpu"]]}
            created["device_requests"] = [device]
        return {"mem_limit": f"{memory}g", "container_create_kwargs": created, **spread}
    variables: dict[str, Any] = {
        "cpu_request": str(cpus),
        "memory_request": f"{memory}G",
        "memory_limit": f"{2 * memory}G",
        "scratch_size": f"{math.ceil(wanted.disk_gb) + 1}G",
        **spread,
    }
    if wanted.gpus:
        variables["gpus"] = wanted.gpus
    if math.isfinite(wanted.minutes):
        variables["deadline_seconds"] = max(600, math.ceil(wanted.minutes * 60 * 4))
    return variables
