"""What a scanner did to the anatomy: slices of some thickness, some distance apart.

Parameters are drawn into a frozen record and then obeyed, so that the same record degrades a
training patch, builds the back-projection it is compared with, and keeps a result consistent
with its scan. Everything is separable: one dense matrix per axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, tensor
from core.operations.linear_operators import AxisOperator
from medical.acquisition.sampling import (
    BACK_PROJECTION_STEPS,
    AxisGrid,
    Matrix,
    SliceSampling,
    back_projection,
    closeness,
    cubic,
    degradation,
)
from medical.files.volume import Volume


@lru_cache(maxsize=64)
def degradation_matrix(grid: AxisGrid) -> Tensor:
    """``sampling.degradation`` as a tensor: (num_slices, num_voxels) float64."""
    return tensor(degradation(grid))


@lru_cache(maxsize=64)
def cubic_matrix(grid: AxisGrid) -> Tensor:
    """``sampling.cubic`` as a tensor: (num_voxels, num_slices) float64."""
    return tensor(cubic(grid))


@lru_cache(maxsize=64)
def back_projection_matrix(grid: AxisGrid, steps: int = BACK_PROJECTION_STEPS) -> Tensor:
    """``sampling.back_projection`` as a tensor: (num_voxels, num_slices) float64."""
    return tensor(back_projection(grid, steps))


@lru_cache(maxsize=64)
def evidence(grid: AxisGrid) -> Tensor:
    """``sampling.closeness`` as a tensor: (num_voxels,) float64."""
    return tensor(closeness(grid))


Axes = tuple[SliceSampling | None, SliceSampling | None, SliceSampling | None]


@dataclass(frozen=True)
class Acquisition:
    """How a scan was made: the sampling of each axis (None = as fine as the grid) and its noise.

    Attributes:
        axes: sampling along D, H, W.
        noise_std: of the white noise in the scan, intensities in [0, 1].
    """

    axes: Axes
    noise_std: float = 0.0

    @classmethod
    def slices(cls, axis: int, sampling: SliceSampling, noise_std: float = 0.0) -> Acquisition:
        """An acquisition in slices along one axis, the other two left alone."""
        d, h, w = (sampling if axis == a else None for a in range(3))
        return cls((d, h, w), noise_std)

    def on_grid(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        num_slices: tuple[int, int, int] | None = None,
    ) -> AcquiredGrid:
        """This acquisition laid over a fine grid.

        Args:
            shape: (D, H, W) of the fine grid.
            spacing_mm: of the fine grid.
            num_slices: acquired along each axis; None takes as many as fit.
        """
        grids: list[AxisGrid | None] = []
        for axis, sampling in enumerate(self.axes):
            if sampling is None:
                grids.append(None)
                continue
            extent = shape[axis] * spacing_mm[axis]
            # headers hold 0.999998 mm for 1 mm: a thousandth of a slice does not lose a slice
            fitting = max(1, math.floor(extent / sampling.pitch_mm + 1e-3))
            count = fitting if num_slices is None else num_slices[axis]
            grids.append(AxisGrid(shape[axis], spacing_mm[axis], count, sampling))
        return AcquiredGrid((grids[0], grids[1], grids[2]), shape, spacing_mm)


@dataclass(frozen=True)
class AcquiredGrid:
    """An acquisition on a particular fine grid: the operators between scan and volume."""

    axes: tuple[AxisGrid | None, AxisGrid | None, AxisGrid | None]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def operator(self, *, plain: bool = False) -> AxisOperator:
        """The degradation, from the fine grid to the scan.

        Args:
            plain: for arrays of numpy; False for tensors.
        """
        return self._operator(degradation, degradation_matrix, plain=plain)

    def cubic(self, *, plain: bool = False) -> AxisOperator:
        """Cubic B-spline interpolation, from the scan to the fine grid."""
        return self._operator(cubic, cubic_matrix, plain=plain)

    def back_projection(self, *, plain: bool = False) -> AxisOperator:
        """Iterated back-projection, from the scan to the fine grid, axis by axis."""
        return self._operator(back_projection, back_projection_matrix, plain=plain)

    def evidence(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """How well each voxel was measured is the product of these along D, H, W."""
        d, h, w = (
            np.ones(size, np.float32) if grid is None else closeness(grid).astype(np.float32)
            for size, grid in zip(self.shape, self.axes, strict=True)
        )
        return d, h, w

    def evidence_map(self, *, plain: bool = False) -> Tensor:
        """How well each voxel was measured, (D, H, W) float32: 1 at slice centers."""
        d, h, w = self.evidence()
        found = d[:, None, None] * h[None, :, None] * w[None, None, :]
        return cast("Tensor", found) if plain else tensor(found)

    def scan_shape(self) -> tuple[int, int, int]:
        """The shape of the scan: slices along coarse axes, voxels along the others."""
        d, h, w = (
            size if grid is None else grid.num_slices
            for size, grid in zip(self.shape, self.axes, strict=True)
        )
        return d, h, w

    def resolution_mm(self) -> tuple[float, float, float]:
        """The resolution of the scan along D, H, W: slice thickness, or grid spacing."""
        d, h, w = (
            spacing if grid is None else grid.sampling.thickness_mm
            for spacing, grid in zip(self.spacing_mm, self.axes, strict=True)
        )
        return d, h, w

    def _operator(
        self,
        arrays: Callable[[AxisGrid], Matrix],
        tensors: Callable[[AxisGrid], Tensor],
        *,
        plain: bool,
    ) -> AxisOperator:
        matrix: Callable[[AxisGrid], Any] = arrays if plain else tensors
        d, h, w = (None if grid is None else matrix(grid) for grid in self.axes)
        return AxisOperator((d, h, w))


def acquire(volume: Volume, acquisition: Acquisition, *, seed: int = 0) -> Volume:
    """The scan an acquisition makes of a volume, with the affine of its slices.

    Args:
        volume: fine voxels; any intensities.
        acquisition: sampling of each axis; its noise is a share of the volume's range [0, 1].
        seed: of the noise.
    """
    import torch

    acquired = acquisition.on_grid(volume.shape, volume.spacing_mm)
    data = acquired.operator().apply(volume.data)
    if acquisition.noise_std > 0:
        generator = torch.Generator().manual_seed(seed)
        data = data + acquisition.noise_std * torch.randn(data.shape, generator=generator)
    affine = volume.affine.copy()
    for axis, grid in enumerate(acquired.axes):
        if grid is None:
            continue
        pitch = grid.sampling.pitch_mm / grid.spacing_mm
        first = (grid.num_voxels - 1) / 2 - (grid.num_slices - 1) / 2 * pitch
        first += grid.sampling.phase_mm / grid.spacing_mm
        affine[:3, 3] += volume.affine[:3, axis] * first
        affine[:3, axis] = volume.affine[:3, axis] * pitch
    return volume.with_data(data, affine)
