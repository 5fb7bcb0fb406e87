"""A scan made ready for the network, and the way back: axes, intensities, grid, acquisition.

Axes: D is the thick axis here; ``Problem.order`` says which axis of the file that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.refusal import Refusal
from medical.acquisition.acquisition import AcquiredGrid, Acquisition, SliceSampling
from medical.acquisition.intensity import IntensityScale, measure_scale, without_fill
from medical.files.volume import Grid, Volume, finer_grid, same_place
from medical.operations.residual import condition
from medical.request import SuperResolutionRequest

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Problem:
    """A scan made ready: thick axis first, intensities in [0, 1].

    Attributes:
        scan: (D, H, W) as acquired.
        acquired: the acquisition on the fine grid, axes as in ``scan``.
        acquisition: the same along the file's axes.
        order: file axis of each of D, H, W.
        scale: of the intensities.
        grid: the fine grid along the file's axes.
        filled: voxels of the scan that hold a number for no tissue, taken as background.
    """

    scan: Tensor
    acquired: AcquiredGrid
    acquisition: Acquisition
    order: tuple[int, int, int]
    scale: IntensityScale
    grid: Grid
    filled: int = 0

    def to_file(self, x: Tensor) -> Tensor:
        """Return a (D, H, W) tensor with its axes as in the file."""
        return x.permute(*np.argsort(self.order).tolist()).contiguous()

    def back_projection(self) -> Tensor:
        """Return the scan on the fine grid, (D, H, W): where the network starts from."""
        return self.acquired.back_projection().apply(self.scan)

    def channels(self, back_projection: Tensor) -> Tensor:
        """Return what lies beside the sample, (1, 2, D, H, W)."""
        return condition(back_projection, self.acquired.evidence_map())[None]

    def conditioning(self) -> Conditioning:
        """Return the numbers the network is told about this scan."""
        return Conditioning(
            spacing=torch.tensor([self.acquired.spacing_mm], dtype=torch.float32),
            resolution=torch.tensor([self.acquired.resolution_mm()], dtype=torch.float32),
        )


def prepare(volume: Volume, request: SuperResolutionRequest) -> Problem:
    """Return the scan, its acquisition and the grid asked for.

    Raises:
        Refusal: there is nothing to restore, or thickness and gap contradict the file.
    """
    grid = finer_grid(volume, request.spacing_mm)
    factors = [old / new for old, new in zip(volume.spacing_mm, grid.spacing_mm, strict=True)]
    thick = max(range(3), key=lambda axis: factors[axis])
    if grid.shape == volume.shape:
        raise Refusal(
            f"spacing_mm={request.spacing_mm} where the scan has "
            f"{tuple(round(s, 3) for s in volume.spacing_mm)}: no axis would become finer; ask "
            "for a smaller spacing along the thick axis."
        )
    axes: list[SliceSampling | None] = [None, None, None]
    for axis in range(3):
        if grid.shape[axis] != volume.shape[axis]:
            axes[axis] = SliceSampling(volume.spacing_mm[axis])
    axes[thick] = _thick_sampling(volume.spacing_mm[thick], request)
    acquisition = Acquisition((axes[0], axes[1], axes[2]), request.noise_std)

    first, second = (axis for axis in range(3) if axis != thick)
    order = (thick, first, second)
    turned = Acquisition((axes[thick], axes[first], axes[second]), request.noise_std)
    acquired = turned.on_grid(
        _take(grid.shape, order), _take(grid.spacing_mm, order), _take(volume.shape, order)
    )
    data, fill = without_fill(volume.data)
    scale = measure_scale(data)
    scan = scale.apply(data).permute(*order).contiguous()
    return Problem(scan, acquired, acquisition, order, scale, grid, int(fill.sum()))


def protected_voxels(mask: Volume, scan: Volume, problem: Problem) -> Tensor:
    """Return which voxels of the result (file's axes) a mask protects, as bool.

    A mask on the scan's grid protects every fine voxel whose nearest scan voxel it holds.
    """
    grid = problem.grid
    if same_place(mask, scan, grid):
        return mask.data > 0
    if not same_place(mask, scan):
        raise Refusal(
            f"the protected mask has shape {mask.shape} and, in mm, the affine "
            f"{mask.affine_mm[:3].round(3).tolist()}: it must lie on the grid of the scan "
            f"{scan.shape}, {scan.affine_mm[:3].round(3).tolist()}, or of the result "
            f"{grid.shape}; resample it."
        )
    inside = mask.data.permute(*problem.order) > 0
    for position, axis in enumerate(problem.acquired.axes):
        if axis is not None:
            nearest = np.clip(np.rint(axis.slice_coordinates()), 0, axis.num_slices - 1)
            inside = inside.index_select(position, torch.from_numpy(nearest.astype(np.int64)))
    return problem.to_file(inside)


def _thick_sampling(pitch: float, request: SuperResolutionRequest) -> SliceSampling:
    """Return thickness and gap of the thick axis; what is not said follows from the spacing."""
    thickness, gap = request.slice_thickness_mm, request.slice_gap_mm
    if thickness and gap and abs(thickness + gap - pitch) > 0.01 * pitch:
        raise Refusal(
            f"slice_thickness_mm={thickness:g} and slice_gap_mm={gap:g} make "
            f"{thickness + gap:g} mm: the file's slices are {pitch:g} mm apart; "
            "correct one, or give only one of them."
        )
    if gap >= pitch:
        raise Refusal(
            f"slice_gap_mm={gap:g}: the file's slices are {pitch:g} mm apart, gap included; "
            "give a smaller gap."
        )
    thickness = thickness or pitch - gap
    return SliceSampling(thickness, pitch - thickness, request.profile)


def _take(values: tuple[T, T, T], order: tuple[int, int, int]) -> tuple[T, T, T]:
    return values[order[0]], values[order[1]], values[order[2]]
