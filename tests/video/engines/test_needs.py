"""What a plan counts for a clip's file, against files."""

import os
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from video.engines.folder_needs import FILE_BYTES_OF_PIXEL
from video.engines.shelf import find_engine
from video.files.clip import Clip, write_mp4
from video.request import VideoRequest

DATA = Path(os.environ.get("LAMINA_DATA", Path(__file__).parents[4] / "shared" / "data"))
FILMED = DATA / "clips"
FRAMES = 17


def bytes_of_pixel(frames, folder):
    path = write_mp4(Clip(frames, 24.0), folder / "clip.mp4", overwrite=True)
    return path.stat().st_size / np.prod(frames.shape[:3])


def drifting(grain):
    """Soft shapes of all colors that move two pixels a frame, as a camera with grain sees them."""
    random = np.random.default_rng(0)
    waves = random.uniform(-0.15, 0.15, (12, 2)), random.uniform(0, 6, (12, 3))
    across, down = np.meshgrid(np.arange(192 + 2 * FRAMES), np.arange(128))
    turns = across[..., None] * waves[0][:, 0] + down[..., None] * waves[0][:, 1]
    wide = 128 + 25 * np.sin(turns[..., None] + waves[1]).sum(2)
    frames = np.stack([wide[:, 2 * n : 2 * n + 192] for n in range(FRAMES)])
    frames = frames + random.normal(0, grain, frames.shape)
    return np.clip(frames, 0, 255).astype(np.uint8)


def test_clips_are_smaller_than_planned_and_noise_takes_about_twice_that(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 128, 192, 3), dtype=np.uint8)
    assert FILE_BYTES_OF_PIXEL < bytes_of_pixel(noise, tmp_path) < 2.5 * FILE_BYTES_OF_PIXEL
    for grain in (0, 3, 8):  # none, usual, strong
        assert bytes_of_pixel(drifting(grain), tmp_path) < FILE_BYTES_OF_PIXEL


@pytest.mark.slow
@pytest.mark.skipif(not FILMED.is_dir(), reason="no filmed clips here")
def test_filmed_clips_are_smaller_than_planned(tmp_path):
    for path in FILMED.iterdir():
        with av.open(path) as file:
            some = islice(file.decode(video=0), FRAMES)
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in some])
        assert bytes_of_pixel(frames[:, :480, :640], tmp_path) < FILE_BYTES_OF_PIXEL / 4


def test_ten_thousand_usual_clips_of_ltx_are_planned_with_the_disk_of_clips(made):
    made("ltx")
    engine = find_engine("ltx")
    usual = engine.settled(VideoRequest.model_validate({"prompt": "a cat", "engine": "ltx"}))
    assert (usual.num_frames, usual.height, usual.width) == (161, 512, 704)
    assert 1e4 * engine.needs(usual).results_gb == pytest.approx(232, rel=0.01)
