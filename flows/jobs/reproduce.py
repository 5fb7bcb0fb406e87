"""An output made again from its origin, and held against the one that stands."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import get_num_threads, set_num_threads

from core.operations.operation import AnyOperation
from core.progress import Meter, steps_of
from flows.jobs.origins import Origin
from flows.jobs.pipeline import make
from flows.machines.devices import choose_device, slot
from flows.machines.resources import check_room
from flows.requests.policy import check_policy
from flows.settings.settings import read_settings
from video.provenance.unsigned import is_signed, media_sha256

NOISE_VARIES_DB = 4.0  # from request to request


@dataclass(frozen=True)
class Verdict:
    """How an output that was made again compares with the one that stands.

    Attributes:
        same: Whether every pixel or voxel is the same.
        words: The finding in one line.
    """

    same: bool
    words: str


def remake(origin: Origin, target: Path, meter: Meter, *, sign: bool = False) -> Path:
    """Make the output again, on as many threads, with its record; the file to compare.

    Args:
        origin: As found.
        target: The main output to write; the others and the record go beside it.
        meter: Told how many sampling steps are done.
        sign: Whether it is to be kept, so that clips are signed.
    """
    check_policy(origin.request, "reproduce")
    operation, device = origin.operation, choose_device(read_settings().device)
    check_room(operation, origin.request, device, target.absolute().parent)
    with threads(origin.threads), slot(device):
        model = origin.model.load(device)
        paths = make(
            operation, origin.request, target, model, on_step=steps_of(meter), overwrite=True,
            sign=sign,
        )  # fmt: skip
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


def decibels(off: NDArray[np.float64], then: NDArray[np.generic]) -> float:
    """Peak signal to noise: the whole range of bytes, or that of the values, over what is off."""
    bytes_ = then.dtype == np.uint8
    peak = 255.0 if bytes_ else float(np.ptp(then.astype(np.float64)))
    return 10 * math.log10(max(peak, 1e-30) ** 2 / max(float((off**2).mean()), 1e-60))


def judged(apart_db: float, noise_db: float | None) -> str:
    """How far apart two outputs are, and whether another machine alone would do that."""
    if noise_db is None:
        return f"; {apart_db:.1f} dB between them"
    small = apart_db >= noise_db - NOISE_VARIES_DB
    finding = "as far as another machine alone moves it" if small else "another result"
    return (
        f"; {apart_db:.1f} dB between them: {finding} (this model on other processors: "
        f"{noise_db:.1f} dB)"
    )


def compare(
    old: Path, new: Path, operation: AnyOperation, *, noise_db: float | None = None
) -> Verdict:
    """Whether two outputs are the same: the files before signing, else what they decode to.

    Args:
        old: The output that stands.
        new: The same, made again.
        operation: What made both.
        noise_db: How far results of this model lie apart that differ by the machine alone; None
            where that was not measured.
    """
    digest = media_sha256(new)
    if digest == media_sha256(old):
        signed = " before it was signed" if is_signed(old) or is_signed(new) else ""
        return Verdict(True, f"identical: every bit of the file{signed} (sha256 {digest})")
    before, after, what = operation.decoded(old), operation.decoded(new), ""
    for what, then in before.items():
        now = after[what]
        if then.shape != now.shape:
            return Verdict(False, f"different: {then.shape} then, {now.shape} now")
        changed = then != now
        if changed.any():
            off = np.abs(then.astype(np.float64) - now.astype(np.float64))
            share, apart = 100 * float(changed.mean()), decibels(off, then)
            words = f"{share:.3g} % of the {what}s, by up to {off.max():.4g} (sha256 {digest})"
            return Verdict(False, f"different: {words}{judged(apart, noise_db)}")
    return Verdict(
        True, f"identical: every {what}, though the files' bytes differ (sha256 {digest})"
    )
