"""Things of a clip that goes on keep the color and sharpness that given frames show."""

from random import Random

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from video.engines.canvas import Canvas
from video.engines.own import to_frames
from video.engines.own_changes import placed
from video.engines.paints import held_things
from video.engines.things import ground_of, things_of
from video.world.rendering import render
from video.world.world import draw_scene

GIVEN = 8


@pytest.fixture(scope="module")
def begun():
    """A scene of one thing whose first half is given, and where the thing is."""
    true = to_frames(render([draw_scene(Random(3), count_shares=(1.0, 0.0, 0.0))])).numpy()
    told = np.zeros(true.shape[:3], bool)
    told[:GIVEN] = True
    canvas = Canvas(true, told)
    things = things_of(Canvas(true, np.ones_like(told)))
    return true, canvas, placed(things, "", canvas)


def worse(true, ground, by=0.85):
    """Paler and softer, as networks paint."""
    soft = gaussian_filter(true.astype(float), (0, 0.7, 0.7, 0))
    return np.rint(ground + by * (soft - ground)).astype(np.uint8)


def spread(frames):
    return frames.astype(float).std((1, 2))


def test_pale_and_soft_things_become_what_they_were(begun):
    true, canvas, things = begun
    drawn = worse(true, ground_of(canvas))
    held = held_things(drawn, canvas, things)
    before, after = (np.abs(spread(each) - spread(true))[GIVEN:] for each in (drawn, held))
    assert before.max() > 5
    assert after.max() < before.max() / 4
    assert np.array_equal(held[:GIVEN], drawn[:GIVEN])


def test_what_is_drawn_otherwise_on_purpose_stays(begun):
    true, canvas, things = begun
    ground = ground_of(canvas)
    other = np.rint(ground + 0.3 * (true - ground)).astype(np.uint8)  # of another color
    assert np.array_equal(held_things(other, canvas, things), other)
    gone = np.broadcast_to(np.rint(ground).astype(np.uint8), true.shape)
    assert np.array_equal(held_things(gone, canvas, things), gone)
    assert np.array_equal(held_things(true, canvas, []), true)


def test_without_a_plain_background_nothing_is_held(begun):
    true, canvas, things = begun
    noisy = np.random.default_rng(0).integers(0, 256, true.shape, dtype=np.uint8)
    none = Canvas(noisy, canvas.given)
    drawn = worse(true, ground_of(canvas))
    assert np.array_equal(held_things(drawn, none, things), drawn)
    unseen = Canvas(true, np.zeros_like(canvas.given))
    assert np.array_equal(held_things(drawn, unseen, things), drawn)
