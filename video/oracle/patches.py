"""Pixels to patches: the connected things of every frame, measured all at once.

A patch is a set of joined pixels that differ from the background. Soft patches that touch are
parted where their cores are apart, so that blur does not weld neighbors together.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from video.world.silhouettes import moments

CONTRAST: Final = 40.0
"""RGB distance from the background from which a pixel belongs to a patch."""
CORE: Final = 0.4
"""Share of its strongest pixel from which a pixel belongs to the core of its patch."""
LEAST_AREA: Final = 16
"""Pixels below which a patch, or a core, is noise."""
IN_PLANE: Final = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])
"""Pixels are joined within a frame, never between frames."""


@dataclass(frozen=True)
class Patches:
    """All patches of a clip, side by side in N rows.

    Attributes:
        frames: number of the frame each is in (N,).
        positions: center of mass (N, 2) in pixels, x then y.
        colors: RGB (N, 3) of the core, in [0, 255].
        areas: covered pixels (N,), soft edges counted by their share.
        numbers: five shape numbers (N, 5), see `video.world.silhouettes`.
        waves: complex repetitions (N, 3), see `video.world.silhouettes`.
    """

    frames: np.ndarray
    positions: np.ndarray
    colors: np.ndarray
    areas: np.ndarray
    numbers: np.ndarray
    waves: np.ndarray


def find_patches(frames: np.ndarray, ground: np.ndarray) -> Patches:
    """All patches of a clip (T, H, W, 3) before a background color (3,), measured."""
    away = frames.astype(np.float32) - ground.astype(np.float32)
    power = np.einsum("thwc,thwc->thw", away, away)
    t, y, x, group = _patch_pixels(power)
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
    return Patches(frame, positions, colors, area, numbers, waves)


def _patch_pixels(power: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frame, row, column and patch number of every pixel of a patch, from squared contrast."""
    labels = _joined(power > CONTRAST * CONTRAST)
    t, y, x = np.nonzero(labels)
    whole, here = labels[t, y, x], power[t, y, x]
    peak = np.zeros(int(labels.max()) + 1)
    np.maximum.at(peak, whole, here)
    hard = np.zeros(labels.shape, dtype=bool)
    hard[t, y, x] = here > CORE * CORE * peak[whole]
    core = _joined(hard)[t, y, x]
    core[np.bincount(core)[core] < LEAST_AREA] = 0
    _spread(core, whole, x, y)
    keep = core > 0
    _, group = np.unique(core[keep], return_inverse=True)
    return t[keep], y[keep], x[keep], group


def _joined(mask: np.ndarray) -> np.ndarray:
    """The number of the joined set each pixel belongs to, from 1; 0 outside the mask."""
    labels = np.empty(mask.shape, dtype=np.int32)
    ndimage.label(mask, structure=IN_PLANE, output=labels)
    return labels


def _spread(core: np.ndarray, whole: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Give each soft pixel (core 0) to a core of its own joined patch, in place.

    Where a patch has several cores it goes to the one whose border, taken as a circle, is nearest.
    """
    seeds, first = np.unique(core, return_index=True)
    seeds, first = seeds[seeds > 0], first[seeds > 0]
    owner = whole[first]
    lone = np.zeros(int(whole.max(initial=0)) + 1, dtype=core.dtype)
    lone[owner] = seeds
    soft = core == 0
    core[soft] = lone[whole[soft]]
    for patch in np.flatnonzero(np.bincount(owner, minlength=1) > 1):
        mine = seeds[owner == patch]
        loose = np.flatnonzero(soft & (whole == patch))
        gaps = []
        for seed in mine:
            inside = (core == seed) & ~soft
            away = np.hypot(x[loose] - x[inside].mean(), y[loose] - y[inside].mean())
            gaps.append(away - np.sqrt(inside.sum() / np.pi))
        core[loose] = mine[np.array(gaps).argmin(axis=0)]


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
