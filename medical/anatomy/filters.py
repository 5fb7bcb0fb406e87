"""scipy's filters of volumes, with the types that they return for the arguments given here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Shape = tuple[int, int, int]


def blurred(volume: Floats, sigma: float | Sequence[float], *, truncate: float = 4.0) -> Floats:
    """A volume under a Gaussian; ``sigma`` in voxels, along each axis or for all."""
    return cast("Floats", ndimage.gaussian_filter(volume, sigma, truncate=truncate))


def read_at(
    volume: Floats,
    scale: Sequence[float] | NDArray[np.float64],
    shape: Sequence[int],
    *,
    offset: float | Sequence[float] | NDArray[np.float64] = 0.0,
    order: int = 1,
    mode: str = "constant",
) -> Floats:
    """A volume at ``scale * index + offset`` for every index of a shape.

    Args:
        volume: What is read.
        scale: Voxels of it from one index to the next, along each axis.
        shape: Of the result.
        offset: Voxel of it at index 0.
        order: Of the splines between voxels.
        mode: What lies outside: 0 for ``"constant"``, the border for ``"nearest"``.
    """
    begin = cast("float", np.asarray(offset))  # its types know no other
    read = ndimage.affine_transform(
        volume, np.asarray(scale), begin, tuple(shape), np.float32, order=order, mode=mode
    )
    return cast("Floats", read)


def filled(mask: Mask) -> Mask:
    """A mask without holes."""
    return np.asarray(ndimage.binary_fill_holes(mask), bool)


def grown(mask: Mask, voxels: int = 1) -> Mask:
    """A mask and what lies within so many voxels of it."""
    return np.asarray(ndimage.binary_dilation(mask, iterations=voxels), bool)


def shrunk(mask: Mask, voxels: int = 1) -> Mask:
    """A mask without what lies within so many voxels of the rest."""
    return np.asarray(ndimage.binary_erosion(mask, iterations=voxels), bool)


def opened(mask: Mask) -> Mask:
    """A mask without parts that are one voxel thin."""
    return np.asarray(ndimage.binary_opening(mask), bool)


def closed(mask: Mask, voxels: int = 1) -> Mask:
    """A mask with narrow gaps closed."""
    return np.asarray(ndimage.binary_closing(mask, iterations=voxels), bool)


def pieces(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Numbers of the connected pieces of a mask, and how many there are."""
    numbers, count = cast("tuple[NDArray[np.int32], int]", ndimage.label(mask))
    return numbers, int(count)
