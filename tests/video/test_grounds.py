"""What keeps a clip that goes on as it was: its background's color, and how large things grow."""

import numpy as np
import pytest

from video.engines.canvas import Canvas
from video.engines.grounds import held_ground
from video.engines.things import RADIUS, Thing

NAVY, RED = (14, 18, 76), (230, 40, 40)


def scenes(count, ground=NAVY):
    frames = np.full((count, 64, 64, 3), ground, np.uint8)
    frames[:, 20:40, 20:40] = RED
    frames[:, 20:40, 19] = (np.array(RED) + ground) // 2  # a soft edge
    return frames


def canvas_of(frames, given):
    told = np.zeros(frames.shape[:3], bool)
    told[:given] = True
    return Canvas(frames, told)


def test_a_background_that_wandered_is_moved_back_and_things_stay():
    true = scenes(12)
    canvas = canvas_of(true, 4)
    ground = np.ones((64, 64), bool)
    ground[20:40, 19:40] = False
    drawn = true.copy()
    drawn[:, ground] += (np.arange(12)[:, None, None] * np.array([1, 2, 1])).astype(np.uint8)
    held = held_ground(drawn, canvas)
    assert np.abs(drawn[11, ground].astype(int) - NAVY).max() > 20
    assert np.abs(held[4:, ground].astype(int) - NAVY).max() <= 1
    assert np.array_equal(held[:, 20:40, 19:40], drawn[:, 20:40, 19:40])
    assert np.array_equal(held[:4], drawn[:4])


@pytest.mark.parametrize("ground", [(98, 98, 98), (0, 0, 0)])
def test_a_background_that_is_another_stays(ground):
    frames = scenes(8, ground=(200, 200, 0))
    frames[:4] = scenes(4, ground)
    assert np.array_equal(held_ground(frames, canvas_of(frames, 4)), frames)


def test_what_has_no_plain_background_is_left_as_it_is():
    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    assert np.array_equal(held_ground(frames, canvas_of(frames, 4)), frames)
    none = Canvas(scenes(4), np.zeros((4, 64, 64), bool))
    assert np.array_equal(held_ground(none.frames, none), none.frames)


def thing(radii):
    rows = np.array([[32.0, 32.0, radius, 0.0] for radius in radii])
    return Thing("cross", "magenta", (255.0, 0.0, 255.0), [*range(len(radii))], rows)


def test_things_grow_and_shrink_as_far_as_they_do_in_16_frames():
    """A cross that shrank from 9 to 4.5 pixels grows to 9 again, not to what runs into others."""
    shrinking = thing(np.linspace(9, 4.5, 16)).course(96)[:, RADIUS]
    assert shrinking[16:].max() == pytest.approx(9, abs=0.31)
    assert shrinking.min() >= 4.0
    half = thing(np.linspace(6, 8, 8)).course(96)[:, RADIUS]
    assert half.max() == pytest.approx(6 + 15 * 2 / 7, abs=0.2)
    assert half.min() == pytest.approx(6, abs=0.3)
