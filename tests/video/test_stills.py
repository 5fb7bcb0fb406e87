"""One frame is written as PNG or JPEG and comes back, or there is no file."""

import numpy as np
import pytest
from PIL import Image

from core.refusal import Refusal
from video.files.clip import Clip
from video.files.formats import look_at, read_clip, write_clip
from video.files.stills import STILLS
from video.operations.text_to_video import TextToVideo
from video.request import VideoRequest

OPERATION = TextToVideo()


def square(height=33, width=49):
    frame = np.full((1, height, width, 3), (30, 60, 90), dtype=np.uint8)
    frame[0, 8:20, 5:17] = (220, 40, 50)
    return frame


@pytest.mark.parametrize("fps", [0.1, 8, 29.97, 120])
@pytest.mark.parametrize("ending", [*STILLS, ".PNG"])
def test_a_frame_comes_back_with_its_rate_and_tag(tmp_path, ending, fps):
    clip = Clip(square(), fps)
    told = {"prompt": "été 🔴", "seed": 2**63 - 1}
    path, again = (write_clip(clip, tmp_path / f"{n}{ending}", metadata=told) for n in "ab")
    assert path.read_bytes() == again.read_bytes()
    seen, found = look_at(path, stills=True), read_clip(path)
    assert seen.tag["metadata"] == told
    assert (seen.count, seen.stored, found.rate) == (1, (33, 49), clip.rate)
    off = np.abs(found.frames.astype(int) - clip.frames)
    assert off.max() == 0 if ending.lower() == ".png" else off.mean() < 1


def test_what_is_no_single_frame_is_refused(tmp_path):
    several = np.repeat(square(), 2, 0)
    with pytest.raises(Refusal, match=r"2 frames in a\.png: a \.png file holds one frame"):
        write_clip(Clip(several, 8), tmp_path / "a.png")
    with pytest.raises(Refusal, match=r"a\.jpg: prompt and settings have 7.,... characters"):
        write_clip(Clip(square(), 8), tmp_path / "a.jpg", metadata={"prompt": "x" * 70_000})
    assert write_clip(Clip(square(), 8), tmp_path / "a.png", metadata={"prompt": "x" * 70_000})


@pytest.mark.parametrize("ending", STILLS)
def test_a_damaged_picture_is_refused(tmp_path, ending):
    path = write_clip(Clip(square(), 8), tmp_path / f"a{ending}")
    whole = path.read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(Refusal, match="cannot be decoded"):
            read_clip(path)


def test_a_photo_from_elsewhere_is_seen_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(square()[0]).save(tmp_path / "photo.jpg", exif=exif)
    found = read_clip(tmp_path / "photo.jpg")
    assert (found.frames.shape, found.fps) == ((1, 49, 33, 3), 1)


@pytest.mark.parametrize(
    ("asked", "frames"),
    [({}, 16), ({"num_frames": 1}, 16), ({"num_frames": 24}, 24), ({"num_frames": 0}, 16)],
)
def test_our_own_model_draws_a_clip_of_which_one_frame_is_shown(asked, frames):
    request = VideoRequest(prompt="a red circle", **asked)
    found = OPERATION.for_file(request, "a.png") if asked != {"num_frames": 1} else None
    found = found or VideoRequest(prompt="a red circle", picture=True, **asked)
    assert (found.picture, found.num_frames) == (True, frames)
    assert OPERATION.for_file(request, "a.webp") is request


def test_an_engine_draws_one_frame():
    asked = VideoRequest(prompt="a red circle", engine="./wan")
    assert OPERATION.for_file(asked, "a.jpg").num_frames == 1
    row = {"prompt": "a red circle", "engine": "./wan", "picture": "true", "num_frames": "1"}
    assert VideoRequest.model_validate(row).num_frames == 1
    with pytest.raises(ValueError, match="num_frames=81 with picture: a picture by"):
        OPERATION.for_file(asked.model_copy(update={"num_frames": 81}), "a.jpg")


def test_a_picture_and_a_clip_have_names_of_their_own(tmp_path):
    clip = VideoRequest(prompt="a red circle")
    still = VideoRequest(prompt="a red circle", picture=True)
    for name in ("a.png", "a.jpg", "a.jpeg", "a.webp"):
        assert OPERATION.outputs(tmp_path / name, still)
    with pytest.raises(Refusal, match=r"a picture is written as \.png, \.jpg, \.jpeg or \.webp"):
        OPERATION.outputs(tmp_path / "a.mp4", still)
    with pytest.raises(Refusal, match="holds one frame, and a clip is asked for"):
        OPERATION.outputs(tmp_path / "a.png", clip)
    assert "picture" not in clip.model_dump()
