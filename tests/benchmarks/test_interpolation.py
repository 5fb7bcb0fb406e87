"""The measurement of frames between others: intervals, short clips, and where nothing moves."""

import numpy as np
import pytest

from core.refusal import Refusal
from tests.benchmarks import interpolation
from video.files.clip import Clip, write_mp4


def test_an_interval_is_of_pairs_and_holds_the_mean():
    rows = [{"ffmpeg": 30.0 + n + 0.1 * (n % 3), "blend": 29.0 + n} for n in range(12)]
    found = interpolation.paired([*rows, {}], "ffmpeg", "blend")
    assert found["clips"] == 12
    assert found["mean"] == pytest.approx(1.1)
    assert 1.0 <= found["low"] < 1.1 < found["high"] <= 1.2  # clips differ by 11 dB, pairs by 0.2
    assert interpolation.paired(rows, "DIS", "ffmpeg") == {"clips": 0}


def test_a_clip_that_is_too_short_is_refused_before_work(tmp_path):
    short = write_mp4(Clip(np.zeros((18, 32, 32, 3), np.uint8), 8.0), tmp_path / "a.mp4")
    with pytest.raises(Refusal, match=r"has 18 frames: .*22 in all; name a longer clip"):
        interpolation.filmed(short)


def test_nothing_that_moves_is_no_number():
    assert interpolation.measured(np.full((7, 32, 32, 3), 90, np.uint8), {}) == {}
