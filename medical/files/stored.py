"""Intensities as a file keeps them: what of a result is left in the stored type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, by_slabs, like, plain, slabs
from medical.files.volume import FileHeader

ROUNDED = 1.5 * 2.0**-23
"""Of an intercept: what the float32 of a header's scale leaves of a code that stands for 0."""


def clear_zeros(data: NDArray[np.float32], intercept: float) -> None:
    """Make 0, in place, what would be but for the rounding of a header's scale and intercept."""
    for part in slabs(cast("Tensor", data)) if intercept else ():
        data[part][np.abs(data[part]) <= ROUNDED * abs(intercept)] = 0.0


class Values(NamedTuple):
    """What numbers of a file are, before they are float32: how many bad, the least, the most."""

    bad: int
    least: float
    most: float


def read_values(
    raw: NDArray[Any], scaled: Callable[[NDArray[Any]], NDArray[Any]]
) -> tuple[NDArray[np.float32], Values]:
    """The intensities (D, H, W) that a file's numbers stand for, and what they are.

    Args:
        raw: as they stand in the file.
        scaled: from a part of them to what they stand for.
    """
    data, found = np.empty(raw.shape, np.float32), list[Values]()
    for part in slabs(cast("Tensor", data)):
        values = scaled(raw[part])
        data[part] = values
        bad = int(values.size - np.isfinite(values).sum())
        found.append(Values(bad, float(values.min()), float(values.max())))
    bad, least, most = zip(*found, strict=True)
    return data, Values(sum(bad), min(least), max(most))


def all_finite(data: NDArray[Any]) -> bool:
    """Whether there is neither NaN nor an infinite number."""
    return all(bool(np.isfinite(data[part]).all()) for part in slabs(cast("Tensor", data)))


def stored_voxels(data: Tensor, header: FileHeader) -> NDArray[np.generic]:
    """Intensities as the header stores them: unscaled, rounded and clipped to its type."""
    return plain(by_slabs(lambda part: _stored(part, header), cast("Tensor", plain(data))))


def _stored(data: Any, header: FileHeader) -> Any:
    dtype = np.dtype(header.dtype)
    raw = (data.astype(np.float64) - header.intercept) / header.slope
    if dtype.kind == "f":
        return raw.astype(dtype)
    limits = np.iinfo(dtype)
    low, high = float(limits.min), float(limits.max)
    if high > limits.max:  # a 64-bit limit has no exact double; step back inside
        high = float(np.nextafter(high, 0.0))
    return np.clip(np.rint(raw), low, high).astype(dtype)


def as_stored(data: Tensor, header: FileHeader) -> Tensor:
    """The intensities that a reader of the written file would find, in float32."""
    raw = stored_voxels(data, header).astype(np.float64)
    found = (raw * header.slope + header.intercept).astype(np.float32)
    clear_zeros(found, header.intercept)
    return like(found, data)
