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
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from core.operations.linear_operators import AxisOperator
from core.progress import counted
from core.refusal import Refusal
from medical.acquisition.bands import band_interpolation, band_sampling
from medical.files.volume import Volume

Profile = Literal["gaussian", "box", "band"]
BACK_PROJECTION_STEPS = 12
SPLINE_MARGIN = 12  # samples of continuation at each end; a spline filter forgets 0.27 a sample


@dataclass(frozen=True)
class SliceSampling:
    """How one axis was sampled.

    Attributes:
        thickness_mm: full width at half maximum of the slice profile.
        gap_mm: distance between neighboring slices; negative where slices overlap.
        profile: "gaussian", or "box" for a perfectly rectangular slice; "band" for an axis in
            plane, which holds every wave that its samples can.
        phase_mm: shift of all slices from the centered position.
    """

    thickness_mm: float
    gap_mm: float = 0.0
    profile: Profile = "gaussian"
    phase_mm: float = 0.0

    def __post_init__(self) -> None:
        if not (self.thickness_mm > 0 and self.pitch_mm > 0):
            raise Refusal(
                f"thickness_mm={self.thickness_mm:g}, gap_mm={self.gap_mm:g}: thickness and "
                "thickness + gap are positive; take both from the scan's protocol."
            )
        if self.profile not in ("gaussian", "box", "band"):
            raise Refusal(
                f"profile={self.profile!r}: slice profiles are 'gaussian' and 'box', and in plane "
                "'band'; pick one."
            )

    @property
    def pitch_mm(self) -> float:
        """Distance between the centers of neighboring slices."""
        return self.thickness_mm + self.gap_mm


@dataclass(frozen=True)
class AxisGrid:
    """One axis of a super-resolution problem: a fine grid and the slices laid over it.

    Attributes:
        num_voxels: of the fine grid.
        spacing_mm: of the fine grid.
        num_slices: acquired.
        sampling: of the slices.
    """

    num_voxels: int
    spacing_mm: float
    num_slices: int
    sampling: SliceSampling

    def slice_coordinates(self) -> NDArray[np.float64]:
        """Where each fine voxel lies, counted in slices: (num_voxels,)."""
        voxels = (np.arange(self.num_voxels) - (self.num_voxels - 1) / 2) * self.spacing_mm
        offset = (self.num_slices - 1) / 2
        positions = (voxels - self.sampling.phase_mm) / self.sampling.pitch_mm + offset
        return positions.astype(np.float64)


@lru_cache(maxsize=64)
def degradation_matrix(grid: AxisGrid) -> Tensor:
    """The slices as weighted means of voxels: (num_slices, num_voxels) float64.

    Rows sum to one, also at the ends of the field of view where a profile is cut off.
    """
    if grid.sampling.profile == "band":
        return torch.from_numpy(band_sampling(grid.slice_coordinates(), grid.num_slices))
    pitch, thickness = grid.sampling.pitch_mm, grid.sampling.thickness_mm
    distance = (grid.slice_coordinates()[None, :] - np.arange(grid.num_slices)[:, None]) * pitch
    if grid.sampling.profile == "gaussian":
        logits = -4.0 * math.log(2.0) * (distance / thickness) ** 2
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    else:
        half = grid.spacing_mm / 2
        upper = np.minimum(distance + half, thickness / 2)
        lower = np.maximum(distance - half, -thickness / 2)
        weights = np.clip(upper - lower, 0.0, None)
    total = weights.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        raise Refusal(
            f"{int((total <= 0).sum())} of {counted(grid.num_slices, 'slice')} lie outside the "
            "grid of "
            f"{grid.num_voxels} x {grid.spacing_mm:g} mm: slices must overlap the fine grid; "
            "enlarge the grid or drop the slices."
        )
    return torch.from_numpy(weights / total)


@lru_cache(maxsize=64)
def cubic_matrix(grid: AxisGrid) -> Tensor:
    """Cubic B-spline interpolation from slices to voxels: (num_voxels, num_slices).

    Beyond the outermost slice centers the scan is continued by its end values, as
    ``scipy.ndimage`` does with ``mode="nearest"``.
    """
    coefficients = _spline_coefficients(grid.num_slices)
    position = grid.slice_coordinates() + SPLINE_MARGIN
    position = np.clip(position, 1.0, len(coefficients) - 3.0)
    first = np.floor(position).astype(np.int64) - 1
    t = position - np.floor(position)
    spline = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weights = np.stack(spline, axis=1) / 6.0  # (num_voxels, 4)
    neighbors = coefficients[first[:, None] + np.arange(4)]  # (num_voxels, 4, num_slices)
    return torch.from_numpy(np.einsum("vk,vks->vs", weights, neighbors))


@lru_cache(maxsize=256)
def _spline_coefficients(num_slices: int) -> NDArray[np.float64]:
    """The spline filter of the continued scan: (num_slices + 2 margins, num_slices)."""
    continued = np.pad(np.eye(num_slices), ((SPLINE_MARGIN, SPLINE_MARGIN), (0, 0)), mode="edge")
    return np.asarray(ndimage.spline_filter1d(continued, 3, axis=0, mode="mirror"))


@lru_cache(maxsize=64)
def back_projection_matrix(grid: AxisGrid, steps: int = BACK_PROJECTION_STEPS) -> Tensor:
    """Iterated back-projection as one matrix: (num_voxels, num_slices).

    ``x <- x + U (y - A x)`` is linear in y, so starting from ``x = U y`` the whole iteration is
    one matrix (Irani and Peleg 1991). It is iterated among slices, ``x = U p``, which are few.
    """
    if grid.sampling.profile == "band":
        return torch.from_numpy(band_interpolation(grid.slice_coordinates(), grid.num_slices))
    degrade, upsample = degradation_matrix(grid), cubic_matrix(grid)
    identity = torch.eye(grid.num_slices, dtype=torch.float64)
    slices, again = identity, degrade @ upsample
    for _ in range(steps):
        slices = slices + identity - again @ slices
    return upsample @ slices


@lru_cache(maxsize=64)
def evidence(grid: AxisGrid) -> Tensor:
    """How close each voxel is to a slice center, (num_voxels,): 1 at one, 0 half-way."""
    position = grid.slice_coordinates()
    nearest = np.clip(np.round(position), 0.0, grid.num_slices - 1.0)
    return torch.from_numpy(np.clip(1.0 - 2.0 * np.abs(position - nearest), 0.0, None))


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

    def operator(self) -> AxisOperator:
        """The degradation, from the fine grid to the scan."""
        return self._operator(degradation_matrix)

    def cubic(self) -> AxisOperator:
        """Cubic B-spline interpolation, from the scan to the fine grid."""
        return self._operator(cubic_matrix)

    def back_projection(self) -> AxisOperator:
        """Iterated back-projection, from the scan to the fine grid, axis by axis."""
        return self._operator(back_projection_matrix)

    def evidence_map(self) -> Tensor:
        """How well each voxel was measured, (D, H, W) float32: 1 at slice centers."""
        d, h, w = (
            torch.ones(size) if grid is None else evidence(grid).float()
            for size, grid in zip(self.shape, self.axes, strict=True)
        )
        return d[:, None, None] * h[None, :, None] * w[None, None, :]

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

    def _operator(self, matrix: Callable[[AxisGrid], Tensor]) -> AxisOperator:
        d, h, w = (None if grid is None else matrix(grid) for grid in self.axes)
        return AxisOperator((d, h, w))


def acquire(volume: Volume, acquisition: Acquisition, *, seed: int = 0) -> Volume:
    """The scan an acquisition makes of a volume, with the affine of its slices.

    Args:
        volume: fine voxels; any intensities.
        acquisition: sampling of each axis; its noise is a share of the volume's range [0, 1].
        seed: of the noise.
    """
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
