"""Patches to tracks: follows each thing through the clip, and names colors.

Things are followed by the assignment with the least squared distance, which is exact for members
of a group that move alike, whatever their step. The background is the median color of the clip.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from video.oracle.patches import Patches, find_patches
from video.world.scenes import BACKGROUNDS, COLORS

STRAY_COLOR: Final = 75.0
"""RGB distance from every known color beyond which a color is none of ours."""
STRAY_GROUND: Final = 40.0
"""RGB distance from every known background beyond which a background is none of ours."""
STEADY: Final = 0.75
"""Share of frames that must show the same number of things."""
MOST_THINGS: Final = 6
"""Number of things beyond which a clip is not followed."""


@dataclass(frozen=True)
class Track:
    """One thing through the clip.

    Attributes:
        color: mean (3,) of its core over all frames, RGB in [0, 255].
        positions: center of mass (T, 2) in pixels, x then y.
        areas: covered pixels (T,).
        numbers: five shape numbers (T, 5), see `video.world.silhouettes`.
        waves: complex repetitions (T, 3), see `video.world.silhouettes`.
    """

    color: np.ndarray
    positions: np.ndarray
    areas: np.ndarray
    numbers: np.ndarray
    waves: np.ndarray


def nearest_background(rgb: np.ndarray) -> str | None:
    """The known background nearest to a color, or None where none is near."""
    gaps = {name: np.linalg.norm(rgb - np.array(known)) for name, known in BACKGROUNDS.items()}
    name = min(gaps, key=gaps.__getitem__)
    return name if gaps[name] < STRAY_GROUND else None


def nearest_color(rgb: np.ndarray, ground: np.ndarray) -> tuple[str | None, float]:
    """The known color a thing has before its background, and how strongly it covers it.

    Soft edges and compression mix a thing with its background, so each known color is compared
    after the mixture (70 to 110 %) that brings it nearest.
    """
    best, strength, least = None, 1.0, STRAY_COLOR
    for name, known in COLORS.items():
        way = np.array(known, dtype=float) - ground
        share = float(np.clip((rgb - ground) @ way / (way @ way), 0.7, 1.1))
        gap = float(np.linalg.norm(rgb - ground - share * way))
        if gap < least:
            best, strength, least = name, share, gap
    return best, strength


def ground_of(frames: np.ndarray) -> np.ndarray:
    """Median color (3,) of a clip (T, H, W, 3), read on every other row and column."""
    return np.median(frames[:, ::2, ::2].reshape(-1, 3), axis=0).astype(np.float64)


def follow(frames: np.ndarray, ground: np.ndarray) -> tuple[list[Track], bool]:
    """The tracks of a clip (T, H, W, 3), and whether their number is steady.

    The number of tracks is the one most frames show. Frames that show another number keep the
    things nearest to where they were; a thing missing there is put half way between its
    neighbors in time.
    """
    patches = find_patches(frames, ground)
    shown = np.bincount(patches.frames, minlength=len(frames))
    usual = int(np.bincount(shown).argmax())
    if not 1 <= usual <= MOST_THINGS:
        return [], usual == 0 and bool((shown == 0).mean() >= STEADY)
    rows = _linked(patches, len(frames), usual)
    tracks = [_track(patches, row) for row in rows.T]
    return tracks, bool((shown == usual).mean() >= STEADY)


def _linked(patches: Patches, num_frames: int, usual: int) -> np.ndarray:
    """Row of each of the usual things in each frame (T, usual); -1 where it is missing."""
    found = [np.flatnonzero(patches.frames == frame) for frame in range(num_frames)]
    rows = np.full((num_frames, usual), -1)
    start = next(frame for frame in range(num_frames) if len(found[frame]) == usual)
    rows[start] = found[start]
    for order in (range(start + 1, num_frames), range(start - 1, -1, -1)):
        last = rows[start].copy()
        for frame in order:
            rows[frame] = _assigned(patches, last, found[frame])
            last = np.where(rows[frame] >= 0, rows[frame], last)
    return rows


def _assigned(patches: Patches, last: np.ndarray, here: np.ndarray) -> np.ndarray:
    """The patches of a frame in the order of the last ones; -1 for those missing."""
    step = patches.positions[last][:, None] - patches.positions[here][None]
    tint = patches.colors[last][:, None] - patches.colors[here][None]
    cost = (step**2).sum(-1) + (tint**2).sum(-1) / 25.0
    things, found = linear_sum_assignment(cost)
    rows = np.full(len(last), -1)
    rows[things] = here[found]
    return rows


def _track(patches: Patches, row: np.ndarray) -> Track:
    """One track from its row in each frame; gaps are filled between their neighbors."""
    seen = np.flatnonzero(row >= 0)
    here = row[seen]
    frame = np.arange(len(row))

    def filled(values: np.ndarray) -> np.ndarray:
        return np.column_stack([np.interp(frame, seen, column) for column in values.T])

    nearest = here[np.abs(frame[:, None] - seen[None]).argmin(axis=1)]
    return Track(
        color=patches.colors[here].mean(axis=0),
        positions=filled(patches.positions[here]),
        areas=filled(patches.areas[here][:, None])[:, 0],
        numbers=patches.numbers[nearest],
        waves=patches.waves[nearest],
    )
