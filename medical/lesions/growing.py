"""Lesions over time: the same head later, its lesions grown by what a person asked.

A lesion grows as it was drawn: the voxels that joined it last are those it did not have before.
So the change between two visits is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from medical.lesions.drawing import DrawnLesions


@dataclass(frozen=True, eq=False)
class Visit:
    """Lesions of one visit: (X, Y, Z) their number, 0 for none, and months since the first."""

    lesions: NDArray[np.uint16]
    months: float


def visits(
    drawn: DrawnLesions, months: tuple[float, ...], growth_ml_a_year: float, voxel_mm3: float
) -> tuple[Visit, ...]:
    """The visits that end with the lesions as drawn, each growing by the same volume a year.

    Args:
        drawn: lesions of the last visit.
        months: of each visit, rising from 0.
        growth_ml_a_year: how much all lesions grow together.
        voxel_mm3: volume of a voxel.

    Raises:
        Refusal: The months do not rise from 0, or more would grow than there is.
    """
    if not months or months[0] != 0 or any(b <= a for a, b in pairwise(months)):
        raise Refusal(f"months={months}: visits begin at 0 and follow each other; give 0,12,24.")
    total = int((drawn.mask > 0).sum())
    back = [growth_ml_a_year * (months[-1] - at) / 12 * 1000 / voxel_mm3 for at in months]
    if back[0] > 0.9 * total:
        raise Refusal(
            f"growth_ml_a_year={growth_ml_a_year:g} over {months[-1]:g} months: the lesions have "
            f"{total * voxel_mm3 / 1000:.3g} ml in the end and at least a tenth stands in the "
            "beginning; ask for slower growth or a larger load."
        )
    order = _order(drawn)
    return tuple(
        Visit(_first(drawn.mask, order, total - round(fewer)), at)
        for at, fewer in zip(months, back, strict=True)
    )


def _order(drawn: DrawnLesions) -> NDArray[np.int64]:
    """The voxels of all lesions, flat, in the order in which they join."""
    there = np.flatnonzero(drawn.mask)
    ranks = np.lexsort((there, drawn.mask.ravel()[there], drawn.joined.ravel()[there]))
    return there[ranks]


def _first(mask: NDArray[np.uint16], order: NDArray[np.int64], voxels: int) -> NDArray[np.uint16]:
    kept = np.zeros(mask.size, dtype=np.uint16)
    kept[order[:voxels]] = mask.ravel()[order[:voxels]]
    return kept.reshape(mask.shape)
