"""Pixels to tracks: finds the things in each frame and follows them through the clip.

A thing is a connected patch that differs from the background; the background is the median
color of the clip. Things are followed by the assignment with the least squared distance, which
is exact for members of a group that move alike, whatever their step.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from scipy import ndimage

from video.scenes import BACKGROUNDS, COLORS
from video.silhouettes import moments

CONTRAST: Final = 40.0
"""RGB distance from the background from which a pixel belongs to a thing."""
LEAST_AREA: Final = 16
"""Pixels below which a patch is noise."""
STRAY_COLOR: Final = 75.0
"""RGB distance from every known color beyond which a color is none of ours."""
STEADY: Final = 0.75
"""Share of frames that must show the same number of things."""
CORE: Final = 0.4
"""Share of its own color at which soft patches that touch are parted."""
MOST_THINGS: Final = 6
"""Number of things beyond which a clip is not followed."""


@dataclass(frozen=True)
class Track:
    """One thing through the clip.

    Attributes:
        color: mean (3,) of its core over all frames, RGB in [0, 255].
        positions: center of mass (T, 2) in pixels, x then y.
        areas: covered pixels (T,).
        numbers: five shape numbers (T, 5), see `video.silhouettes`.
        waves: complex repetitions (T, 3), see `video.silhouettes`.
    """

    color: np.ndarray
    positions: np.ndarray
    areas: np.ndarray
    numbers: np.ndarray
    waves: np.ndarray


@dataclass(frozen=True)
class _Patches:
    """All patches of a clip, side by side: N rows, and the frame of each."""

    frames: np.ndarray
    positions: np.ndarray
    colors: np.ndarray
    areas: np.ndarray
    numbers: np.ndarray
    waves: np.ndarray


def nearest_background(rgb: np.ndarray) -> str | None:
    """The known background nearest to a color, or None where none is near."""
    gaps = {name: np.linalg.norm(rgb - np.array(known)) for name, known in BACKGROUNDS.items()}
    name = min(gaps, key=gaps.__getitem__)
    return name if gaps[name] < 40.0 else None


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
    patches = _find(frames, ground)
    shown = np.bincount(patches.frames, minlength=len(frames))
    usual = int(np.bincount(shown).argmax())
    if not 1 <= usual <= MOST_THINGS:
        return [], usual == 0 and bool((shown == 0).mean() >= STEADY)
    rows = _linked(patches, len(frames), usual)
    tracks = [_track(patches, row) for row in rows.T]
    return tracks, bool((shown == usual).mean() >= STEADY)


def _find(frames: np.ndarray, ground: np.ndarray) -> _Patches:
    """All patches of all frames, measured."""
    away = frames.astype(np.float32) - ground.astype(np.float32)
    power = np.einsum("thwc,thwc->thw", away, away)
    in_plane = np.zeros((3, 3, 3), dtype=int)
    in_plane[1] = 1
    t, y, x, group = _patch_pixels(power, in_plane)
    count = int(group.max(initial=-1)) + 1

    strength = np.sqrt(power[t, y, x].astype(np.float64))
    colors = _core_colors(group, count, away[t, y, x], strength) + ground
    way = colors - ground
    share = (
        np.einsum("nc,nc->n", away[t, y, x], way[group])
        / np.maximum(np.einsum("nc,nc->n", way, way), 1.0)[group]
    )
    share = np.clip(share, 0.0, 1.2)
    area = np.bincount(group, share, minlength=count)
    center_x = np.bincount(group, share * x, minlength=count) / np.maximum(area, 1e-6)
    center_y = np.bincount(group, share * y, minlength=count) / np.maximum(area, 1e-6)
    numbers, waves = moments(group, count, x - center_x[group], y - center_y[group], share)
    frame = np.zeros(count, dtype=int)
    frame[group] = t
    positions = np.column_stack([center_x, center_y]) + 0.5
    return _Patches(frame, positions, colors, area, numbers, waves)


def _patch_pixels(power: np.ndarray, in_plane: np.ndarray) -> tuple[np.ndarray, ...]:
    """Frame, row, column and patch number of every pixel of a patch.

    Patches are joined pixels beyond `CONTRAST`; where their cores are apart, they are parted and
    the soft pixels between go to the core whose border is nearest.
    """
    labels, number = ndimage.label(power > CONTRAST * CONTRAST, structure=in_plane)
    t, y, x = np.nonzero(labels)
    whole = labels[t, y, x]
    peak = np.zeros(number + 1)
    np.maximum.at(peak, whole, power[t, y, x])
    hard = np.zeros(labels.shape, dtype=bool)
    hard[t, y, x] = power[t, y, x] > CORE * CORE * peak[whole]
    cores, number = ndimage.label(hard, structure=in_plane)
    core = cores[t, y, x]
    size = np.bincount(core, minlength=number + 1)
    size[0] = 0
    core[size[core] < LEAST_AREA] = 0
    owner = np.zeros(number + 1, dtype=int)
    owner[core] = whole
    in_patch = np.bincount(owner[size >= LEAST_AREA], minlength=len(peak))
    lone = np.zeros(len(peak), dtype=int)
    seeds = np.flatnonzero(size >= LEAST_AREA)
    lone[owner[seeds]] = seeds
    soft = core == 0
    core[soft] = lone[whole[soft]]
    for patch in np.flatnonzero(in_patch > 1):
        mine = seeds[owner[seeds] == patch]
        area = np.sqrt(size[mine] / np.pi)
        here = [np.array([x[core == n].mean(), y[core == n].mean()]) for n in mine]
        loose = np.flatnonzero(soft & (whole == patch))
        away = [np.hypot(x[loose] - a, y[loose] - b) for a, b in here]
        core[loose] = mine[(np.array(away) - area[:, None]).argmin(axis=0)]
    keep = core > 0
    _, group = np.unique(core[keep], return_inverse=True)
    return t[keep], y[keep], x[keep], group


def _core_colors(
    group: np.ndarray, count: int, away: np.ndarray, strength: np.ndarray
) -> np.ndarray:
    """Mean difference from the background (N, 3) over the strongest pixels of each patch."""
    weight = strength**2
    mean = np.bincount(group, strength * weight, minlength=count) / np.maximum(
        np.bincount(group, weight, minlength=count), 1e-6
    )
    core = strength > 0.85 * mean[group]
    size = np.maximum(np.bincount(group[core], minlength=count), 1)
    sums = [np.bincount(group[core], away[core, c], minlength=count) for c in range(3)]
    return np.column_stack(sums) / size[:, None]


def _linked(patches: _Patches, num_frames: int, usual: int) -> np.ndarray:
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


def _assigned(patches: _Patches, last: np.ndarray, here: np.ndarray) -> np.ndarray:
    """The patches of a frame in the order of the last ones; -1 for those missing."""
    if len(last) == len(here) == 1:
        return here
    step = patches.positions[last][:, None] - patches.positions[here][None]
    tint = patches.colors[last][:, None] - patches.colors[here][None]
    cost = (step**2).sum(-1) + (tint**2).sum(-1) / 25.0
    missing = np.full((len(last), max(0, len(last) - len(here))), 1e4)
    cost = np.concatenate([cost, missing], axis=1)
    choices = list(permutations(range(cost.shape[1]), len(last)))
    sums = cost[np.arange(len(last))[None], np.array(choices)].sum(axis=1)
    best = np.array(choices[int(sums.argmin())])
    return np.where(best < len(here), np.append(here, [-1] * missing.shape[1])[best], -1)


def _track(patches: _Patches, row: np.ndarray) -> Track:
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
