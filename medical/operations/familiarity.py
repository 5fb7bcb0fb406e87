"""Whether a scan is like those that the shipped model was trained on, and what is known if not.

A few numbers of the scan, brought to voxels of some 4 mm, are held against the ranges that heads
of training have: how much tissue there is, how bright the inside is beside the rim, how bright
the brightest of the inside is, as fluid is on T2w, and how much of what lies a little below the
surface is dark, as bone is.

Axes: D, H, W; intensities in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from core.arrays import Tensor, plain
from core.operations.linear_operators import along_axis

COARSE_MM = 4.0
TISSUE, DARK = 0.08, 0.2
RIM_MM, BELOW_MM, INSIDE_MM = 5.0, (5.0, 13.0), 20.0


# Of heads of training, with room for those of the same kind that were kept from it
LITERS, INSIDE, MOST_DARK = (1.1, 1.8), (2.6, 3.4), 0.08
# With a skull the rim is skin, which fat makes bright on T1w: the inside is 1.2 to 2.0 times as
# bright on five scans of three people and Colin27, 3.2 to 4.2 on FLAIR of these three. The
# brightest of the inside is 1.1 to 1.4 times as bright as most of it on T1w and FLAIR of five
# people and on T1w of six others, 1.9 to 2.3 on T2w
INSIDE_SKIN, MOST_BRIGHT, BRIGHTEST = 2.6, 1.6, 98
PITCHES_MM, VOXELS_MM = (1.5, 6.5), (0.8, 1.1)
# Rows "others" and "factors" of docs/results.json, slices of 4 mm
WITH_SKULL_DB, CONTRASTS_DB, USUAL_DB = 3.1, (1.4, 1.7), 3.4
SHIPPED = ("heads-1mm", "heads-1mm-1")  # trained on the same heads


@dataclass(frozen=True)
class Likeness:
    """What a scan shows of its kind.

    Attributes:
        liters: of tissue.
        inside: mean brightness of what lies deep, over that of the rim.
        dark: share of what lies below the rim that is dark.
        bright: the brightest of what lies deep, over the median of that.
    """

    liters: float
    inside: float
    dark: float
    bright: float

    @property
    def usual(self) -> bool:
        """Whether contrast and surroundings are those of training."""
        return self.dark <= MOST_DARK and INSIDE[0] <= self.inside <= INSIDE[1]


def likeness(scan: Tensor, spacing_mm: tuple[float, float, float]) -> Likeness | None:
    """The numbers of a scan; None where there is next to no tissue.

    Args:
        scan: (D, H, W).
        spacing_mm: of its voxels.
    """
    shape = [max(1, round(n * s / COARSE_MM)) for n, s in zip(scan.shape, spacing_mm, strict=True)]
    x: Any = plain(scan)
    for axis, (n, m) in enumerate(zip(scan.shape, shape, strict=True)):
        x = along_axis(x, cast("Any", _means(n, m)), axis)
    actual = [n * s / m for n, s, m in zip(scan.shape, spacing_mm, shape, strict=True)]
    tissue = np.asarray(ndimage.binary_fill_holes(x > TISSUE))
    depth = np.asarray(ndimage.distance_transform_edt(tissue, sampling=actual), np.float32)
    rim = x[(depth > 0) & (depth <= RIM_MM)]
    below = x[(depth > BELOW_MM[0]) & (depth <= BELOW_MM[1])]
    deep = x[depth > INSIDE_MM]
    if min(rim.size, below.size, deep.size) == 0:
        return None
    liters = float(tissue.sum()) * actual[0] * actual[1] * actual[2] / 1e6
    return Likeness(
        round(liters, 2),
        round(float(deep.mean() / max(rim.mean(), 1e-3)), 2),
        round(float((below < DARK).mean()), 3),
        round(float(np.percentile(deep, BRIGHTEST) / max(np.median(deep), 1e-3)), 2),
    )


def _means(size: int, count: int) -> NDArray[np.float32]:
    """Means over so many parts of an axis, (count, size), which overlap where they do not fit."""
    matrix = np.zeros((count, size), np.float32)
    for row in range(count):
        inside = slice(row * size // count, -(-(row + 1) * size // count))
        matrix[row, inside] = 1 / (inside.stop - inside.start)
    return matrix


def unlike(found: Likeness | None, pitch_mm: float, voxel_mm: float) -> tuple[str, ...]:
    """What is unlike the scans of training, with what was measured of such; one line each.

    Args:
        found: what the scan shows.
        pitch_mm: distance of its slices.
        voxel_mm: finest spacing of the result.
    """
    if found is None:
        return ("unlike training: hardly any tissue; nothing was measured of such scans",)
    lines = []
    if found.dark > MOST_DARK:
        lines.append(
            f"a skull, it seems: {100 * found.dark:.0f} % of what lies under the surface is dark "
            f"(of training at most {100 * MOST_DARK:.0f} %); measured with heads-1mm of one "
            f"template with skull, {WITH_SKULL_DB:g} dB above back-projection"
        )
    if seen := _contrast(found):
        lines.append(
            f"another contrast than T1-weighted, it seems: {seen}; measured with heads-1mm of "
            f"T2w and FLAIR of two people without skull, {CONTRASTS_DB[0]:g} to "
            f"{CONTRASTS_DB[1]:g} dB above back-projection where heads of the kind have "
            f"{USUAL_DB:g}"
        )
    if found.dark <= MOST_DARK and not LITERS[0] <= found.liters <= LITERS[1]:
        lines.append(
            f"{found.liters:.2g} liters of tissue (adults of training {LITERS[0]:g} to "
            f"{LITERS[1]:g}): a child, a part of a head or another organ was never measured"
        )
    if not PITCHES_MM[0] <= pitch_mm <= PITCHES_MM[1]:
        lines.append(
            f"slices {pitch_mm:.3g} mm apart (of training {PITCHES_MM[0]:g} to {PITCHES_MM[1]:g} "
            "mm): such were never measured"
        )
    if not VOXELS_MM[0] <= voxel_mm <= VOXELS_MM[1]:
        lines.append(
            f"voxels of {voxel_mm:.3g} mm asked for (of training {VOXELS_MM[0]:g} to "
            f"{VOXELS_MM[1]:g} mm): such were never measured"
        )
    return tuple(f"unlike training: {line}" for line in lines)


def _contrast(found: Likeness) -> str:
    """What shows that a scan is not T1-weighted; empty where nothing does."""
    if found.bright > MOST_BRIGHT:
        return (
            f"the brightest of the inside is {found.bright:.2g} times as bright as most of it "
            f"(on T1w at most {MOST_BRIGHT:g})"
        )
    if found.dark > MOST_DARK:
        if found.inside <= INSIDE_SKIN:
            return ""
        return (
            f"the inside is {found.inside:.2g} times as bright as the skin (on T1w at most "
            f"{INSIDE_SKIN:g})"
        )
    if INSIDE[0] <= found.inside <= INSIDE[1]:
        return ""
    return (
        f"the inside is {found.inside:.2g} times as bright as the rim (of training "
        f"{INSIDE[0]:g} to {INSIDE[1]:g})"
    )
