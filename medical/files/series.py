"""Slices of one DICOM series in the order and place of one volume, or why they are none.

Nothing here reads a file. Axes come out as dcm2niix writes them, so that a mask drawn on its
output lies on the same grid: columns, rows from the last to the first, slices along their normal;
what was acquired in three dimensions is turned to point right, anterior, superior.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.progress import counted
from core.refusal import Refusal

UNEVEN = 0.02  # of the slice distance, that a slice may lie from its place
UNEVEN_MM = 0.02  # likewise: positions are written with so many digits
TURNED = 1e-3  # difference of direction cosines that rounding makes
RAS = np.diag([-1.0, -1.0, 1.0])  # DICOM's left, posterior, superior turned around


@dataclass(frozen=True)
class Slice:
    """One slice as its file tells it.

    Attributes:
        file: Its file, by its place in the series' list.
        frame: Its place in the file.
        series: Identity of its series.
        shape: Rows and columns.
        turned: Direction cosines of a row and of a column; None where they are not told.
        position: Of the first pixel, mm; None likewise.
        spacing: Distance of rows and of columns, mm; None likewise.
        scale: Slope and intercept of the stored values.
        told: Distance of slices and their thickness, mm; 0 where they are not told.
    """

    file: int
    frame: int
    series: str
    shape: tuple[int, int]
    turned: tuple[float, ...] | None
    position: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    scale: tuple[float, float] = (1.0, 0.0)
    told: tuple[float, ...] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order.

    Attributes:
        slices: Along the normal of the plane.
        affine: (4, 4) from (column, row, slice) to right, anterior, superior, mm.
    """

    slices: tuple[Slice, ...]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        rows, columns = self.slices[0].shape
        return columns, rows, len(self.slices)


def stack(place: str, slices: Sequence[Slice]) -> Stack:
    """Slices in the order of their places.

    Args:
        place: The folder, for people.
        slices: In any order.

    Raises:
        Refusal: They are of several series, lack their place, or do not fill a regular grid.
    """
    _check_one_series(place, slices)
    _check_places(place, slices)
    first = slices[0]
    row, column = np.array(first.turned).reshape(2, 3)  # (3,) each
    normal = np.cross(row, column)
    along = np.array([np.dot(normal, each.position or ()) for each in slices])  # (N,)
    order = tuple(slices[k] for k in np.argsort(along, kind="stable"))
    step = _step(place, order, np.sort(along), normal)
    _check_pitch(place, float(np.linalg.norm(step)), first.told)
    affine = np.eye(4)
    between_rows, between_columns = first.spacing or (1.0, 1.0)
    sides = (row * between_columns, column * between_rows, step, np.array(order[0].position))
    affine[:3] = RAS @ np.stack(sides, axis=1)
    return Stack(order, affine)


def oriented(
    voxels: NDArray[np.float32], affine: NDArray[np.float64], *, upright: bool
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Voxels (column, row, slice) and their affine with axes as dcm2niix writes them.

    Args:
        voxels: As stacked.
        affine: (4, 4).
        upright: Whether axes are turned to the nearest of right, anterior, superior.
    """
    order, signs = _sides(affine, upright=upright)
    seen = voxels.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    return np.ascontiguousarray(seen), affine @ _turn(voxels.shape, order, signs)


def grid_of(
    shape: tuple[int, ...], affine: NDArray[np.float64], *, upright: bool
) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Shape and affine that ``oriented`` gives to voxels of a shape."""
    order, signs = _sides(affine, upright=upright)
    return tuple(shape[old] for old in order), affine @ _turn(shape, order, signs)


def _sides(
    affine: NDArray[np.float64], *, upright: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The old axis for each new one, and which way it runs."""
    if not upright:
        return (0, 1, 2), (1, -1, 1)
    sides = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order, signs = [-1, -1, -1], [1, 1, 1]
    left = np.abs(sides)
    for _ in range(3):
        world, axis = (int(k) for k in np.unravel_index(np.argmax(left), (3, 3)))
        order[world], signs[world] = axis, 1 if sides[world, axis] > 0 else -1
        left[world, :], left[:, axis] = -1, -1
    return tuple(order), tuple(signs)


def _turn(
    shape: tuple[int, ...], order: tuple[int, ...], signs: tuple[int, ...]
) -> NDArray[np.float64]:
    """(4, 4) from axes in another order, some of them from the end on, to the old ones."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        turn[old, new] = sign
        turn[old, 3] = 0 if sign > 0 else shape[old] - 1
    return turn


def _check_one_series(place: str, slices: Sequence[Slice]) -> None:
    found = Counter(each.series for each in slices)
    if len(found) > 1:
        sizes = ", ".join(str(count) for _, count in found.most_common())
        raise Refusal(
            f"{place} holds images of {len(found)} series ({sizes} images): a scan is one series; "
            "give each series a folder of its own."
        )
    shapes = {each.shape for each in slices}
    if len(shapes) > 1:
        words = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(shapes))
        raise Refusal(
            f"{place} holds images of {words} pixels: the slices of a scan are of one size; move "
            "the others, which may be localizers or reports, away."
        )


def _check_places(place: str, slices: Sequence[Slice]) -> None:
    for name, asked in (
        ("ImageOrientationPatient", "turned"),
        ("ImagePositionPatient", "position"),
        ("PixelSpacing", "spacing"),
    ):
        lacking = sum(getattr(each, asked) is None for each in slices)
        if lacking:
            raise Refusal(
                f"{place}: {name} is not said by {lacking} of {counted(len(slices), 'image')}: "
                "without it voxels "
                "have no size or place in space; export the series from the scanner again."
            )
    first = slices[0]
    turned = np.array([each.turned for each in slices])  # (N, 6)
    if np.abs(turned - turned[0]).max() > TURNED:
        raise Refusal(
            f"{place} holds slices that are turned differently, as localizers are: the slices of "
            "a scan are parallel; give the series of the scan itself."
        )
    row, column = turned[0].reshape(2, 3)
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(float(row @ column)) > 0.01:
        raise Refusal(
            f"{place} says that its slices are turned by {tuple(turned[0].tolist())}: direction "
            "cosines are two directions at right angles, each of length 1; export it again."
        )
    spacings = np.array([each.spacing for each in slices])  # (N, 2)
    if spacings.min() <= 0 or np.abs(spacings / spacings[0] - 1).max() > TURNED:
        raise Refusal(
            f"{place} has pixels of {spacings.min():g} to {spacings.max():g} mm: all slices of a "
            f"scan share one positive size, here {tuple(first.spacing or ())}; export it again."
        )


def _step(
    place: str, order: Sequence[Slice], along: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From one slice to the next, mm."""
    if len(order) < 2:
        raise Refusal(
            f"{place} holds one slice: a scan has at least two; give the folder of the whole "
            "series."
        )
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    most = max(UNEVEN * usual, UNEVEN_MM)
    if gaps.min() < most:
        raise Refusal(
            f"{place} holds {int((gaps < most).sum()) + 1} or more images of one place: a scan "
            "has one at each, so several echoes, times or directions are several scans; give a "
            "folder to each."
        )
    if (gaps > usual + most).any():
        wide = int(np.argmax(gaps))
        raise Refusal(
            f"{place} has a gap of {gaps[wide]:.4g} mm after slice {wide + 1} of {len(order)}, "
            f"where others lie {usual:.4g} mm apart: the slices of a scan are evenly spaced; "
            "copy the missing ones too, or export the series again."
        )
    positions = np.array([each.position for each in order])  # (N, 3)
    step = (positions[-1] - positions[0]) / (len(order) - 1)
    even = positions[0] + np.arange(len(order))[:, None] * step  # (N, 3)
    off = float(np.linalg.norm(positions - even, axis=1).max())
    sideways = float(np.linalg.norm(step - normal * float(step @ normal)))
    if off > most or sideways > most:
        raise Refusal(
            f"{place} has slices up to {max(off, sideways):.3g} mm from where an even stack has "
            "them: the slices of a scan lie above each other at one distance; export it again, "
            "or resample it to such a stack."
        )
    return step


def _check_pitch(place: str, step: float, told: tuple[float, ...]) -> None:
    """Refuse slices that lie twice or more as far apart as their header says.

    Some scanners write the gap alone there; it is less than half of the slices' thickness.
    """
    between, thickness = told
    if between <= 0 or between < thickness / 2:
        return
    times = round(step / between)
    if times >= 2 and abs(step - times * between) <= UNEVEN * between + UNEVEN_MM:
        raise Refusal(
            f"{place} has slices {step:.4g} mm apart, and says that they lie {between:.4g} mm "
            f"apart (SpacingBetweenSlices): of {times} slices {times - 1} would be missing; copy "
            "all files of the series."
        )
