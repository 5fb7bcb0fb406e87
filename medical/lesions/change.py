"""How a lesion changes from its border to its middle, and from place to place within.

Measured on the lesions of two people with multiple sclerosis at 1 mm (Lesjak et al. 2017), by
distance from the border of their masks; the table stands in ``docs/heads.md``. A real lesion
begins to rise a millimeter outside its mask, where nothing may change here: its rise is the same,
begun at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from medical.lesions.fields import Box, Mask, boxes_of, depth, smooth

MEASURED_MM = 1.0  # voxels that it was measured on
BEND = 1.3  # of the rise: above 1 it begins slowly
PEAK = 2.5  # times its mean, that a change rises to at the most
MOST = 3.0  # times its mean, that a change with its texture comes near to
BLOCK = 16  # voxels a side that are drawn at once
WIDEST = 8.0  # voxels, of a blur: texture of voxels under .25 mm is finer than it was measured
BEFORE = 1 << 20  # blocks before the first: seeds are not negative


@dataclass(frozen=True)
class Look:
    """How the change of one contrast differs within a lesion and among lesions.

    Attributes:
        rise_mm: From the border to two thirds of the change in the middle.
        alike: 0 where a lesion's change follows from its depth alone, 1 where all have one mean.
        varied: From one lesion to the next, as a share of the change.
        rough: From place to place in a lesion, as a share of the change.
        fine_mm: Width of the blur of fine texture.
        coarse_mm: Of coarse texture, half of the variance.
        tissue: Contrasts of one tissue are alike from place to place.
    """

    rise_mm: float
    alike: float
    varied: float
    rough: float
    fine_mm: float
    coarse_mm: float
    tissue: int


LOOKS = {
    "T1w": Look(1.4, 0.0, 0.25, 0.4, 0.6, 2.0, 0),
    "T2w": Look(1.6, 0.0, 0.25, 0.5, 0.6, 2.0, 0),
    "FLAIR": Look(1.0, 0.25, 0.15, 0.32, 0.4, 2.0, 1),
}


def change_within(
    lesions: NDArray[np.uint16],
    contrast: str,
    spacing_mm: Sequence[float],
    seed: Sequence[int],
) -> dict[int, NDArray[np.float64]]:
    """What each lesion changes by at each of its voxels, with a mean of 1 over all voxels.

    Args:
        lesions: (X, Y, Z) number of the lesion at each voxel, 0 for none.
        contrast: ``T1w``, ``T2w`` or ``FLAIR``.
        spacing_mm: Of the voxels.
        seed: Decides differences; a voxel's are the same whatever else the lesion holds.
    """
    look = LOOKS[contrast]
    boxes = {n: box for n, box in enumerate(boxes_of(lesions), start=1) if box is not None}
    rises = {n: rise(lesions[box] == n, look.rise_mm, spacing_mm) for n, box in boxes.items()}
    if not rises:
        return {}
    least = max(0.0, (1 - PEAK * _mean(rises)) / (PEAK - 1))
    found = {}
    for n, box in boxes.items():
        own = np.random.default_rng([*seed, n]).standard_normal(2)[look.tissue]
        texture = _texture(box, look, spacing_mm, seed)[lesions[box] == n]
        shares = (rises[n] + least) / (rises[n] + least).mean() ** look.alike
        found[n] = shares * np.exp(look.varied * own) * (1 + texture).clip(0)
    mean = _mean(found)
    found = {n: np.tanh(change / mean / MOST) for n, change in found.items()}
    mean = _mean(found)
    return {n: change / mean for n, change in found.items()}


def _mean(changes: dict[int, NDArray[np.float64]]) -> float:
    return float(np.concatenate(list(changes.values())).mean())


def rise(inside: Mask, rise_mm: float, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Shares of the change in the middle, of each voxel inside: 0 at the border itself."""
    padded = np.pad(inside, 1)
    deep = (depth(padded, spacing_mm)[padded] - min(spacing_mm) / 2).clip(0)
    return 1 - np.exp(-((deep / rise_mm) ** BEND))


def _texture(
    box: Box, look: Look, spacing_mm: Sequence[float], seed: Sequence[int]
) -> NDArray[np.float64]:
    """Differences from place to place in a box, half of their variance fine and half coarse."""
    parts = [
        _field(box, width, spacing_mm, [*seed, look.tissue, scale])
        for scale, width in enumerate((look.fine_mm, look.coarse_mm))
    ]
    return look.rough * (parts[0] + parts[1]) / np.sqrt(2)


def _field(
    box: Box, width_mm: float, spacing_mm: Sequence[float], seed: Sequence[int]
) -> NDArray[np.float64]:
    """Blurred noise of deviation 1 on voxels of 1 mm; larger ones blur and weaken it."""
    added = [max(0.0, mm**2 - MEASURED_MM**2) / 12 for mm in spacing_mm]
    widths = np.sqrt(np.square(width_mm) + added)
    weaker = float(np.prod(np.sqrt(width_mm / widths)))
    voxels = tuple((widths / np.asarray(spacing_mm)).clip(max=WIDEST))
    pad = [int(np.ceil(4 * width)) + 1 for width in voxels]
    wide = [(part.start - n, part.stop + n) for part, n in zip(box, pad, strict=True)]
    inner = tuple(slice(n, -n) for n in pad)
    blurred = smooth(_noise(wide, seed), voxels)[inner]
    return weaker * blurred / float(np.prod([_deviation(width) for width in voxels]))


@cache
def _deviation(width: float) -> float:
    """What a blur along one axis leaves of the deviation of white noise."""
    reach = int(np.ceil(4 * width)) + 1
    point = np.zeros(2 * reach + 1)
    point[reach] = 1
    return float(np.sqrt(np.square(smooth(point, width)).sum()))


def _noise(box: Sequence[tuple[int, int]], seed: Sequence[int]) -> NDArray[np.float64]:
    """White noise of a box of voxels, which follows from their places."""
    first = [start // BLOCK for start, _ in box]
    last = [(stop - 1) // BLOCK + 1 for _, stop in box]
    drawn = np.empty([BLOCK * (b - a) for a, b in zip(first, last, strict=True)])
    for block in product(*(range(a, b) for a, b in zip(first, last, strict=True))):
        at = tuple(
            slice(BLOCK * (n - a), BLOCK * (n - a + 1)) for n, a in zip(block, first, strict=True)
        )
        random = np.random.default_rng([*seed, *(BEFORE + n for n in block)])
        drawn[at] = random.standard_normal((BLOCK,) * 3)
    return drawn[
        tuple(slice(s - BLOCK * a, e - BLOCK * a) for (s, e), a in zip(box, first, strict=True))
    ]
