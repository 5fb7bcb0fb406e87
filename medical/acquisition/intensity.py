"""The intensity scale: from what the scanner stored to [0, 1], and back by the same record."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, as_type, by_slabs, like, plain
from core.refusal import Refusal
from medical.files.volume import Volume

MASKS = (1.0, 255.0)  # what stands inside one
FEWEST_INSIDE = 2  # voxels; a single one is a scan's spike
PERCENTILE = 99.9
MOST_FILLS = 4  # different numbers that stand for no tissue
GAPS = (0.02, 0.25)  # below and above: so far from the rest, as a share of its range, is no tissue
STEPS = 8.0  # mean steps between values of the rest: so far is no next level of a coarse scale
FAR = 0.9  # of the range of the rest: a cluster so far away is fill or wrapped around, not tissue
TIGHT = 0.125  # of the gap: so narrow is a cluster
RARE = 0.02  # of all voxels: so many at the high end may be a class of a phantom
THINNING = 4.0  # times the widest gap that is left: nearer belongs to a tail
FEWEST_LEVELS = 8  # with fewer nobody can say what is far away
BACKGROUND_SHARE = 0.2  # of all voxels: so many at the low end are air, not padding
FEW = 5e-4  # of all voxels: so few at the high end do not move the percentile


@dataclass(frozen=True)
class IntensityScale:
    """A linear map of intensities and its inverse.

    Attributes:
        low: intensity that becomes 0.
        high: intensity that becomes 1.
        percentile: of the voxels above ``low`` that gave ``high``.
        least: lowest intensity that is tissue or air; what lies below is held there.
        most: highest intensity that is tissue; what lies above is held there.
        held: how many voxels lie outside.
    """

    low: float
    high: float
    percentile: float = PERCENTILE
    least: float = -math.inf
    most: float = math.inf
    held: int = 0

    def apply(self, x: Tensor) -> Tensor:
        """Float32 intensities with low at 0 and high at 1."""

        def applied(part: Tensor) -> Tensor:
            part = as_type(part, "float64")
            part = part.clip(self.least, self.most) if self.held else part
            return as_type((part - self.low) / (self.high - self.low), "float32")

        return by_slabs(applied, x)

    def invert(self, x: Tensor) -> Tensor:
        """Intensities on the scanner's scale, to float32 precision."""

        def inverted(part: Tensor) -> Tensor:
            return as_type(as_type(part, "float64") * (self.high - self.low) + self.low, "float32")

        return by_slabs(inverted, x)

    def stretch(self, x: Tensor) -> Tensor:
        """Differences or deviations on the scanner's scale (no offset)."""
        return by_slabs(lambda part: part * (self.high - self.low), x)

    def record(self) -> dict[str, float]:
        """The numbers that undo this scale, for the sidecar."""
        bounds = ("least", "most", "held")
        return {k: v for k, v in asdict(self).items() if self.held or k not in bounds}


def measure_scale(x: Tensor, percentile: float = PERCENTILE) -> IntensityScale:
    """The scale that puts the 99.9 percentile of positive voxels at 1.

    Zero stays zero, so background stays background; only a volume with negative intensities
    has its minimum moved to 0. Values far from all others (a damaged voxel, padding) do not
    count: they are held where the rest ends.

    Args:
        x: intensities, any shape.
        percentile: of the voxels above the low end.
    """
    ordered = np.sort(plain(x), axis=None)
    first, last = _body(ordered)
    above = ordered.size - last
    if first == 0 and above == 0:
        return _scale(ordered, percentile)
    body = ordered[first:last]
    least, most = float(body[0]), float(body[-1])
    counted = ordered.clip(least, most) if above <= FEW * ordered.size else body
    scale = _scale(counted, percentile)
    return replace(scale, least=least, most=most, held=first + above)


def scale_of_all(x: Tensor, percentile: float = PERCENTILE) -> IntensityScale:
    """The scale by every voxel, extreme ones included."""
    return _scale(plain(x), percentile)


def _scale(x: NDArray[Any], percentile: float = PERCENTILE) -> IntensityScale:
    low = min(0.0, float(x.min()))
    above = x[x > low]
    if above.size == 0:
        raise Refusal(
            f"every voxel is {float(x.min()):g}: a scan needs some contrast to set its intensity "
            "scale; check that the right file was given."
        )
    rank = max(1, min(above.size, round(percentile / 100.0 * above.size)))
    above.partition(rank - 1)
    high = low + (float(above[rank - 1]) - low)
    return IntensityScale(low, high, percentile)


def is_a_mask(volume: Volume) -> str:
    """What says that a volume is a mask or a label map, in words; empty where it may be an image.

    Two values are not enough: phantoms have as few. Masks are 0 and 1, or 0 and 255. Labels are
    whole numbers, whatever a header says.
    """
    x = plain(volume.data)
    if volume.header.labels and bool((x == np.rint(x)).all()):
        return (
            "a label map and no scan: its header says so (intent_code; set it to 0 in a scan "
            "whose header was copied from a label map)"
        )
    low, high = float(x.min()), float(x.max())
    if low != 0 or high not in MASKS:
        return ""
    inside = x == high
    if int(inside.sum()) < FEWEST_INSIDE or not bool((inside | (x == low)).all()):
        return ""
    return f"a mask and no scan: all of its voxels are 0 or {high:g}"


def refuse_mask(volume: Volume, scan: str) -> None:
    """Refuse a volume that is surely a mask or a label map.

    Raises:
        Refusal: It is one.
    """
    if words := is_a_mask(volume):
        raise Refusal(f"{scan} is {words}; check that the right file was given.")


def without_fill(x: Tensor) -> tuple[Tensor, Tensor]:
    """The intensities with fill raised to zero or the lowest real one, and where it was.

    Fill is what stands where nothing was measured, such as -1024 or -32768: the only number below
    zero, or the lowest, further from the next than all others are from each other.

    Args:
        x: intensities, any shape.
    """
    values = plain(x)
    low, lowest = float(values.min()), None
    rest = values[values > low] if low < 0 else values[:0]
    for number in range(MOST_FILLS):
        if rest.size == 0:
            break
        real = float(rest.min())
        spread = _scale(rest - np.float32(real)).high if float(rest.max()) > real else 0.0
        if 0 < spread < real - low or (number == 0 and real >= 0 < spread):
            lowest = min(real, 0.0)
        low, rest = real, rest[rest > real]
    if lowest is None:
        return x, like(np.zeros(values.shape, dtype=bool), x)
    return x.clip(min=lowest), x < lowest


def _body(ordered: NDArray[Any]) -> tuple[int, int]:
    """Where, among values in order, those begin and end that lie close together.

    The widest gap parts a few levels or voxels at one end from the rest, until none is wide.
    What is not negative stays: zero is air, however far from it tissue begins. A picture whose
    values thin out towards an end, as around a bright spot, has one wide gap after another:
    then only those count that are far wider than the widest left. Many levels are extreme only
    as a tight cluster far away: noise around fill, or small negatives stored as 65,500 and more.
    """
    begins = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    begins = np.concatenate([[0], begins])
    levels, counts = ordered[begins].astype(np.float64), np.diff(begins, append=ordered.size)
    parts, gaps = [(0, levels.size)], [math.inf]
    while (part := _without_widest(levels, counts, *parts[-1])) is not None:
        parts.append(part[:2])
        gaps.append(part[2])
    begin, end = parts.pop()
    air = levels[begin] >= 0.0 or counts[begin] > BACKGROUND_SHARE * ordered.size
    rest = levels[begin + int(air) : end]
    left = float(np.diff(rest).max()) if gaps[1:] else 0.0
    while (gap := gaps.pop()) <= THINNING * left:
        begin, end = parts.pop()
        left = max(left, gap)
    return int(counts[:begin].sum()), int(counts[:end].sum())


def _without_widest(
    levels: NDArray[np.float64], counts: NDArray[np.int64], begin: int, end: int
) -> tuple[int, int, float] | None:
    """Levels without those beyond the widest gap, and that gap; None where they belong to them."""
    if end - begin <= FEWEST_LEVELS:
        return None
    at = begin + int(np.diff(levels[begin:end]).argmax()) + 1
    below = at - begin < end - at
    low, high = (at, end) if below else (begin, at)
    extent = float(levels[high - 1] - levels[low])
    wide = max(GAPS[0 if below else 1], STEPS / max(1, high - low - 1)) * extent
    gap = float(levels[at] - levels[at - 1])
    gone = counts[:at] if below else counts[at:]  # at this end in all
    share = float(gone.sum() / counts.sum())
    spread = float(levels[at - 1] - levels[0] if below else levels[-1] - levels[at])
    cluster = spread <= TIGHT * gap and gap > FAR * extent and (below or share <= RARE)
    many = gone.size > MOST_FILLS and share > FEW and not cluster
    air = below and (float(levels[at - 1]) >= 0.0 or share > BACKGROUND_SHARE)
    if many or air or high - low < FEWEST_LEVELS or gap <= wide:
        return None
    return low, high, gap
