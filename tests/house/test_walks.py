"""How far a request walks, and how often a result is read: neither grows unnoticed."""

import decord
import numpy as np
import pytest
import walks

from video.files.clip import Clip
from video.files.footage import Footage
from video.operations.text_to_video import TextToVideo
from video.request import VideoRequest

ASKED = {"prompt": "a red circle moves left", "num_frames": 5, "height": 33, "width": 48}


@pytest.fixture
def written(tmp_path):
    def write(**changes):
        request = VideoRequest(**ASKED | changes)
        shape = (request.num_frames, request.height, request.width, 3)
        clip = Clip(np.full(shape, 96, np.uint8), request.fps)
        paths = TextToVideo().write(request, clip, tmp_path / "clip.mp4", overwrite=True)
        return request, paths

    return write


def test_an_mp4_is_decoded_once_for_verification(written, monkeypatch):
    decoded, reader, frames = [], decord.VideoReader, Footage.frames

    def counted_reader(*arguments, **options):
        decoded.append("decord")
        return reader(*arguments, **options)

    def counted_frames(self):
        decoded.append("PyAV")
        return frames(self)

    monkeypatch.setattr(decord, "VideoReader", counted_reader)
    monkeypatch.setattr(Footage, "frames", counted_frames)
    request, paths = written()
    facts = TextToVideo().verify(request, paths)
    assert decoded == ["decord"]
    assert facts.pop("watermark").startswith("none: too small")
    assert facts == {"frames": 5, "size": "48 x 33", "fps": request.fps, "seconds": 0.625}


@pytest.mark.parametrize(
    "other",
    [{"prompt": "a blue circle moves left"}, {"num_frames": 6}, {"height": 34}, {"width": 47}],
)
def test_a_clip_of_another_request_is_no_result(written, other):
    _, paths = written(**other)
    with pytest.raises(RuntimeError, match=r"should be \(5, 34, 48, \[33, 48\], 'a red circle"):
        TextToVideo().verify(VideoRequest(**ASKED), paths)


def test_the_floors_of_flows_do_not_grow():
    assert walks.floors("flows") <= 8
