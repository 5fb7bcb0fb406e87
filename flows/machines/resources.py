"""What a request needs, computed from its sizes, and whether any machine offers it.

The figures are measured with the shipped models (``scenes-64`` and ``heads-1mm``) in float32 on
one core of a server CPU: clips of 16 to 128 frames and 64 to 128 pixels a side, within a
quarter of the formula; a head of 197 x 233 x 188 voxels with 1 and 2 samples and steps, within a
tenth. Memory is the peak beyond 0.62 GB for the libraries with the video model and 0.73 GB with
the other. Offers are rounded against the asker: a quarter is added to all.
"""

import logging
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.refusal import Refusal
from medical.request import SuperResolutionRequest
from video.request import VideoRequest

logger = logging.getLogger(__name__)

MARGIN = 1.25
GB = 1e9
MILLION = 1e6

# seconds = FIXED + steps * (LINEAR * n + SQUARE * n**2), n in millions of pixels (attention is
# square in it); one core
CLIP_FIXED_S, CLIP_LINEAR_S, CLIP_SQUARE_S = 0.3, 0.3, 0.6  # with the layout
CLIP_BASE_GB, CLIP_GB_PER_MILLION = 0.62, 0.14
# seconds = FIXED + samples * steps * LINEAR * n, n in millions of voxels (tiles: linear); one core
HEAD_FIXED_S, HEAD_LINEAR_S = 1.9, 0.43
HEAD_BASE_GB, HEAD_GB_PER_MILLION = 0.73, 0.04
START_S = 20.0  # a Python start, the libraries and the weights
START_MINUTES = MARGIN * START_S / 60
GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
BYTES_ON_DISK = 16.0  # of a voxel's results and unfinished work


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


def needed(
    request: VideoRequest | SuperResolutionRequest,
    *,
    scan: tuple[Sequence[int], Sequence[float]] | None = None,
    gpus: int = 0,
) -> Resources:
    """What one request needs.

    Args:
        request: A clip or a restoration.
        scan: Of a restoration: shape and spacing (mm) of the scan.
        gpus: 1 to sample on a GPU: memory is then wanted there, too.
    """
    if isinstance(request, VideoRequest):
        n = request.num_frames * request.height * request.width / MILLION
        seconds = request.steps * (CLIP_LINEAR_S * n + CLIP_SQUARE_S * n * n) + CLIP_FIXED_S
        base, more = CLIP_BASE_GB, CLIP_GB_PER_MILLION * n
    else:
        n = _voxels(request, scan) / MILLION
        seconds = request.samples * request.steps * HEAD_LINEAR_S * n + HEAD_FIXED_S
        base, more = HEAD_BASE_GB, HEAD_GB_PER_MILLION * n
    return Resources(
        gpus=gpus,
        gpu_memory_gb=MARGIN * (base + more) if gpus else 0.0,
        cpus=1.0,
        memory_gb=MARGIN * (base + more),
        disk_gb=MARGIN * n * MILLION * BYTES_ON_DISK / GB,
        minutes=MARGIN * (seconds + START_S) / 60,
    )


def _voxels(
    request: SuperResolutionRequest, scan: tuple[Sequence[int], Sequence[float]] | None
) -> float:
    """Voxels of the restored grid: an axis that is fine enough already stays."""
    if scan is None:
        raise Refusal(
            f"scan={request.scan}: what a restoration needs depends on its size; give the scan's "
            "shape and spacing."
        )
    finer = [max(1.0, s / w) for s, w in zip(scan[1], request.spacing_mm, strict=True)]
    return math.prod(scan[0]) * math.prod(finer)


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


def memory_limit_gb(groups: Path = GROUPS, own: Path = OWN_GROUP) -> float:
    """What a container, a pod or a unit allows its processes, in 1e9 bytes; infinite if nothing.

    Args:
        groups: Where the kernel shows control groups.
        own: The file that says in which of them this process is.
    """
    lines = own.read_text().splitlines() if own.is_file() else []
    inside = [PurePosixPath(line[3:].lstrip("/")) for line in lines if line.startswith("0::")]
    files = [groups / at / "memory.max" for path in inside for at in (path, *path.parents)]
    files.append(groups / "memory" / "memory.limit_in_bytes")  # of older kernels
    said = [file.read_text().strip() for file in files if file.is_file()]
    return min((int(text) / GB for text in said if text.isdecimal()), default=math.inf)


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
    raise Refusal(
        f"the request needs {wanted}: a job must fit on one machine ({told or 'none offered'}); "
        "ask for less (frames, size, voxels, batch), or add a larger machine."
    )


def check_here(wanted: Resources, folder: Path, *, gpus: Sequence[float] = ()) -> None:
    """Log what the job needs, and refuse it now if this host can never do it.

    A GPU is taken as if nobody else used it: who holds some of its memory changes by the minute.

    Args:
        wanted: What the job needs.
        folder: Where it writes.
        gpus: Memory of each GPU that it may use, in 1e9 bytes.

    Raises:
        Refusal: Memory, disk or the GPU would not do.
    """
    logger.info("needs %s", wanted)
    check_fits(wanted, [this_host(folder, gpus=gpus)])


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
