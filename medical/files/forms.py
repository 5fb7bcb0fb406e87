"""What a NIfTI header tells of its grid: how many voxels, and what its two affines mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medical.files.volume import same_corners

HALF_TURN = 1e-7
"""Of a quaternion's first number, squared: what the standard's own reader, so ITK, takes for 0."""

READERS_DIFFER = 4e-7
"""Of the same number, below which nibabel and the standard's own reader may differ."""


def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the axes beyond the third that hold one volume."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(map(int, shape))


def qform_of(image: Any) -> NDArray[np.float64]:
    """(4, 4) what a qform tells, as the standard's own reader has it.

    nibabel takes the first number of a quaternion for 0 up to 6e-4 in NIfTI-1, and up to 2.6e-8 in
    NIfTI-2: a turning by 1.2e-3 or by 6e-4, which moves a corner by 0.2 mm and has ITK refuse a
    result beside its scan.
    """
    header, affine = image.header, np.asarray(image.get_qform(), dtype=np.float64)
    rest = [float(header[f"quatern_{name}"]) for name in "bcd"]
    first = 1.0 - float(np.dot(rest, rest))
    if first < READERS_DIFFER:
        sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64)
        sizes[2] *= -1 if header["pixdim"][0] < 0 else 1
        turning = [*rest, np.sqrt(first) if first >= HALF_TURN else 0.0]
        affine[:3, :3] = Rotation.from_quat(turning).as_matrix() * sizes
    return affine


def affine_of(image: Any) -> NDArray[np.float64]:
    """(4, 4) where voxels lie: by the sform where there is one, else by the qform."""
    told = image.affine if int(image.header["sform_code"]) > 0 else qform_of(image)
    return np.asarray(told, dtype=np.float64)


def form_codes(image: Any) -> tuple[int, int]:
    """What the sform and the qform of an image of nibabel's mean, 0 for nothing.

    A qform that lies elsewhere than the sform is not read, so what it means is said of nothing.
    """
    sform, qform = int(image.header["sform_code"]), int(image.header["qform_code"])
    if sform <= 0 or qform <= 0:
        return max(sform, qform), max(sform, qform)
    try:
        with np.errstate(all="ignore"):
            same = same_corners(shape_of(image.shape), qform_of(image), image.affine)
    except Exception:  # of numbers that turn nothing
        same = False
    return sform, qform if same else sform


def stored_sizes(image: Any) -> tuple[float, ...]:
    """The voxel sizes in the file: what nibabel loaded has 1 where they are 0."""
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        kind = type(image).header_class
        header = kind(file.read(kind.sizeof_hdr), check=False)
    return tuple(header["pixdim"][1:4].tolist())
