"""An output made again from its origin, and held against the one that stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import get_num_threads, set_num_threads

from core.progress import Meter, steps_of
from core.records import sha256_file
from flows.jobs.origins import Origin
from flows.jobs.pipeline import AnyOperation, make
from flows.machines.devices import choose_device, slot
from flows.machines.resources import check_room
from flows.settings.settings import read_settings


@dataclass(frozen=True)
class Verdict:
    """How an output that was made again compares with the one that stands.

    Attributes:
        same: Whether every pixel or voxel is the same.
        words: The finding in one line.
    """

    same: bool
    words: str


def remake(origin: Origin, target: Path, meter: Meter) -> Path:
    """Make the output again, on as many threads, with its record; the file to compare.

    Args:
        origin: As found.
        target: The main output to write; the others and the record go beside it.
        meter: Told how many sampling steps are done.
    """
    operation, device = origin.operation, choose_device(read_settings().device)
    check_room(operation, origin.request, device, target.absolute().parent)
    with threads(origin.threads), slot(device):
        model = origin.model.load(device)
        paths = make(
            operation, origin.request, target, model, on_step=steps_of(meter), overwrite=True
        )
    return paths[origin.role]


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute on this many threads, as many as now for 0; sums are split over threads."""
    before = get_num_threads()
    set_num_threads(number or before)
    try:
        yield
    finally:
        set_num_threads(before)


def compare(old: Path, new: Path, operation: AnyOperation) -> Verdict:
    """Whether two outputs are the same: the files, else what they decode to."""
    digest = sha256_file(new)
    if digest == sha256_file(old):
        return Verdict(True, f"identical: every bit of the file (sha256 {digest})")
    before, after, what = operation.decoded(old), operation.decoded(new), ""
    for what, then in before.items():
        now = after[what]
        if then.shape != now.shape:
            return Verdict(False, f"different: {then.shape} then, {now.shape} now")
        changed = then != now
        if changed.any():
            largest = float(np.abs(then.astype(np.float64) - now.astype(np.float64)).max())
            share = 100 * float(changed.mean())
            words = f"{share:.3g} % of the {what}s, by up to {largest:.4g} (sha256 {digest})"
            return Verdict(False, f"different: {words}")
    return Verdict(
        True, f"identical: every {what}, though the files' bytes differ (sha256 {digest})"
    )
