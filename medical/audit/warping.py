"""Heads bent onto a mean head, so that a bent copy lies where its source does.

Demons (Thirion 1998) on tissue at 4 mm: the gap of intensities along the gradient, smoothed, in
thirty steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medical.anatomy.filters import Floats, Mask, blurred
from medical.audit.seen import Seen, painted

STEPS = 30
SMOOTH = 2.0
"""Width of the field's smoothing, in voxels of 4 mm."""
GIVES = 0.02
"""What keeps a step small where there is no gradient, in squared intensity."""


class Bent:
    """People bent onto their mean: their folds there, worked out once."""

    def __init__(self, people: Sequence[Seen], inner: Mask) -> None:
        tissue = np.stack([tissue_of(person) for person in people])
        self.inner = inner
        self.mean: Floats = tissue.mean(0)
        self.folds = self._folds(tissue)
        self.mean_folds: Floats = self.folds.mean(0)
        self.unit = self._unit(self.folds)

    def scores(self, heads: Sequence[Seen]) -> NDArray[np.float32]:
        """Correlation of folds after bending, (heads, people)."""
        folds = self._folds(np.stack([tissue_of(head) for head in heads]))
        return self._unit(folds) @ self.unit.T

    def _folds(self, tissue: Floats) -> Floats:
        lie = bent(tissue, self.mean)
        return np.stack([blurred(each, 0.5) - blurred(each, 1.75) for each in lie])

    def _unit(self, folds: Floats) -> Floats:
        rows = (folds - self.mean_folds)[:, self.inner]
        rows = rows - rows.mean(1, keepdims=True)
        return (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)).astype(np.float32)


def tissue_of(head: Seen) -> Floats:
    """A head's tissue at 4 mm, painted."""
    soft = blurred(painted(head.labels), 1.0)
    x, y, z = soft.shape
    return soft.reshape(x // 2, 2, y // 2, 2, z // 2, 2).mean((1, 3, 5)).astype(np.float32)


def bent(heads: Floats, mean: Floats) -> Floats:
    """Heads (N, X, Y, Z), each bent onto the mean."""
    fixed = torch.from_numpy(mean)
    gradient = torch.stack(torch.gradient(fixed))
    steep = gradient.square().sum(0)
    return np.stack([_bent(torch.from_numpy(head), fixed, gradient, steep) for head in heads])


def _bent(head: Tensor, fixed: Tensor, gradient: Tensor, steep: Tensor) -> Floats:
    field = torch.zeros(3, *fixed.shape)
    for _ in range(STEPS):
        gap = fixed - _moved(head, field)
        step = gap * gradient / (steep + gap.square() + GIVES)
        field = _smooth(field + 2.0 * step)
    return _moved(head, field).numpy()


def _moved(head: Tensor, field: Tensor) -> Tensor:
    """A head read at each voxel plus its displacement, in voxels."""
    axes = [torch.arange(n, dtype=torch.float32) for n in head.shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")) + field
    grid = torch.stack([places[i] / (head.shape[i] - 1) * 2 - 1 for i in (2, 1, 0)], -1)
    return F.grid_sample(head[None, None], grid[None], align_corners=True)[0, 0]


def _smooth(field: Tensor) -> Tensor:
    """A field under a Gaussian, one axis after the other."""
    reach = int(3 * SMOOTH)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / SMOOTH) ** 2)
    kernel = taps / taps.sum()
    for axis in range(3):
        shape, pad = [1, 1, 1], [0, 0, 0]
        shape[axis], pad[axis] = len(kernel), reach
        weight = kernel.reshape(1, 1, *shape)
        field = F.conv3d(field[:, None], weight, padding=tuple(pad))[:, 0]
    return field
