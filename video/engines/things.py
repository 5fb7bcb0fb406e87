"""The things that given frames show, as courses through time, and how they go on.

The oracle's eye finds them; a motion of the procedural world goes on by its own law: a line until
the frame's edge and back, a round, a bounce, a spin; what grows shrinks again.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from video.engines.canvas import Canvas
from video.oracle.patches import Patches, find_patches
from video.world.motions import read_motion
from video.world.rendering import coverage
from video.world.scene_table import SLOTS
from video.world.scenes import COLORS, DIRECTIONS, FRAME_SIZE, NUM_FRAMES
from video.world.scenes import REACH as FARTHEST
from video.world.silhouettes import nearest_shape, turns, unit_area
from video.world.tracks import nearest_background, nearest_color
from video.world.world import MARGIN

Rows = NDArray[np.float64]
X, Y, RADIUS, ANGLE = range(4)
NEAR, TINT = (
    14.0,
    90.0,
)  # pixels a frame and RGB distance by which a thing may be another in the next
LEAST_SEEN = 4  # frames from which a motion is read
GROUND_STEPS = 4
STRAIGHT, LEAST_WAY = 0.3, 1.0  # pixels
SWELL = 0.1  # share of its radius by which a thing that grows does
SIZES_SEEN = 4.0, 14.0  # radii between which a thing grows and shrinks


@dataclass(eq=False)
class Thing:
    """A thing of a clip.

    Attributes:
        shape: A word of the world.
        color: Likewise; None for another.
        paint: RGB, 0 to 255.
        places: Frames in which it is seen.
        rows: (len(places), 4) x, y, radius and angle there.
    """

    shape: str
    color: str | None
    paint: tuple[float, float, float]
    places: list[int]
    rows: Rows

    def course(self, count: int) -> Rows:
        """Its row in every frame: as seen, between as between two, beyond by its motion."""
        frames = np.arange(count)
        found = np.stack([np.interp(frames, self.places, column) for column in self.rows.T], 1)
        first, last = self.places[0], self.places[-1]
        size = FRAME_SIZE
        if last < count - 1:
            found[last + 1 :] = _onward(self, found[first : last + 1], count - 1 - last, size)
        if first > 0:
            backward = found[first : last + 1][::-1]
            found[:first] = _onward(self, backward, first, size)[::-1]
        return found


def ground_of(canvas: Canvas) -> NDArray[np.float64]:
    """Median color of what is given."""
    return np.median(canvas.frames[canvas.given][::GROUND_STEPS], axis=0).astype(np.float64)


def background_of(canvas: Canvas) -> str | None:
    """Its name; None where it is none of the world's or nothing is given."""
    return nearest_background(ground_of(canvas)) if canvas.given.any() else None


def things_of(canvas: Canvas) -> list[Thing]:
    """What the given pixels show, at most as many as a layout has slots; those seen longest."""
    if not canvas.given.any():
        return []
    ground = ground_of(canvas)
    frames = np.where(canvas.given[..., None], canvas.frames, np.rint(ground).astype(np.uint8))
    patches = find_patches(frames, ground)
    rows = _whole(patches, canvas)
    tracks = _linked(patches, rows)
    least = min(LEAST_SEEN, len(canvas.touched)) / 2
    long = sorted((t for t in tracks if len(t) >= least), key=len, reverse=True)[:SLOTS]
    return [_thing(patches, np.array(track), ground) for track in long]


def _whole(patches: Patches, canvas: Canvas) -> list[int]:
    """Patches that no hole cuts."""
    kept = []
    for row in range(len(patches.frames)):
        radius = math.sqrt(patches.areas[row] / math.pi) * 1.6 + 1
        given = canvas.given[patches.frames[row]]
        x, y = patches.positions[row]
        box = given[
            max(0, int(y - radius)) : int(y + radius) + 1,
            max(0, int(x - radius)) : int(x + radius) + 1,
        ]
        if box.size and box.all():
            kept.append(row)
    return kept


def _linked(patches: Patches, rows: list[int]) -> list[list[int]]:
    """Rows of one thing each, in the order of frames."""
    tracks: list[list[int]] = []
    for frame in sorted({int(patches.frames[row]) for row in rows}):
        here = [row for row in rows if patches.frames[row] == frame]
        cost = np.full((len(tracks), len(here)), 1e6)
        for i, track in enumerate(tracks):
            last, gap = track[-1], frame - int(patches.frames[track[-1]])
            far = np.linalg.norm(patches.positions[last] - patches.positions[here], axis=1)
            tint = np.linalg.norm(patches.colors[last] - patches.colors[here], axis=1)
            near = (far < NEAR * min(gap, 4)) & (tint < TINT)
            cost[i] = np.where(near, far + tint / 5, 1e6)
        taken = set()
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if cost[i, j] < 1e6:
                tracks[i].append(here[j])
                taken.add(j)
        tracks += [[row] for j, row in enumerate(here) if j not in taken]
    return tracks


def _thing(patches: Patches, track: NDArray[np.int64], ground: NDArray[np.float64]) -> Thing:
    seen = patches.colors[track].mean(axis=0)
    color, strength = nearest_color(seen, ground)
    names, _ = nearest_shape(patches.numbers[track])
    shape = max(set(names), key=names.count)
    radii = np.sqrt(np.maximum(patches.areas[track] * strength, 1.0) / unit_area(shape))
    angles = turns(shape, patches.waves[track]) - upright(shape)
    rows = np.column_stack([patches.positions[track], radii, angles])
    red, green, blue = COLORS[color] if color else seen.tolist()
    paint = float(red), float(green), float(blue)
    return Thing(shape, color, paint, patches.frames[track].tolist(), rows)


@cache
def upright(shape: str) -> float:
    """The angle that is measured of a shape that is not turned."""
    pixel = np.arange(FRAME_SIZE) + 0.5 - FRAME_SIZE / 2
    place = torch.from_numpy(pixel)
    share = coverage(shape, place[None], place[:, None], torch.tensor(9.0), torch.tensor(0.0))
    frame = np.rint(share.numpy()[None, ..., None] * np.full(3, 255.0)).astype(np.uint8)
    return float(turns(shape, find_patches(frame, np.zeros(3)).waves)[0])


def _onward(thing: Thing, rows: Rows, count: int, size: int) -> Rows:
    """The next rows after those of a course."""
    rows = rows[-NUM_FRAMES:]
    ahead = np.arange(1, count + 1)
    found = np.repeat(rows[-1:], count, axis=0)
    if len(rows) < LEAST_SEEN:
        return found
    motion = _motion(rows)
    reach = FARTHEST[thing.shape] * float(rows[:, RADIUS].max()) + MARGIN
    if motion == "orbit":
        found[:, :2] = _round(rows[:, :2], ahead)
    elif motion == "bounce":
        low, high = rows[:, Y].min(), rows[:, Y].max()
        pace = float(np.median(np.abs(np.diff(rows[:, Y]))))
        way = math.copysign(pace, rows[-1, Y] - rows[-2, Y])
        found[:, Y] = _between(rows[-1, Y] + way * ahead, low, high)
    elif motion == "line" or motion in DIRECTIONS:
        for axis in (X, Y):
            along = rows[-1, axis] + _slope(rows[:, axis]) * ahead
            found[:, axis] = _between(along, reach, size - reach)
    elif abs(_slope(rows[:, RADIUS])) * (len(rows) - 1) > SWELL * rows[:, RADIUS].mean():
        along = rows[-1, RADIUS] + _slope(rows[:, RADIUS]) * ahead
        low, high = _sizes(rows[:, RADIUS])
        found[:, RADIUS] = _between(along, low, high)
    if motion == "spin":
        found[:, ANGLE] += _slope(rows[:, ANGLE]) * ahead
    return found


def _motion(rows: Rows) -> str | None:
    """In words; ``line`` for anything straight, however slow and short."""
    slopes = np.array([_slope(rows[:, axis]) for axis in (X, Y)])
    time = np.arange(len(rows)) - (len(rows) - 1) / 2
    rest = rows[:, :2] - rows[:, :2].mean(0) - time[:, None] * slopes
    straight = float(np.sqrt((rest**2).sum(1).mean())) < STRAIGHT
    if straight and float(np.hypot(*slopes)) * (len(rows) - 1) > LEAST_WAY:
        return "line"
    return read_motion(rows[:, :2], rows[:, RADIUS], rows[:, ANGLE]).motion


def _slope(values: Rows) -> float:
    time = np.arange(len(values)) - (len(values) - 1) / 2
    return float(time @ values / (time @ time))


def _sizes(radii: Rows) -> tuple[float, float]:
    """Radii between which a thing grows and shrinks: as far as it does in 16 frames, no farther.

    A thing that grew for longer would come to others, and be larger than what a model knows.
    """
    whole = radii[0] + _slope(radii) * (NUM_FRAMES - 1)
    least, most = SIZES_SEEN
    low = min(float(radii.min()), max(least, whole))
    return low, max(float(radii.max()), min(most, whole))


def _between(values: Rows, low: float, high: float) -> Rows:
    """Values on a line, turned back at two bounds."""
    span = max(high - low, 1e-6)
    return low + span - np.abs((values - low) % (2 * span) - span)


def _round(positions: Rows, ahead: NDArray[np.int64]) -> Rows:
    """On the circle that fits best."""
    x, y = positions.T
    table = np.column_stack([x, y, np.ones_like(x)])
    (a, b, _), *_ = np.linalg.lstsq(table, x * x + y * y, rcond=None)
    middle = np.array([a / 2, b / 2])
    away = positions - middle
    angles = np.unwrap(np.arctan2(away[:, 1], away[:, 0]))
    along = angles[-1] + _slope(angles) * ahead
    radius = float(np.hypot(*away.T).mean())
    return middle + radius * np.column_stack([np.cos(along), np.sin(along)])
