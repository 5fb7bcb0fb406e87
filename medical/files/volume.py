"""A medical volume: voxels, where they lie in the scanner, and what the file said about itself.

Nothing is transposed silently: the tensor's axes D, H, W are the NIfTI array's own axes, so
column ``a`` of the affine belongs to tensor axis ``a``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, as_type
from core.refusal import Refusal
from medical.files.privacy import SYNTHETIC

INTENT = {348: (68, "<h"), 540: (504, "<i")}
"""Where a header of so many bytes says what its voxels are, and how."""
NAMES = (1002, 1003)  # NIFTI_INTENT_LABEL and _NEURONAME
MOST_AWAY_MM = 10_000.0
SIZES_MM = (0.01, 100.0)  # of a voxel: microscopes of MR see no finer, localizers no coarser
SHEAR_TOLERANCE = 1e-4
SAME_PLACE = 0.05  # of a voxel: float32 headers round to less, and no other grid is that close


@dataclass(frozen=True)
class FileHeader:
    """The part of a NIfTI header that a result hands back unchanged.

    Attributes:
        dtype: NumPy's name of the stored type, "int16" for most scanners.
        slope: scl_slope; stored value = (intensity - intercept) / slope.
        intercept: scl_inter.
        sform_code: Meaning of the sform, 0 unknown, 1 scanner, 2 aligned, 4 MNI.
        qform_code: Meaning of the qform.
        units: xyzt_units byte, 2 for mm, 10 for mm and seconds.
        description: The field descrip where it was written here, 80 bytes at most.
        template: The whole header as bytes, for the fields nobody here reads; empty for none.
        rescaled: Whether the voxels are no longer intensities of the file's own kind.
        removed: Names of header fields that hold something and are not handed on.
    """

    dtype: str = "float32"
    slope: float = 1.0
    intercept: float = 0.0
    sform_code: int = 1
    qform_code: int = 1
    units: int = 2
    description: str = ""
    template: bytes = b""
    rescaled: bool = False
    removed: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether the header says that no scanner made it."""
        return self.description.startswith(SYNTHETIC)

    @property
    def labels(self) -> bool:
        """Whether the header calls its voxels names of something, and no intensities."""
        if not self.template:
            return False
        place, kind = INTENT[len(self.template)]
        return struct.unpack_from(kind, self.template, place)[0] in NAMES

    @property
    def unit_mm(self) -> float:
        """Millimeters in the affine's unit of length; a file that names none means mm."""
        return {1: 1000.0, 3: 0.001}.get(self.units & 7, 1.0)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels (D, H, W) float32 with the affine (4, 4) of their grid, in the header's units."""

    data: Tensor
    affine: NDArray[np.float64]
    header: FileHeader = field(default_factory=FileHeader)

    def __post_init__(self) -> None:
        if self.data.ndim != 3:
            raise Refusal(
                f"data has shape {tuple(self.data.shape)}: a volume has three axes; "
                "pick one frame or channel of it."
            )
        if self.affine.shape != (4, 4):
            raise Refusal(
                f"affine has shape {self.affine.shape}: it is a (4, 4) matrix; pass img.affine."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along D, H, W."""
        d, h, w = self.data.shape
        return d, h, w

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Grid spacing along D, H, W: the column norms of the affine, never its diagonal."""
        norms = np.linalg.norm(self.affine[:3, :3], axis=0) * self.header.unit_mm
        d, h, w = norms.tolist()
        return d, h, w

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, also where the axes are not at right angles."""
        return abs(float(np.linalg.det(self.affine_mm[:3, :3]))) / 1000

    @property
    def affine_mm(self) -> NDArray[np.float64]:
        """The affine in millimeters, whatever the file's unit of length."""
        return _in_mm(self.affine, self.header)

    def with_data(
        self,
        data: Tensor,
        affine: NDArray[np.float64] | None = None,
        *,
        dtype: str | None = None,
        description: str | None = None,
    ) -> Volume:
        """Other voxels under this volume's header.

        Args:
            data: (D, H, W).
            affine: Of the new grid; None keeps this one.
            dtype: Stored type for maps that are not intensities ("float32", unscaled);
                None keeps the file's own type and scaling.
            description: Text for the header; None keeps the file's own.
        """
        header = self.header
        if dtype is not None:
            header = replace(header, dtype=dtype, slope=1.0, intercept=0.0, rescaled=True)
        if description is not None:
            header = replace(header, description=description)
        return Volume(as_type(data, "float32"), self.affine if affine is None else affine, header)


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels: how many, how far apart, and where."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64] = field(compare=False)


def same_place(volume: Volume, reference: Volume, grid: Grid | None = None) -> bool:
    """Whether a volume's voxels are those of another, or of a grid in its units.

    Held against each other in millimeters at all corners: a spacing that differs by a thousandth
    differs by a quarter of a voxel after 256 of them.

    Args:
        volume: The one in question, for instance a mask.
        reference: The scan.
        grid: Another grid for the scan; None for its own.
    """
    shape, affine = reference.shape, reference.affine_mm
    if grid is not None:
        shape, affine = grid.shape, _in_mm(grid.affine, reference.header)
    if volume.shape != shape:
        return False
    return same_corners(shape, volume.affine_mm, affine)


def same_corners(
    shape: tuple[int, ...], one: NDArray[np.float64], other: NDArray[np.float64]
) -> bool:
    """Whether two affines (4, 4) put the voxels of a grid of that shape in the same places."""
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], dtype=np.float64)
    corners[:, :3] = corners[:, :3] * shape - 0.5
    moved = np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1)  # (8,)
    return bool(moved.max() <= SAME_PLACE * np.linalg.norm(other[:3, :3], axis=0).min())


def check_near(
    path: Path, shape: tuple[int, ...], affine: NDArray[np.float64], unit_mm: float
) -> None:
    """Refuse a grid so far away that a header, which holds float32, cannot say where it lies.

    Raises:
        Refusal: a corner lies over 10 m from the scanner's center, or voxels have a size that no
            scanner makes.
    """
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], dtype=np.float64)
    corners[:, :3] *= shape
    far = float(np.abs(corners @ affine[:3].T).max()) * unit_mm
    if far > MOST_AWAY_MM:
        raise Refusal(
            f"{path} puts voxels {far:.3g} mm from the scanner's center: at most "
            f"{MOST_AWAY_MM:g} mm can be told in a header; repair its affine and unit of length."
        )
    sizes = np.linalg.norm(affine[:3, :3], axis=0) * unit_mm
    if sizes.min() < SIZES_MM[0] * (1 - 1e-4) or sizes.max() > SIZES_MM[1] * (1 + 1e-4):
        raise Refusal(
            f"{path} has voxels of {' x '.join(f'{size:.3g}' for size in sizes)} mm: a scan has "
            f"{SIZES_MM[0]:g} to {SIZES_MM[1]:g} mm; repair its affine and unit of length."
        )


def _in_mm(affine: NDArray[np.float64], header: FileHeader) -> NDArray[np.float64]:
    return affine * np.array([[header.unit_mm]] * 3 + [[1.0]])


def finer_grid(
    volume: Volume, spacing_mm: tuple[float, float, float], *, tolerance: float = 1e-3
) -> Grid:
    """The grid of the requested spacing that shares the volume's center.

    Where the extent divides evenly, the corners of the field of view are the same before and
    after: ``A' = A D`` with voxel 0 moved to index ``(1 - f) / (2 f)``. Where it does not, the
    number of voxels is rounded and both ends move by the same amount, under half a voxel.
    An axis is resampled or left alone: where rounding gives as many voxels as there are, it
    keeps its spacing, which is then coarser than asked by less than half a voxel in all.

    Args:
        volume: The scan as acquired.
        spacing_mm: Largest wanted; an axis that is as fine already is left alone.
        tolerance: Relative difference below which two spacings count as the same.
    """
    affine = volume.affine.copy()
    origin = volume.affine[:3, 3].copy()
    shape, spacing = list(volume.shape), list(volume.spacing_mm)
    for axis, (old, new) in enumerate(zip(volume.spacing_mm, spacing_mm, strict=True)):
        if not (math.isfinite(new) and new > 0.0):
            raise Refusal(
                f"spacing_mm={new:g} along axis {axis}: a voxel has a positive size; "
                "ask for 1 mm, for instance."
            )
        if new >= old * (1.0 - tolerance):
            continue
        num_old, num_new = shape[axis], round(shape[axis] * old / new)
        if num_new <= num_old:
            continue
        shape[axis] = num_new
        spacing[axis] = new
        affine[:3, axis] = volume.affine[:3, axis] * (new / old)
        shift = (num_old - 1) / 2 - (shape[axis] - 1) / 2 * (new / old)
        origin += volume.affine[:3, axis] * shift
    affine[:3, 3] = origin
    return Grid((shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2]), affine)


def is_sheared(affine: NDArray[np.float64]) -> bool:
    """Whether the axes of a grid are not at right angles, which no qform can say."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(columns.T @ columns - np.eye(3)).max() > SHEAR_TOLERANCE)
