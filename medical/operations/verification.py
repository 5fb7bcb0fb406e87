"""Whether a result is what it says: where it lies, by another way than it was put there."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from medical.files.volume import Volume

ROUNDED_MM = 0.01  # affines are stored in float32
TOLERANCE = 1e-3  # of spacings that count as the same


def check_place(scan: Volume, result: Volume, spacing_mm: tuple[float, float, float]) -> None:
    """Hold the corners of a result's field of view against those of its scan, in the scanner.

    An axis is left alone, and its ends stay where they are, or it has the spacing asked for, and
    its ends move by half a voxel at most.

    Args:
        scan: as acquired.
        result: read back from its file.
        spacing_mm: largest wanted.

    Raises:
        RuntimeError: a corner is elsewhere, or the voxels are neither the scan's nor those
            asked for.
    """
    moved = _corner_shifts_mm(scan, result)
    for axis, wanted in enumerate(spacing_mm):
        count, old, new = result.shape[axis], scan.spacing_mm[axis], result.spacing_mm[axis]
        if count == scan.shape[axis]:
            allowed, right = ROUNDED_MM, old
            short = count * (old * (1 - TOLERANCE) - wanted) > (0.5 + TOLERANCE) * wanted
        else:
            allowed, right, short = 0.5 * wanted + ROUNDED_MM, wanted, False
        if short or abs(new - right) * count > ROUNDED_MM or moved[axis] > allowed:
            raise RuntimeError(
                f"axis {axis} of the result has {count} voxels of {new:.6g} mm and ends "
                f"{moved[axis]:.3g} mm from where the scan does: it must be the scan's "
                f"{scan.shape[axis]} of {old:.6g} mm, or of {wanted:g} mm with ends at most half "
                "a voxel away; restore the scan again."
            )


def _corner_shifts_mm(scan: Volume, result: Volume) -> NDArray[np.float64]:
    """Return how far the eight corners moved at most, along each axis of the scan: (3,)."""
    largest = np.zeros(3)
    for ends in itertools.product((0, 1), repeat=3):
        index = [end * count - 0.5 for end, count in zip(ends, result.shape, strict=True)]
        place = result.affine @ np.array([*index, 1.0])  # in the scanner
        found = np.linalg.solve(scan.affine, place)[:3]  # counted in the scan's voxels
        stood = np.array([end * n - 0.5 for end, n in zip(ends, scan.shape, strict=True)])
        largest = np.maximum(largest, np.abs(found - stood) * np.array(scan.spacing_mm))
    return largest
