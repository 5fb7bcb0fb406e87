"""SciPy's operations on volumes under the few words that lesions need, with their types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels hang together where they share a side, an edge or a corner."""

Mask = NDArray[np.bool_]
Box = tuple[slice, ...]
_scipy: Any = ndimage  # its stubs know neither offsets of arrays nor what label returns


def parts_of(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """The parts of a mask that do not touch each other, numbered from 1, and how many."""
    parts, count = _scipy.label(mask, TOUCHING)
    return parts, int(count)


def boxes_of(parts: NDArray[np.integer]) -> list[Box | None]:
    """The box around each number, from 1 on; None for a number that nothing has."""
    return list(_scipy.find_objects(parts))


def depth(mask: Mask, spacing: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each voxel inside to the nearest outside; 0 outside."""
    return np.asarray(_scipy.distance_transform_edt(mask, sampling=tuple(spacing)), np.float64)


def smooth(values: NDArray[Any], sigma: Any) -> NDArray[Any]:
    """Values blurred by a Gaussian, its width in voxels."""
    return np.asarray(_scipy.gaussian_filter(values, sigma))


def read_on(
    values: NDArray[Any],
    across: NDArray[np.float64],
    shape: Sequence[int],
    *,
    order: int = 1,
    beyond: str = "constant",
) -> NDArray[Any]:
    """Values on another grid.

    Args:
        values: Of this grid.
        across: (4, 4), from voxels of the other grid to voxels of this one.
        shape: Of the other grid.
        order: Of the splines between voxels.
        beyond: What lies outside: ``constant`` for 0, ``nearest`` for the border's.
    """
    matrix, offset = across[:3, :3], across[:3, 3]
    read = _scipy.affine_transform(values, matrix, offset, tuple(shape), order=order, mode=beyond)
    return np.asarray(read)


def read_at(
    values: NDArray[Any], places: Any, *, order: int = 1, beyond: str = "nearest"
) -> NDArray[Any]:
    """Values at places between voxels, (3, ...)."""
    return np.asarray(_scipy.map_coordinates(values, places, order=order, mode=beyond))


def wider(mask: Mask, iterations: int = 1) -> Mask:
    """A mask and all voxels that touch it, several times over."""
    return np.asarray(_scipy.binary_dilation(mask, TOUCHING, iterations=iterations))


def narrower(mask: Mask) -> Mask:
    """A mask without the voxels at its border."""
    return np.asarray(_scipy.binary_erosion(mask))
