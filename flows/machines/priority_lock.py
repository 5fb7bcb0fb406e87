"""Who goes first where a person and a night's batch want the same device.

Two files do it. The lock of the device is held while a job computes. The gate is held, shared,
by urgent jobs that wait for the device; a patient job passes the gate before each item and so
stands back while anybody urgent waits. The kernel frees both when a process ends, however.

Where computing needs no lock (a CPU), urgent jobs hold the gate while they compute, and patient
ones wait for them all the same.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

from core.storage.journal import held


@contextmanager
def turn(lock: Path | None, gate: Path, *, urgent: bool) -> Iterator[None]:
    """Hold the device for the block.

    Args:
        lock: The device's lock; None where jobs compute beside each other.
        gate: Where urgent jobs wait.
        urgent: Whether to go before jobs that are not.
    """
    gate.parent.mkdir(parents=True, exist_ok=True)
    device = nullcontext() if lock is None else FileLock(lock, mode=0o666)
    if not urgent:
        with held(gate):
            pass
        with device:
            yield
        return
    with ExitStack() as waiting:
        waiting.enter_context(held(gate, shared=True))
        with device:
            if lock is not None:
                waiting.close()
            yield
