"""How much main memory this process may take, by the machine and by its control group."""

import math
import os
from functools import cache
from pathlib import Path, PurePosixPath

from core.refusal import Refusal

GB = 1e9
MARGIN = 1.25  # of what a job is offered, over what it was measured to need
NO_ROOM = (
    "the request needs {needs}: a job must fit on one machine ({offers}); ask for less (frames, "
    "size, voxels, batch), or add a larger machine."
)
GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


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


@cache
def memory_gb() -> float:
    """What there is for this process at most, in 1e9 bytes, whoever holds some of it now."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    return min(whole, memory_limit_gb())


def check_memory(needed_gb: float) -> None:
    """Refuse what there is no main memory for, before it is begun.

    Args:
        needed_gb: As measured, in 1e9 bytes, without a margin.

    Raises:
        Refusal: With the numbers.
    """
    wanted, there = MARGIN * needed_gb, memory_gb()
    if wanted > there:
        offer = f"one offers {there:.4g} GB of memory"
        raise Refusal(NO_ROOM.format(needs=f"{wanted:.1f} GB memory", offers=offer))
