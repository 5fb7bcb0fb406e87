"""Clips that are held to the boxes a person drew: read back, and painted once more where off.

The painting network follows a layout within a pixel or so, which is much of a small box. Where a
thing overlaps its box by less than it should, the layout is moved by what the clip is off, and the
clip is painted again; the new painting stands where it is nearer.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from video.engines.canvas import Canvas
from video.engines.laid_boxes import Boxed, box_of, boxed_things, laid_out
from video.engines.things import RADIUS, Rows, things_of
from video.oracle.oracle import read_clip
from video.request import VideoRequest

HELD: Final = 0.9  # least overlap of a thing with its boxes
SHARES: Final = 0.8, 0.5  # of what is off, by which the layout is moved; by turns
FARTHEST: Final = 1.5  # pixels that count of what is off; more is another fault
SWELL: Final = 1.1  # times that a thing is too small, or too large, likewise

Painting = TypeVar("Painting")


def overlap(one: Rows, other: Rows) -> float:
    """Mean over frames of intersection over union of boxes (T, 4)."""
    first, last = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.clip(last - first, 0, None).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (one, other)]
    return float((shared / (areas[0] + areas[1] - shared)).mean())


def read_back(things: list[Boxed], frames: NDArray[np.uint8]) -> tuple[list[float], list[Rows]]:
    """Each thing's overlap with its boxes and its course in a clip; none where the count is wrong.

    Args:
        things: That are asked for.
        frames: (T, H, W, 3) of the clip.
    """
    seen = things_of(Canvas(frames, np.ones(frames.shape[:3], bool)))
    if not len(read_clip(frames).things) == len(seen) == len(things):
        return [], []
    courses = [thing.course(len(frames)) for thing in seen]
    found = [box_of(thing.shape, rows) for thing, rows in zip(seen, courses, strict=True)]
    asked = [box_of(thing.shape, thing.course) for thing in things]
    table = np.array([[overlap(one, other) for other in found] for one in asked])
    seats = linear_sum_assignment(-table)
    return table[seats].tolist(), [courses[seat] for seat in seats[1]]


def held_to_boxes(
    request: VideoRequest,
    first: Painting,
    again: Callable[[Tensor], Painting],
    shown: Callable[[Painting], NDArray[np.uint8]],
) -> tuple[Painting, dict[str, Any]]:
    """A painting whose things are in their boxes, as far as it goes, and what is told of it.

    Args:
        request: Settled; without boxes, or for a draft, the first painting stands.
        first: The painting after the layout of the boxes.
        again: Paints after another layout.
        shown: The frames of a painting.
    """
    if not request.boxes or request.draft_after:
        return first, {}
    things = boxed_things(request)
    overlaps, courses = read_back(things, shown(first))
    if not overlaps or min(overlaps) >= HELD:
        return first, {}
    best, least, before = first, min(overlaps), min(overlaps)
    for share in SHARES:
        pairs = zip(things, courses, strict=True)
        other = again(laid_out([_moved(thing, seen, share) for thing, seen in pairs]))
        found, _ = read_back(things, shown(other))
        if found and min(found) > least:
            best, least = other, min(found)
        if least >= HELD:
            break
    if best is first:
        return first, {}
    return best, {"painted_again": {"overlap": round(least, 4), "before": round(before, 4)}}


def _moved(thing: Boxed, seen: Rows, share: float) -> Boxed:
    """A thing whose course is moved against what it came out as."""
    course = thing.course.copy()
    off = thing.course - seen
    course[:, :2] += share * np.clip(off[:, :2], -FARTHEST, FARTHEST)
    swell = np.clip(thing.course[:, RADIUS] / seen[:, RADIUS], 1 / SWELL, SWELL)
    course[:, RADIUS] *= swell**share
    return replace(thing, course=course)
