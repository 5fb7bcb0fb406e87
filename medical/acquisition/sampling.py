"""How slices sample an axis, and the matrices that follow from it, in numpy.

One dense matrix per axis, in float64. ``acquisition`` puts the axes of a scan together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from core.progress import counted
from core.refusal import Refusal
from medical.acquisition.bands import band_interpolation, band_sampling

Profile = Literal["gaussian", "box", "band"]
Matrix = NDArray[np.float64]
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
def degradation(grid: AxisGrid) -> Matrix:
    """The slices as weighted means of voxels: (num_slices, num_voxels) float64.

    Rows sum to one, also at the ends of the field of view where a profile is cut off.
    """
    if grid.sampling.profile == "band":
        return band_sampling(grid.slice_coordinates(), grid.num_slices)
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
    return np.asarray(weights / total)


@lru_cache(maxsize=64)
def cubic(grid: AxisGrid) -> Matrix:
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
    return np.asarray(np.einsum("vk,vks->vs", weights, neighbors))


@lru_cache(maxsize=256)
def _spline_coefficients(num_slices: int) -> NDArray[np.float64]:
    """The spline filter of the continued scan: (num_slices + 2 margins, num_slices)."""
    continued = np.pad(np.eye(num_slices), ((SPLINE_MARGIN, SPLINE_MARGIN), (0, 0)), mode="edge")
    return np.asarray(ndimage.spline_filter1d(continued, 3, axis=0, mode="mirror"))


@lru_cache(maxsize=64)
def back_projection(grid: AxisGrid, steps: int = BACK_PROJECTION_STEPS) -> Matrix:
    """Iterated back-projection as one matrix: (num_voxels, num_slices).

    ``x <- x + U (y - A x)`` is linear in y, so starting from ``x = U y`` the whole iteration is
    one matrix (Irani and Peleg 1991). It is iterated among slices, ``x = U p``, which are few.
    """
    if grid.sampling.profile == "band":
        return band_interpolation(grid.slice_coordinates(), grid.num_slices)
    degrade, upsample = degradation(grid), cubic(grid)
    identity = np.eye(grid.num_slices)
    slices, again = identity, degrade @ upsample
    for _ in range(steps):
        slices = slices + identity - again @ slices
    return upsample @ slices


@lru_cache(maxsize=64)
def closeness(grid: AxisGrid) -> Matrix:
    """How close each voxel is to a slice center, (num_voxels,): 1 at one, 0 half-way."""
    position = grid.slice_coordinates()
    nearest = np.clip(np.round(position), 0.0, grid.num_slices - 1.0)
    return np.asarray(np.clip(1.0 - 2.0 * np.abs(position - nearest), 0.0, None))
