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
from video.files.clip import Clip, read_mp4, write_mp4
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


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_a_thing_of_two_colors_that_is_drawn_right_stays_bit_equal(width):
    one, other, size, frames = (200.0, 40.0, 40.0), (240.0, 80.0, 60.0), 64, 16
    course = np.stack([[20.0 + t, 30.0, 9.0, 0.0] for t in range(frames)])
    y, x = np.mgrid[:size, :size] + 0.5
    true = np.empty((frames, size, size, 3), np.uint8)
    for t, (left, top, radius, _) in enumerate(course):
        share = np.clip(0.5 + radius - np.hypot(x - left, y - top), 0, 1)[..., None]
        inner = (x - left)[..., None] > radius * (1 - width)
        true[t] = np.rint(220 * (1 - share) + share * np.where(inner, one, other))
    told = np.zeros(true.shape[:3], bool)
    told[:GIVEN] = True
    things = [("circle", one, course)]
    assert np.array_equal(held_things(true, Canvas(true, told), things), true)
    plain = np.where(
        (true < 220).any(-1, keepdims=True), np.array([200, 40, 40], np.uint8), np.uint8(220)
    )
    pale = worse(plain, np.full(3, 220.0))
    assert not np.array_equal(held_things(pale, Canvas(plain, told), things), pale)


def test_a_plain_thing_is_known_after_encoding(begun, tmp_path):
    true, canvas, things = begun
    frames = read_mp4(write_mp4(Clip(true, 8.0), tmp_path / "a.mp4")).frames
    drawn = worse(true, ground_of(canvas))
    held = held_things(drawn, Canvas(frames, canvas.given), things)
    before, after = (np.abs(spread(each) - spread(true))[GIVEN:] for each in (drawn, held))
    assert after.max() < before.max() / 2
