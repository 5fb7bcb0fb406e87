"""Who works on a batch at this moment: locks of a disk, and leases of hosts that share none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from core.storage.journal import beating, held
from flows.batches.ledger import Batch


@contextmanager
def alone(batch: Batch, shard: int) -> Iterator[bool]:
    """Make a shard in the block, unless the block learns that somebody else does."""
    lock, mirror = batch.shard_file(shard).with_suffix(".lock"), batch.mirror
    with held(lock, wait=False) as here:
        if not here:
            yield False
            return
        lease = mirror.at_work(shard) if mirror else nullcontext(True)
        with beating(lock), lease as only_one:
            yield only_one


@contextmanager
def coordinated(batch: Batch) -> Iterator[bool]:
    """Coordinate a batch in the block, unless the block learns that somebody else does."""
    with held(batch.root / "batch.lock", wait=False) as here:
        if not here:
            yield False
            return
        with batch.mirror.leased("batch") if batch.mirror else nullcontext(True) as only_one:
            yield only_one


def confirm_coordinated(batch: Batch) -> None:
    """Whether this process still coordinates a batch.

    Raises:
        LostLeaseError: Another host took over.
    """
    if batch.mirror and "batch" in batch.mirror.leases:
        batch.mirror.leases["batch"].confirm()


@contextmanager
def planning(batch: Batch) -> Iterator[bool]:
    """Change the plan of a batch in the block, unless it learns that shards are at work."""
    with held(batch.root / "plan.lock", wait=False) as nobody_here:
        if batch.mirror is None or not nobody_here:
            yield nobody_here
            return
        with batch.mirror.leased("plan") as only_one:
            yield only_one and not batch.mirror.leased_elsewhere()


def being_made(batch: Batch, shard: int) -> bool:
    """Whether some process makes a shard, such as one whose worker was killed."""
    lock = batch.shard_file(shard).with_suffix(".lock")
    return _worked_on(batch, lock, f"shards/{shard:04d}.")


def being_coordinated(batch: Batch) -> bool:
    """Whether some process coordinates a batch; nobody who begins to is turned away meanwhile."""
    return _worked_on(batch, batch.root / "batch.lock", "batch.")


def _worked_on(batch: Batch, lock: Path, lease: str) -> bool:
    if lock.exists():
        with held(lock, wait=False) as nobody_here:
            if not nobody_here:
                return True
    return batch.mirror is not None and batch.mirror.leased_elsewhere(lease)


def sign_of_life(batch: Batch, shard: int) -> float:
    """A number that changes as long as some process makes a shard."""
    path = batch.shard_file(shard).with_suffix(".lock")
    touched = path.stat().st_mtime if path.exists() else 0.0
    return touched + (batch.mirror.sign_of_life(shard) if batch.mirror else 0.0)


@contextmanager
def delivering(batch: Batch, shard: int) -> Iterator[Callable[..., None]]:
    """What takes a shard's files to the store while the block lasts, if there is one."""
    if batch.mirror is None:
        yield lambda *_, **__: None
        return
    from flows.batches.upload import delivering as carrying

    with carrying(batch.mirror, batch.shard_file(shard)) as courier:
        yield courier.take
