"""White matter of a head of any contrast, as it is told without labels: where it is even.

Intensities are blurred by a voxel before they are judged, so that the extremes of texture stay
among those of their tissue. Of all tissue white matter is the evenest, in T1w, T2w and FLAIR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medical.lesions.fields import Mask, smooth
from medical.lesions.own_heads import tissue_above

BLUR = 1.0  # voxels
EVEN = 0.1  # of tissue: the evenest, white matter above all
DENSE = 0.5  # of values, which lie in the densest range
SPREADS = 3.0  # times as far from its middle as that range, up to which a lesion's is alike
AROUND = 3.0  # the same of the whole head, whose white matter differs from place to place
FEW = 0.1  # of those around a lesion, below which it does not lie in white matter


@dataclass(frozen=True, eq=False)
class Nearby:
    """Intensities of tissue on average nearby, and the range of white matter among them.

    Attributes:
        mean: (X, Y, Z) of known tissue within about a voxel.
        middle: Of white matter.
        half: Half of the densest range around it.
    """

    mean: NDArray[np.float32]
    middle: float
    half: float

    def white(self, box: tuple[slice, ...], ring: Mask) -> Mask:
        """Those of a ring in a box that are white matter; where hardly any are, the usual ones."""
        mean = self.mean[box]
        like = ring & (np.abs(mean - self.middle) <= AROUND * self.half)
        if np.count_nonzero(like) < max(1.0, FEW * np.count_nonzero(ring)):
            like = ring
        middle, half = densest(mean[like])
        return like & (np.abs(mean - middle) <= SPREADS * half)


def nearby(image: NDArray[np.float32], known: Mask) -> Nearby:
    """What is known of a head's white matter.

    Args:
        image: (X, Y, Z) intensities.
        known: (X, Y, Z) voxels that are as they were, lesions and what is to be filled left out.
    """
    tissue = known & (image > tissue_above(image))
    weight = smooth(tissue.astype(np.float32), BLUR)
    total = smooth(np.where(tissue, image, 0).astype(np.float32), BLUR)
    mean = np.asarray(total / weight.clip(1e-6), np.float32)
    if not tissue.any():
        return Nearby(mean, 0.0, 0.0)
    steep = np.zeros_like(mean)
    for axis, size in enumerate(mean.shape):
        if size > 1:
            steep += np.square(np.gradient(mean, axis=axis))
    even = tissue & (steep <= np.quantile(steep[tissue], EVEN))
    return Nearby(mean, *densest(mean[even]))


def densest(values: NDArray[np.floating]) -> tuple[float, float]:
    """The middle of the shortest range with half of the values, and half its length."""
    ordered = np.sort(values)
    held = max(1, round(DENSE * len(ordered)))
    lengths = ordered[held - 1 :] - ordered[: len(ordered) - held + 1]
    first = int(np.argmin(lengths))
    return float(ordered[first] + lengths[first] / 2), float(lengths[first] / 2)
