"""Which device computes, and whose turn it is.

One job at a time samples on a GPU: a lock file per device, held by the kernel for a process and
released by it when that process ends in whatever way. A CPU needs no turn.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock

logger = logging.getLogger(__name__)


def choose_device(wish: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: A GPU was asked for that this machine does not have.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wish)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"LAMINA_DEVICE={wish}: this machine offers {torch.cuda.device_count()} CUDA devices; "
            "set it to auto or cpu."
        )
    return device


@contextmanager
def slot(device: torch.device) -> Iterator[None]:
    """Hold the device for as long as the block lasts; wait for it if another job does."""
    if device.type != "cuda":
        yield
        return
    identity = torch.cuda.get_device_properties(device).uuid
    lock = FileLock(Path(tempfile.gettempdir()) / f"lamina-gpu-{identity}.lock", mode=0o666)
    with lock:
        logger.info("holding GPU %s", identity)
        yield
