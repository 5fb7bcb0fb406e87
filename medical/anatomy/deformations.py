"""Smooth random deformations: the shape of a head changed before it is scanned.

Displacements hang on a coarse grid of control points and follow cubic B-splines between them
(Rueckert et al. 1999). Reading a head between its voxels by trilinear weights blurs it, and a
network trained on blurred truth draws blurred results; so the patch is refined twofold by
interpolating splines first, which leaves the detail in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.operations.linear_operators import AxisOperator
from core.tensors import sent
from medical.acquisition.acquisition import AxisGrid, SliceSampling, cubic_matrix

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]

CONTROL_MM = 16.0
MOST_MM = 5.0
"""A displacement of a control point, below 0.4 of their distance: nothing folds (Choi and Lee
2000)."""
REFINED = 2


@dataclass(frozen=True, eq=False)
class Deformation:
    """Displacements in mm of control points over a box of voxels.

    Attributes:
        control_mm: (3, a, b, c), along D, H, W.
        shape: Of the box.
        spacing_mm: Of its voxels.
    """

    control_mm: Tensor
    shape: Shape
    spacing_mm: Triple

    def displacement(self, device: torch.device | str = "cpu") -> Tensor:
        """The displacement of each voxel in voxels: (3, D, H, W) float32."""
        d, h, w = (
            _spline_matrix(size, spacing)
            for size, spacing in zip(self.shape, self.spacing_mm, strict=True)
        )
        voxels = self.control_mm / torch.tensor(self.spacing_mm).view(3, 1, 1, 1)  # (3, d, h, w)
        return AxisOperator((d, h, w)).apply(sent(voxels, device))

    def apply(self, x: Tensor, origin: Shape, *, labels: bool = False) -> Tensor:
        """The box of a head as the displacements find it, (D, H, W).

        Args:
            x: More of the head than the box; what lies beyond it continues its border.
            origin: The box's corner in ``x``.
            labels: Whether ``x`` are labels, which are not mixed.
        """
        places = self.displacement(x.device)  # (3, D, H, W)
        for axis, first in enumerate(origin):
            index = torch.arange(first, first + self.shape[axis], device=x.device)
            places[axis] += index.view([-1 if a == axis else 1 for a in range(3)])
            places[axis] *= 2.0 / max(x.shape[axis] - 1, 1)
        grid = (places - 1.0).flip(0).permute(1, 2, 3, 0)  # (D, H, W, 3): w, h, d in [-1, 1]
        read = x.float() if labels else refined(x)  # (D', H', W')
        mode = "nearest" if labels else "bilinear"
        options = {"mode": mode, "padding_mode": "border", "align_corners": True}
        found = F.grid_sample(read[None, None], grid[None], **options)[0, 0]
        return found.to(x.dtype) if labels else found.clamp(min=0.0)


def draw_deformation(generator: torch.Generator, shape: Shape, spacing_mm: Triple) -> Deformation:
    """Random displacements of up to ``MOST_MM`` per axis, of random strength."""
    counts = [_intervals(n, mm) + 3 for n, mm in zip(shape, spacing_mm, strict=True)]
    strength = MOST_MM * torch.rand((), generator=generator)
    control = strength * (2.0 * torch.rand((3, *counts), generator=generator) - 1.0)
    return Deformation(control, shape, spacing_mm)


def reach(spacing_mm: Triple) -> Shape:
    """How many voxels a displacement may reach beyond a box."""
    d, h, w = (int(np.ceil(MOST_MM / mm)) + 1 for mm in spacing_mm)
    return d, h, w


def refined(x: Tensor) -> Tensor:
    """A patch on a grid ``REFINED`` times as fine that keeps every old voxel."""
    d, h, w = (
        cubic_matrix(AxisGrid(REFINED * (n - 1) + 1, 1.0 / REFINED, n, SliceSampling(1.0)))
        for n in x.shape
    )
    return AxisOperator((d, h, w)).apply(x.float())


def _intervals(num_voxels: int, spacing_mm: float) -> int:
    return max(1, int(np.ceil((num_voxels - 1) * spacing_mm / CONTROL_MM)))


def _spline_matrix(num_voxels: int, spacing_mm: float) -> Tensor:
    """The weights of control points at voxels: (num_voxels, intervals + 3) float64."""
    count = _intervals(num_voxels, spacing_mm)
    place = np.arange(num_voxels) * spacing_mm / CONTROL_MM  # (num_voxels,)
    first = np.minimum(np.floor(place), count - 1).astype(np.int64)
    t = place - first
    spline = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    matrix = np.zeros((num_voxels, count + 3))  # one row a voxel
    for k, weight in enumerate(spline):
        matrix[np.arange(num_voxels), first + k] = weight / 6.0
    return torch.from_numpy(matrix)
