"""Things that would meet turn back, as they do at a frame's edge.

In the procedural world things never come near each other, and a network that learned from it
paints such as do as one. All turn at once, each along the way it came: where they were apart
before, they stay so.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from video.engines.own_canvas import Placed
from video.engines.things import RADIUS
from video.world.scenes import REACH
from video.world.world import GAP

SLACK = 0.5  # pixels by which places are read wrongly


def kept_apart(things: Sequence[Placed], first: int, last: int) -> list[Placed]:
    """The things with courses on which no two meet.

    Args:
        things: Where each would be, in every frame.
        first: The first frame of which something is given.
        last: The last; between them courses are what they are.
    """
    if len(things) < 2:
        return list(things)
    count = len(things[0][2])
    met = _meetings(things, first, last)
    low = int(np.flatnonzero(met[:first])[-1]) + 1 if met[:first].any() else 0
    after = np.flatnonzero(met[last + 1 :])
    high = last + int(after[0]) if len(after) else count - 1
    times = _turning(np.arange(count), low, high)
    return [(shape, paint, course[times]) for shape, paint, course in things]


def _meetings(things: Sequence[Placed], first: int, last: int) -> NDArray[np.bool_]:
    """The frames in which two things are nearer than the world has them, and than they were."""
    met = np.zeros(len(things[0][2]), bool)
    for (one, _, here), (other, _, there) in combinations(things, 2):
        away = np.hypot(*(here[:, :2] - there[:, :2]).T)
        room = REACH[one] * here[:, RADIUS] + REACH[other] * there[:, RADIUS] + GAP - SLACK
        beyond = away - room
        met |= beyond < min(0.0, float(beyond[first : last + 1].min()))
    return met


def _turning(frames: NDArray[np.int64], low: int, high: int) -> NDArray[np.int64]:
    """Times that turn back at two bounds."""
    span = max(high - low, 1)
    return low + span - np.abs((frames - low) % (2 * span) - span)
