"""A scan made ready for the network, and the way back: axes, intensities, grid, acquisition.

Axes: D is the thick axis here; ``Problem.order`` says which axis of the file that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from core.arrays import Tensor, is_plain, like, permuted, turned
from core.operations.linear_operators import AxisOperator
from core.operations.windows import Slices
from core.refusal import Refusal
from medical.acquisition.acquisition import AcquiredGrid, Acquisition
from medical.acquisition.intensity import IntensityScale, measure_scale, scale_of_all, without_fill
from medical.acquisition.noise import denoised, estimate_noise
from medical.acquisition.sampling import Profile, SliceSampling
from medical.acquisition.slice_width import BOX, WidthEstimate, estimate_width
from medical.files.volume import Grid, Volume, finer_grid, same_place
from medical.operations.familiarity import Likeness, likeness
from medical.operations.residual import LEFT_OUT, RESIDUAL_SCALE, condition

if TYPE_CHECKING:
    from core.conditioning import Conditioning
    from medical.request import SuperResolutionRequest

T = TypeVar("T")
WHOLE: Slices = (slice(None), slice(None), slice(None))
LEARNED_NOISE = 0.004  # what estimate_noise finds in heads that the network was trained on
THICKEST = 2.0  # thickness of slices over their distance
ALIKE = 1.05  # of an axis' spacing over another's, up to which neither is that of slices


@dataclass(frozen=True, eq=False)
class Problem:
    """A scan made ready: thick axis first, intensities in [0, 1].

    Attributes:
        measured: (D, H, W) as acquired.
        assumed: the acquisition along the file's axes, by the file and by what was told.
        order: file axis of each of D, H, W.
        scale: of the intensities.
        grid: the fine grid along the file's axes.
        filled: voxels of the scan that hold a number for no tissue, taken as background.
        told_noise: standard deviation of the noise, intensities in [0, 1]; None where nobody
            told it.
        bounded: whether the result stays within the scan's own intensities.
        across: axis of the body across which slices lie whose width nobody told; None where
            it was told.
        left_out: standard deviation of what the network is taken to miss of the scan.
    """

    measured: Tensor
    assumed: Acquisition
    order: tuple[int, int, int]
    scale: IntensityScale
    grid: Grid
    filled: int = 0
    told_noise: float | None = 0.0
    bounded: bool = False
    across: int | None = None
    left_out: float = LEFT_OUT

    @cached_property
    def noise_std(self) -> float:
        """Standard deviation of the scan's noise: as told, or else estimated.

        What the scans hold that the network was trained on is no noise to it.
        """
        if self.told_noise is not None:
            return self.told_noise
        found = estimate_noise(self.measured) or 0.0
        return round(math.sqrt(max(0.0, found**2 - LEARNED_NOISE**2)), 4)

    @property
    def obedience(self) -> float:
        """The weight of the scan against the network: 1 without noise (Wiener)."""
        return self.left_out**2 / (self.left_out**2 + self.noise_std**2)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Of the scan, axes as in ``scan``."""
        d, h, w = (
            grid_mm if axis is None else axis.pitch_mm
            for grid_mm, axis in zip(self.grid.spacing_mm, self.assumed.axes, strict=True)
        )
        return _take((d, h, w), self.order)

    @cached_property
    def likeness(self) -> Likeness | None:
        """What the scan shows of its kind."""
        return likeness(self.measured, self.spacing_mm)

    @cached_property
    def width(self) -> WidthEstimate | None:
        """The width of slices as the scan shows it; None where it was told."""
        sampling = self.assumed.axes[self.order[0]]
        if self.across is None or sampling is None:
            return None
        pitch, *plane = self.spacing_mm
        return estimate_width(
            self.measured,
            pitch,
            (plane[0], plane[1]),
            noise_std=self.noise_std,
            across=self.across,
            usual=self.likeness is not None and self.likeness.usual,
        )

    @cached_property
    def acquisition(self) -> Acquisition:
        """How the scan was made, along the file's axes: as told, estimated, or else assumed."""
        thick, width = self.order[0], self.width
        sampling = self.assumed.axes[thick]
        if width is None or width.doubt or sampling is None:
            return self.assumed
        share = width.share * (BOX if sampling.profile == "box" else 1.0)
        pitch = sampling.pitch_mm
        wide = SliceSampling(share * pitch, pitch - share * pitch, sampling.profile)
        d, h, w = (wide if axis == thick else self.assumed.axes[axis] for axis in range(3))
        return Acquisition((d, h, w))

    @cached_property
    def acquired(self) -> AcquiredGrid:
        """The acquisition on the fine grid, axes as in ``scan``."""
        d, h, w = self.measured.shape
        return Acquisition(_take(self.acquisition.axes, self.order)).on_grid(
            _take(self.grid.shape, self.order), _take(self.grid.spacing_mm, self.order), (d, h, w)
        )

    @cached_property
    def operator(self) -> AxisOperator:
        """How the scan came about, from the fine grid."""
        return self.acquired.operator(plain=is_plain(self.measured))

    @cached_property
    def scan(self) -> Tensor:
        """The scan (D, H, W), cleaned of its noise."""
        return denoised(self.measured, self.noise_std) if self.bounded else self.measured

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and highest intensity that the result may have."""
        return float(self.measured.min()), float(self.measured.max()) if self.bounded else math.inf

    def to_file(self, x: Tensor) -> Tensor:
        """A (D, H, W) tensor with its axes as in the file."""
        return permuted(x, np.argsort(self.order).tolist())

    def in_file(self, x: Tensor) -> Tensor:
        """The same in the memory of ``x``."""
        return turned(x, np.argsort(self.order).tolist())

    def back_projection(self) -> Tensor:
        """The scan on the fine grid, (D, H, W): where the network starts from."""
        return self.acquired.back_projection(plain=is_plain(self.scan)).apply(self.scan)

    def channels(self, back_projection: Tensor, part: Slices = WHOLE) -> Tensor:
        """What lies beside the sample, (1, 2, d, h, w), of a part of the grid.

        Args:
            back_projection: (D, H, W) of the whole grid.
            part: along D, H, W.
        """
        d, h, w = (
            like(along[side], back_projection)
            for along, side in zip(self.acquired.evidence(), part, strict=True)
        )
        evidence = d[:, None, None] * h[None, :, None] * w[None, None, :]
        return condition(back_projection[part], evidence)[None]

    def conditioning(self) -> Conditioning:
        """The numbers the network is told about this scan."""
        import torch

        from core.conditioning import Conditioning

        return Conditioning(
            spacing=torch.tensor([self.acquired.spacing_mm], dtype=torch.float32),
            resolution=torch.tensor([self.acquired.resolution_mm()], dtype=torch.float32),
        )


def prepare(volume: Volume, request: SuperResolutionRequest) -> Problem:
    """The scan, its acquisition and the grid asked for.

    Raises:
        Refusal: there is nothing to restore, or thickness and gap contradict the file.
    """
    grid = finer_grid(volume, request.spacing_mm)
    factors = [old / new for old, new in zip(volume.spacing_mm, grid.spacing_mm, strict=True)]
    if grid.shape == volume.shape:
        raise Refusal(
            f"spacing_mm={request.spacing_mm} where the scan has "
            f"{tuple(round(s, 3) for s in volume.spacing_mm)}: no axis would become finer; ask "
            "for a smaller spacing along the thick axis."
        )
    finer = [axis for axis in range(3) if grid.shape[axis] != volume.shape[axis]]
    thick = max(range(3), key=lambda axis: factors[axis])
    if request.edition > 4:
        thick = max(finer, key=lambda axis: volume.spacing_mm[axis])
    axes: list[SliceSampling | None] = [None, None, None]
    for axis in range(3):
        if axis in finer:
            in_plane: Profile = "gaussian" if request.edition == 1 else "band"
            axes[axis] = SliceSampling(volume.spacing_mm[axis], profile=in_plane)
    told = bool(request.slice_thickness_mm or request.slice_gap_mm)
    sliced = request.edition < 5 or told or has_slices(volume.spacing_mm, thick)
    if sliced:
        axes[thick] = _thick_sampling(volume.spacing_mm[thick], request)
    first, second = (axis for axis in range(3) if axis != thick)
    order = (thick, first, second)
    untold = request.edition > 2 and sliced and not told
    bounded, data, filled = request.edition > 1, volume.data, 0
    if bounded:
        data, fill = without_fill(data)
        filled = int(fill.sum())
    scale = measure_scale(data) if bounded else scale_of_all(data)
    scan = permuted(scale.apply(data), order)
    noise = None if bounded and request.noise_std < 0 else max(0.0, request.noise_std)
    return Problem(
        scan,
        Acquisition((axes[0], axes[1], axes[2])),
        order,
        scale,
        grid,
        filled,
        told_noise=noise,
        bounded=bounded,
        across=int(np.abs(volume.affine[:3, thick]).argmax()) if untold else None,
        left_out=RESIDUAL_SCALE if request.edition < 5 else LEFT_OUT,
    )


def protected_voxels(mask: Volume, scan: Volume, problem: Problem) -> Tensor:
    """Which voxels of the result (file's axes) a mask protects, as bool.

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
    inside = permuted(mask.data, problem.order) > 0
    for position, axis in enumerate(problem.acquired.axes):
        if axis is not None:
            nearest = np.clip(np.rint(axis.slice_coordinates()), 0, axis.num_slices - 1)
            places = like(nearest.astype(np.int64), inside)
            inside = inside[(*(slice(None),) * position, places)]
    return problem.to_file(inside)


def has_slices(spacing_mm: tuple[float, float, float], thick: int) -> bool:
    """Whether voxels are longer along an axis than along both others, as slices are.

    Of a scan whose longest axes are alike, a plane or a volume was encoded, which is a crop of
    k-space along each of them.
    """
    others = [spacing for axis, spacing in enumerate(spacing_mm) if axis != thick]
    return spacing_mm[thick] > ALIKE * max(others)


def _thick_sampling(pitch: float, request: SuperResolutionRequest) -> SliceSampling:
    """Thickness and gap of the thick axis; what is not said follows from the spacing."""
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
    if request.edition > 1 and thickness > THICKEST * pitch:
        raise Refusal(
            f"slice_thickness_mm={thickness:g}: the file's slices are {pitch:g} mm apart, and "
            f"slices of more than {THICKEST:g} times that blur into one another; give the "
            "thickness of the protocol, or none."
        )
    thickness = thickness or pitch - gap
    return SliceSampling(thickness, pitch - thickness, request.profile)


def _take(values: tuple[T, T, T], order: tuple[int, int, int]) -> tuple[T, T, T]:
    return values[order[0]], values[order[1]], values[order[2]]
