"""Things that go on turn back before they meet."""

import numpy as np
import pytest

from video.engines.meetings import kept_apart
from video.world.scenes import REACH
from video.world.world import GAP

WHITE, RED = (245.0, 245.0, 245.0), (230.0, 35.0, 40.0)
LEAST = (REACH["circle"] + REACH["star"]) * 5 + GAP - 1.5


def line(start, pace, count=40):
    rows = np.zeros((count, 4))
    rows[:, 0], rows[:, 1], rows[:, 2] = start + pace * np.arange(count), 32, 5
    return rows


def apart(things):
    (_, _, here), (_, _, there) = things
    return np.hypot(*(here[:, :2] - there[:, :2]).T)


@pytest.mark.parametrize(("first", "last", "way"), [(0, 15, 1), (24, 39, -1)])
def test_things_that_would_meet_turn_back_the_way_they_came(first, last, way):
    """They meet after the given frames, or before them."""
    things = [
        ("circle", WHITE, line(8, 0.6)[::way]),
        ("star", RED, line(54, -0.6)[::way]),
    ]
    assert apart(things).min() < 3
    held = kept_apart(things, first, last)
    assert apart(held).min() >= LEAST
    for (_, _, before), (_, _, after) in zip(things, held, strict=True):
        assert np.array_equal(before[first : last + 1], after[first : last + 1])
        assert np.abs(np.diff(after[:, 0])).max() <= 0.6 + 1e-9


def test_things_that_do_not_meet_go_on_as_they_are():
    things = [("circle", WHITE, line(10, 0.5)), ("star", RED, line(35, 0.5))]
    assert all(a[2] is not b[2] and np.array_equal(a[2], b[2]) for a, b in
               zip(things, kept_apart(things, 0, 15), strict=True))  # fmt: skip
    assert kept_apart(things[:1], 0, 15) == things[:1]


def test_things_that_are_near_from_the_start_may_stay_so():
    """As those of a filmed clip may be; they turn back only where they would come nearer."""
    things = [("circle", WHITE, line(20, 0.0)), ("star", RED, line(26, 0.0))]
    held = kept_apart(things, 0, 15)
    assert np.array_equal(held[1][2], things[1][2])
