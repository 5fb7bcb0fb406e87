"""Layouts and their sketches in numpy; what each number means stands in ``video.engines.layouts``.

A layout is (1, K, 16, 3, 1): channels, frames, slots.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from video.world.scenes import FRAME_SIZE, NUM_FRAMES, SHAPES, SYMMETRY

Floats = NDArray[np.float32]
PRESENT, X, Y, SIZE, COS, SIN = range(6)
PAINT, KIND = slice(6, 9), slice(9, 9 + len(SHAPES))
MIDDLE, PLACE_UNIT, USUAL_RADIUS = FRAME_SIZE / 2, 16.0, 7.5
REACH, GRAIN = 1.35, 4
TURNING = [SHAPES.index(shape) for shape in SYMMETRY]
ORDERS = np.array([float(order) for order in SYMMETRY.values()], dtype=np.float32)


def painting_scale(asked: float, most: float, steps: int) -> float:
    """Guidance while painting after a layout: as asked, but at most so much, and none in one step.

    What is pushed away from at pure noise is the mean of all clips, whose ground is dark; the
    only step would leave the grounds that are brighter than it too bright.

    >>> painting_scale(2.0, 1.5, 4), painting_scale(2.0, 1.5, 1)
    (1.5, 1.0)
    """
    return min(asked, most) if steps > 1 else 1.0


class Things(NamedTuple):
    """What a layout holds, in the units of the world.

    Attributes:
        present: (3,) whether there is a thing in the slot.
        course: (3, 16, 4) x, y, radius in pixels, and angle.
        paint: (3, 3) color in [-1, 1].
        shape: (3,) place in `SHAPES`.
    """

    present: NDArray[np.bool_]
    course: Floats
    paint: Floats
    shape: NDArray[np.int64]


def read_layout(layout: Floats) -> Things:
    """What is to be seen; looks are taken as those of the mean over frames."""
    rows = layout[0, ..., 0].transpose(2, 0, 1)  # (3, K, 16)
    x, y = (rows[:, channel] * PLACE_UNIT + MIDDLE for channel in (X, Y))
    radius = USUAL_RADIUS * np.exp(rows[:, SIZE] / 2)
    angle = np.arctan2(rows[:, SIN], rows[:, COS])
    return Things(
        present=rows[:, PRESENT].mean(-1) > 0,
        course=np.stack([x, y, radius, angle], axis=-1),
        paint=rows[:, PAINT].mean(-1).clip(-1, 1),
        shape=rows[:, KIND].mean(-1).argmax(-1),
    )


def apart(layout: Floats) -> float:
    """Pixels between the outlines of the two things that come nearest; infinite without two."""
    things = read_layout(layout)
    place, radius = things.course[..., :2], things.course[..., 2]
    gaps = [np.inf]
    for one, other in combinations(range(len(radius)), 2):
        if things.present[one] and things.present[other]:
            far = np.linalg.norm(place[one] - place[other], axis=-1)
            gaps.append(float((far - radius[one] - radius[other]).min()))
    return min(gaps)


def sketch(layout: Floats) -> Floats:
    """(1, S, 16, 16, 16) discs that say what is to be there; see ``video.engines.layouts``."""
    things = read_layout(layout)
    x, y, size, angle = np.moveaxis(things.course, -1, 0)  # (3, 16) each
    kind = np.eye(len(SHAPES), dtype=np.float32)[things.shape]
    turn = angle[..., None] * ORDERS  # (3, 16, 4)
    shown = kind[:, None, TURNING]
    steady = np.concatenate([np.ones_like(kind[:, :1]), things.paint, kind], axis=-1)
    looks = np.concatenate(
        [
            np.repeat(steady[:, None], NUM_FRAMES, axis=1),
            shown * np.cos(turn),
            shown * np.sin(turn),
            2 * np.log(size / USUAL_RADIUS)[..., None],
        ],
        axis=-1,
    )  # (3, 16, S')
    x, y, size = (values[..., None, None] for values in (x, y, size))
    grid = np.arange(0, FRAME_SIZE, GRAIN, dtype=np.float32) + GRAIN / 2
    dx, dy = (grid - x) / size, (grid[:, None] - y) / size
    inside = ((REACH - np.hypot(dx, dy)) * size / GRAIN + 0.5).clip(0, 1)
    inside = inside * things.present[:, None, None, None]  # (3, 16, 16, 16)
    seen = np.einsum("sdk,sdhw->kdhw", looks, inside)
    within = [(inside * dx).sum(0), (inside * dy).sum(0), np.ones_like(inside[0])]
    return np.concatenate([seen, np.stack(within)])[None].astype(np.float32)
