"""What a scene of the procedural world is: its vocabulary, its record and its exact motion.

A scene is drawn once (`video.world.world`) and then obeyed: everything rendered, captioned or
scored follows from this frozen record. Positions are in pixels, x to the right and y down; pixel
(i, j) has its center at (j + 0.5, i + 0.5). Motion is a function of the frame number alone.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

NUM_FRAMES: Final = 16
FRAME_SIZE: Final = 64
FPS: Final = 8.0

COLORS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (230, 35, 40),
    "green": (40, 200, 70),
    "blue": (50, 90, 255),
    "yellow": (250, 228, 50),
    "magenta": (235, 50, 220),
    "cyan": (60, 222, 235),
    "white": (245, 245, 245),
    "orange": (255, 135, 20),
}
BACKGROUNDS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (0, 0, 0),
    "gray": (98, 98, 98),
    "navy": (14, 18, 76),
    "dark green": (10, 62, 26),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "ring")
REACH: Final[dict[str, float]] = {
    "circle": 1.0,
    "square": 1.21,
    "triangle": 1.25,
    "star": 1.3,
    "cross": 1.17,
    "ring": 1.1,
}
"""Farthest point of each shape from its center, in units of the radius."""
SYMMETRY: Final[dict[str, int]] = {"square": 4, "triangle": 3, "star": 5, "cross": 4}
"""Order of rotation of the shapes whose spin can be seen."""
SIZES: Final[dict[str, float]] = {"small": 5.5, "medium": 7.9, "large": 11.0}
"""Radius of each size in pixels; drawn radii stay within 4 % of it."""
DIRECTIONS: Final[dict[str, tuple[int, int]]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up left": (-1, -1),
    "up right": (1, -1),
    "down left": (-1, 1),
    "down right": (1, 1),
}
MOTIONS: Final = (*DIRECTIONS, "bounce", "orbit", "spin", "grow", "shrink", "stay")
SPEEDS: Final = ("slow", "normal", "fast")
PLACES: Final = ("left of", "right of", "above", "below")
CLEAR: Final = 10.0
"""Pixels from which on one thing can be said to be on one side of another."""
SLANT: Final = 1.3
"""And it is farther off that way than the other by this factor."""

RATES: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "direction": {"slow": (0.56, 0.70), "normal": (1.20, 1.45), "fast": (2.05, 2.25)},
    "bounce": {"slow": (0.95, 1.10), "normal": (1.75, 2.00), "fast": (2.90, 3.20)},
    "orbit": {"slow": (0.25, 0.29), "normal": (0.43, 0.48), "fast": (0.66, 0.72)},
    "spin": {"slow": (0.070, 0.090), "normal": (0.155, 0.190), "fast": (0.300, 0.345)},
}
"""Per-frame rate ranges: pixels (direction, bounce) or radians (orbit, spin)."""
GROWTH: Final = 2.0
"""Largest over smallest radius of a thing that grows or shrinks."""


def rate_kind(motion: str) -> str | None:
    """The row of `RATES` a motion is measured by; None where speed has no meaning."""
    if motion in DIRECTIONS:
        return "direction"
    return motion if motion in RATES else None


@dataclass(frozen=True)
class SceneObject:
    """One thing, or a group of equal things that move alike.

    Attributes:
        shape, color, size, motion: words of this file's tables.
        speed: a word of `SPEEDS`, or None for motions without one (grow, shrink, stay).
        centers: rest point of each member, (x, y) in pixels.
        radius: radius in pixels; the middle one for things that grow or shrink.
        rate: pixels or radians per frame, see `RATES`.
        span: height of a bounce or radius of an orbit in pixels; else 0.
        phase: angle in radians at which an orbit begins; else 0.
        sense: +1 or -1: way round of orbit and spin, first way (down or up) of a bounce.
    """

    shape: str
    color: str
    size: str
    motion: str
    speed: str | None
    centers: tuple[tuple[float, float], ...]
    radius: float
    rate: float = 0.0
    span: float = 0.0
    phase: float = 0.0
    sense: int = 1

    @property
    def count(self) -> int:
        """How many members the group has."""
        return len(self.centers)

    @property
    def reach(self) -> float:
        """Radius in pixels of the disc that holds the thing in every frame."""
        swell = 2 * GROWTH / (1 + GROWTH) if self.motion in ("grow", "shrink") else 1.0
        return self.radius * REACH[self.shape] * swell


@dataclass(frozen=True)
class Scene:
    """A background and one to three things."""

    background: str
    objects: tuple[SceneObject, ...]

    @property
    def count(self) -> int:
        """How many things are seen, members of groups counted one by one."""
        return sum(thing.count for thing in self.objects)

    def place(self, first: int, second: int) -> str | None:
        """Where thing `first` is seen from thing `second`; None where it is not clear-cut."""
        one, other = self.objects[first], self.objects[second]
        if one.count > 1 or other.count > 1:
            return None
        drift = path(one)[:, :2].mean(axis=0) - path(other)[:, :2].mean(axis=0)
        dx = one.centers[0][0] - other.centers[0][0] + drift[0]
        dy = one.centers[0][1] - other.centers[0][1] + drift[1]
        if abs(dx) >= max(CLEAR, SLANT * abs(dy)):
            return "left of" if dx < 0 else "right of"
        if abs(dy) >= max(CLEAR, SLANT * abs(dx)):
            return "above" if dy < 0 else "below"
        return None


def path(thing: SceneObject, num_frames: int = NUM_FRAMES) -> np.ndarray:
    """Offset from the rest point, scale and angle in each frame: (num_frames, 4) of x, y, s, a.

    Offsets are in pixels, the scale multiplies the radius, the angle is in radians.
    """
    frame = np.arange(num_frames, dtype=np.float64)
    middle = frame - (num_frames - 1) / 2
    rows = np.zeros((num_frames, 4))
    rows[:, 2] = 1.0
    if thing.motion in DIRECTIONS:
        dx, dy = DIRECTIONS[thing.motion]
        step = thing.rate / math.hypot(dx, dy)
        rows[:, 0], rows[:, 1] = middle * (step * dx), middle * (step * dy)
    elif thing.motion == "bounce":
        climb = np.abs((frame * thing.rate + thing.span) % (2 * thing.span) - thing.span)
        rows[:, 1] = thing.sense * (climb - thing.span / 2)
    elif thing.motion == "orbit":
        angle = thing.phase + thing.sense * thing.rate * frame
        rows[:, 0], rows[:, 1] = thing.span * np.cos(angle), thing.span * np.sin(angle)
    elif thing.motion == "spin":
        rows[:, 3] = thing.sense * thing.rate * frame
    elif thing.motion in ("grow", "shrink"):
        turn = 1 if thing.motion == "grow" else -1
        half = (GROWTH - 1) / (GROWTH + 1)
        rows[:, 2] = 1.0 + turn * half * middle * 2 / (num_frames - 1)
    return rows
