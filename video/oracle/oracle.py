"""Reads a clip back into what it shows, and judges it against what was asked.

The reading knows no prompt: background, and for each thing its color, shape, size, path, motion
and speed. It is exact on rendered scenes and forgiving toward what a generative model and a
codec give: soft edges, noise, small shifts of color. What it cannot make out is None, and None
satisfies no claim.
"""

import math
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Final

import numpy as np

from core.refusal import Refusal
from video.world.motions import read_motion
from video.world.prompts import Claims, ThingClaim, claims_of
from video.world.scenes import FRAME_SIZE, SIZES, Scene
from video.world.silhouettes import STRANGE, nearest_shape, turns, unit_area
from video.world.tracks import Track, follow, ground_of, nearest_background, nearest_color

AXES: Final = ("count", "color", "shape", "size", "motion", "speed", "place", "background")
SIZE_BOUNDS: Final = tuple(math.sqrt(a * b) for a, b in pairwise(SIZES.values()))
"""Radius in pixels at which one size ends and the next begins."""
PLACE_MARGIN: Final = 5.0
"""Pixels of a 64 x 64 frame by which one thing must lie beyond another."""


@dataclass(frozen=True)
class ThingReading:
    """One thing as seen; None for what is none of the world's words.

    Attributes:
        color, shape, size, motion, speed: words of `video.world.scenes`, or None.
        radius: mean radius in pixels.
        positions: center (T, 2) in pixels, x then y.
    """

    color: str | None
    shape: str | None
    size: str | None
    motion: str | None
    speed: str | None
    radius: float
    positions: np.ndarray


@dataclass(frozen=True)
class Reading:
    """A clip as seen.

    Attributes:
        background: its name, or None.
        things: every thing, members of groups one by one.
        steady: whether the same number of things is seen nearly throughout.
        frozen: whether nothing changes from the first frame to the last.
        unit: pixels of the frame per pixel of the 64 x 64 world.
    """

    background: str | None
    things: tuple[ThingReading, ...]
    steady: bool
    frozen: bool
    unit: float = 1.0

    def is_place(self, first: int, place: str, second: int) -> bool:
        """Whether one thing is, on the mean of the clip, left of (or ...) another."""
        here, there = self.things[first].positions, self.things[second].positions
        dx, dy = here.mean(axis=0) - there.mean(axis=0)
        beyond = {"left of": -dx, "right of": dx, "above": -dy, "below": dy}[place]
        return bool(beyond > PLACE_MARGIN * self.unit)


def read_clip(frames: np.ndarray) -> Reading:
    """What a clip shows.

    Args:
        frames: uint8 (T, H, W, 3), at least two frames.

    Raises:
        Refusal: for another type or shape.
    """
    _check(frames)
    unit = min(frames.shape[1:3]) / FRAME_SIZE
    ground = ground_of(frames)
    tracks, steady = follow(frames, ground)
    things = tuple(_read_thing(track, ground, unit) for track in tracks)
    return Reading(nearest_background(ground), things, steady, is_frozen(frames), unit)


def is_frozen(frames: np.ndarray) -> bool:
    """Whether nothing in a clip (T, H, W, 3) changes.

    A scene in which everything stays is frozen too, so ask only where motion was asked for.
    """
    _check(frames)
    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    even = frames[:, :height, :width].astype(np.float32)
    small = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4
    change = np.abs(small - small[:1]).max(axis=-1) > 30.0
    return bool(change.sum(axis=(1, 2)).max() < 4)


def score(reading: Reading, asked: Claims | Scene) -> dict[str, bool]:
    """Whether a clip shows what was asked, per axis; axes nothing was asked of are absent.

    Things are matched to claims in the way that fits best; a claim no thing is left for is not
    met. More or fewer things than asked fail `count`.
    """
    claims = claims_of(asked) if isinstance(asked, Scene) else asked
    slots = [(claim, n) for n, claim in enumerate(claims.things) for _ in range(claim.count)]
    verdict = {"count": reading.steady and len(reading.things) == len(slots)}
    seats = [*range(len(reading.things)), *[-1] * max(0, len(slots) - len(reading.things))]
    options = (_matched(reading, claims, slots, seat) for seat in _seatings(seats, len(slots)))
    verdict |= max(options, key=lambda option: option[0])[1]
    if claims.background is not None:
        verdict["background"] = reading.background == claims.background
    return {axis: verdict[axis] for axis in AXES if axis in verdict}


def _check(frames: np.ndarray) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) < 2:
        raise Refusal(
            f"frames of {frames.dtype} {frames.shape}: the oracle reads uint8 (T, H, W, 3) with "
            "two frames or more; round to 0..255 and put the channels last."
        )


def _seatings(seats: list[int], number: int) -> set[tuple[int, ...]]:
    return set(permutations(seats, number))


def _matched(
    reading: Reading, claims: Claims, slots: list[tuple[ThingClaim, int]], seat: tuple[int, ...]
) -> tuple[int, dict[str, bool]]:
    """How many claims are met where each slot takes its seat, and the verdict per axis."""
    verdict: dict[str, bool] = {}
    met = 0
    for axis in ("color", "shape", "size", "motion", "speed"):
        hits = [
            at >= 0 and getattr(reading.things[at], axis) == getattr(claim, axis)
            for (claim, _), at in zip(slots, seat, strict=True)
            if getattr(claim, axis) is not None
        ]
        if hits:
            verdict[axis] = all(hits)
            met += sum(hits)
    if claims.place is not None:
        pairs = [
            (one, other)
            for (_, i), one in zip(slots, seat, strict=True)
            for (_, j), other in zip(slots, seat, strict=True)
            if (i, j) == (0, 1)
        ]
        verdict["place"] = all(
            one >= 0 and other >= 0 and reading.is_place(one, claims.place, other)
            for one, other in pairs
        )
        met += verdict["place"]
    return met, verdict


def _read_thing(track: Track, ground: np.ndarray, unit: float) -> ThingReading:
    """One track in words."""
    color, strength = nearest_color(track.color, ground)
    names, gaps = nearest_shape(track.numbers)
    shape = max(set(names), key=names.count)
    radii = np.sqrt(np.maximum(track.areas * strength, 1.0) / unit_area(shape))
    angles = turns(shape, track.waves)
    found = read_motion(track.positions, radii, angles, unit=unit)
    radius = float(np.mean(radii))
    size = tuple(SIZES)[sum(radius / unit > bound for bound in SIZE_BOUNDS)]
    steady = names.count(shape) >= 0.6 * len(names) and np.median(gaps) < STRANGE
    seen = shape if steady else None
    return ThingReading(color, seen, size, found.motion, found.speed, radius, track.positions)
