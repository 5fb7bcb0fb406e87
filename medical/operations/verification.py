"""Whether a result is what it says: where it lies, by another way than it was put there."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, namespace, plain, slabs
from core.progress import counted
from medical.acquisition.intensity import measure_scale
from medical.files.volume import Volume
from medical.operations.problem import prepare, protected_voxels

if TYPE_CHECKING:
    from medical.request import SuperResolutionRequest

RANGE_ROUNDED = 2e-3  # of the scan's range: files store whole numbers and float32
MEAN_MOVED = 0.1  # of the scan's standard deviation
ENERGY = (0.6, 1.5)  # standard deviation of the result over that of the scan
ROUNDED_MM = 0.01  # affines are stored in float32
TOLERANCE = 1e-3  # of spacings that count as the same


def check_restored(
    scan: Volume,
    result: Volume,
    std: Volume,
    request: SuperResolutionRequest,
    protect: Volume | None = None,
) -> dict[str, Any]:
    """Hold grid and values of a restored scan and its map against the scan; what they show.

    Args:
        scan: as acquired.
        result: read back from its file.
        std: likewise.
        request: what was asked.
        protect: mask of what stayed the scan itself, interpolated, on the scan's or the
            result's grid.

    Raises:
        RuntimeError: they are not what was asked for.
    """
    for volume in (result, std):
        check_place(scan, volume, request.spacing_mm)
    if request.edition > 1:
        protected = protect and protected_voxels(protect, scan, prepare(scan, request))
        check_intensities(scan, result, protected)
    if (least := float(std.data.min())) < 0:
        raise RuntimeError(
            f"the map of uncertainty falls to {least:.3g}: an uncertainty is never negative; "
            "restore the scan again."
        )
    return {
        "shape": " x ".join(map(str, result.shape)),
        "spacing_mm": " x ".join(f"{s:.3g}" for s in result.spacing_mm),
        "scan": " x ".join(f"{s:.3g}" for s in scan.spacing_mm) + " mm",
    }


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
                f"axis {axis} of the result has {counted(count, 'voxel')} of {new:.6g} mm and "
                "ends "
                f"{moved[axis]:.3g} mm from where the scan does: it must be the scan's "
                f"{scan.shape[axis]} of {old:.6g} mm, or of {wanted:g} mm with ends at most half "
                "a voxel away; restore the scan again."
            )


def check_intensities(scan: Volume, result: Volume, protected: Tensor | None = None) -> None:
    """Hold a result's intensities against those of its scan.

    Args:
        scan: as acquired.
        result: read back from its file.
        protected: voxels of the result, bool, that count as held at the ends of the scan's range,
            which an interpolated scan may leave.

    Raises:
        RuntimeError: the result leaves the scan's range, is brighter or darker on the whole, or
            is far smoother or rougher.
    """
    scale = measure_scale(scan.data)
    held, data = _summary(scale.invert(scale.apply(scan.data))), result.data
    least, most, spread = held.least, held.most, held.spread
    if protected is not None:
        library = namespace(data)
        data = library.where(protected, library.clip(data, least, most), data)
    found = _summary(data)
    step = max(0.5 * abs(scan.header.slope) * 1.01, RANGE_ROUNDED * (most - least))
    low, high = found.least, found.most
    moved, energy = 0.0, 1.0  # of a scan that is the same everywhere, whose range says it all
    if spread > 0:
        moved, energy = (found.mean - held.mean) / spread, found.spread / spread
    within = least - step <= low and high <= most + step
    if not (within and abs(moved) <= MEAN_MOVED and ENERGY[0] <= energy <= ENERGY[1]):
        raise RuntimeError(
            f"the result holds {low:.6g} to {high:.6g}, its mean lies {moved:.2g} and its spread "
            f"is {energy:.2g} of the scan's spread: a result stays within the scan's "
            f"{least:.6g} to {most:.6g} and keeps mean and spread; check thickness and noise."
        )


class _Summary(NamedTuple):
    least: float
    most: float
    mean: float
    spread: float


def _summary(x: Tensor) -> _Summary:
    """Of intensities, in float64, though never all of them at once."""
    parts = [plain(x[part]) for part in slabs(x)]
    count = sum(part.size for part in parts)
    mean = sum(float(part.sum(dtype=np.float64)) for part in parts) / count
    squares = sum(float(((part.astype(np.float64) - mean) ** 2).sum()) for part in parts)
    least, most = (min(float(p.min()) for p in parts), max(float(p.max()) for p in parts))
    return _Summary(least, most, mean, math.sqrt(squares / count))


def _corner_shifts_mm(scan: Volume, result: Volume) -> NDArray[np.float64]:
    """How far the eight corners moved at most, along each axis of the scan: (3,)."""
    largest = np.zeros(3)
    for ends in itertools.product((0, 1), repeat=3):
        index = [end * count - 0.5 for end, count in zip(ends, result.shape, strict=True)]
        place = result.affine @ np.array([*index, 1.0])  # in the scanner
        found = np.linalg.solve(scan.affine, place)[:3]  # counted in the scan's voxels
        stood = np.array([end * n - 0.5 for end, n in zip(ends, scan.shape, strict=True)])
        largest = np.maximum(largest, np.abs(found - stood) * np.array(scan.spacing_mm))
    return largest
