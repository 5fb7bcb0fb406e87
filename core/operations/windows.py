"""Where windows lie that cover a volume, and how much each counts; see ``tiling``.

The weights of the windows are a partition of unity, separable along D, H and W, so no volume of
weights is kept. Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, is_plain, like
from core.refusal import Refusal

Slices = tuple[slice, slice, slice]
Share = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """A box of the volume and its share of every voxel in it.

    >>> one = windows((4, 8, 8), (4, 8, 8), (0, 0, 0))[0]
    >>> one.slices[1], one.weights[1].sum().item()
    (slice(0, 8, None), 8.0)

    Attributes:
        slices: Along D, H, W.
        weights: One vector per axis; their outer product over all windows sums to 1 everywhere.
    """

    slices: Slices
    weights: tuple[Share, Share, Share]

    def weight(self, x: Tensor) -> Tensor:
        """The outer product, (d, h, w), in the type of a volume and where that is."""
        d, h, w = (like(share, x) for share in self.weights)
        share: Any = d[:, None, None] * h[:, None] * w
        return share.astype(x.dtype) if is_plain(x) else share.to(x)


def _axis(length: int, size: int, overlap: int) -> list[tuple[slice, Share]]:
    """Intervals that cover an axis evenly, with ramps that sum to 1."""
    if not 0 <= overlap < size:
        raise Refusal(
            f"overlap={overlap}: windows of {size} voxels can share 0 to {size - 1} of them; "
            "a quarter of the window is usual."
        )
    size = min(size, length)
    stride = max(1, size - overlap)
    count = 1 if length == size else -(-(length - size) // stride) + 1
    starts = np.rint(np.linspace(0, length - size, count, dtype=np.float32)).astype(int).tolist()
    position = np.arange(size, dtype=np.float64) + 0.5
    ramp = np.minimum(np.minimum(position, size - position), max(overlap, 1))
    ramp = np.sin(ramp / ramp.max() * np.pi / 2) ** 2  # a window fades in without a step
    rows = np.zeros((count, length))
    for row, start in zip(rows, starts, strict=True):
        row[start : start + size] = ramp
    rows /= rows.sum(0)
    return [
        (slice(start, start + size), row[start : start + size].astype(np.float32))
        for row, start in zip(rows, starts, strict=True)
    ]


def windows(
    shape: tuple[int, int, int], size: tuple[int, int, int], overlap: tuple[int, int, int]
) -> list[Window]:
    """Windows of at most ``size`` that cover a (D, H, W) volume.

    Args:
        shape: Of the volume.
        size: Of a window; an axis shorter than it gets one window.
        overlap: Least number of voxels neighbors share along each axis.
    """
    along_d, along_h, along_w = (_axis(*axis) for axis in zip(shape, size, overlap, strict=True))
    return [
        Window((d, h, w), (share_d, share_h, share_w))
        for (d, share_d), (h, share_h), (w, share_w) in product(along_d, along_h, along_w)
    ]
