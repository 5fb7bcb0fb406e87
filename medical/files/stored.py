"""Intensities as a file keeps them: what of a result is left in the stored type."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, like, plain
from medical.files.volume import FileHeader, Volume

ROUNDED = 1.5 * 2.0**-23
"""Of an intercept: what the float32 of a header's scale leaves of a code that stands for 0."""


def clear_zeros(data: NDArray[np.float32], intercept: float) -> None:
    """Make 0, in place, what would be but for the rounding of a header's scale and intercept."""
    if intercept:
        data[np.abs(data) <= ROUNDED * abs(intercept)] = 0.0


def stored_voxels(data: Tensor, header: FileHeader) -> NDArray[np.generic]:
    """Intensities as the header stores them: unscaled, rounded and clipped to its type."""
    dtype = np.dtype(header.dtype)
    raw = (plain(data).astype(np.float64) - header.intercept) / header.slope
    if dtype.kind == "f":
        return raw.astype(dtype)
    limits = np.iinfo(dtype)
    low, high = float(limits.min), float(limits.max)
    if high > limits.max:  # a 64-bit limit has no exact double; step back inside
        high = float(np.nextafter(high, 0.0))
    return np.clip(np.rint(raw), low, high).astype(dtype)


def as_stored(volume: Volume) -> Tensor:
    """The intensities that a reader of the written file would find, in float32."""
    info = volume.header
    raw = stored_voxels(volume.data, info).astype(np.float64)
    found = (raw * info.slope + info.intercept).astype(np.float32)
    clear_zeros(found, info.intercept)
    return like(found, volume.data)
