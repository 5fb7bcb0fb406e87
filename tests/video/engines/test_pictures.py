"""Pictures that a clip begins with or ends on."""

import numpy as np
import pytest
from tiny_engines import save_picture

from core.refusal import Refusal
from video.engines.engine import never
from video.engines.pictures import check_pictures, digests, given
from video.engines.shelf import find_engine
from video.operations.text_to_video import TextToVideo
from video.request import VideoRequest

SIZE = {"num_frames": 9, "height": 16, "width": 16, "steps": 1}


def asked(name, **changes):
    return VideoRequest.model_validate({"prompt": "a cat", "engine": name, **SIZE, **changes})


def test_first_and_last_are_frames_of_the_clip_bit_for_bit(made, tmp_path):
    made("wan_first_last_to_video")
    first = save_picture(tmp_path / "first.png", 16, 16)
    last = save_picture(tmp_path / "last.png", 40, 16, level=200)
    request = asked("wan_first_last_to_video", first=str(first), last=str(last))
    engine = find_engine("wan_first_last_to_video")
    engine.check(request)
    loaded = engine.ready(engine.load("cpu"))
    settled = engine.settled(request)
    clip = loaded.decode(settled, loaded.denoise(settled, None, lambda *_: None, never))
    loaded.close()
    pictures = given(settled)
    assert np.array_equal(clip.frames[0], pictures["first"].pixels)
    assert np.array_equal(clip.frames[-1], pictures["last"].pixels)
    told = clip.facts["given_frames"]
    assert "scaled_from" not in told["first"]
    assert told["last"]["scaled_from"] == "40 x 16"
    assert {field: one["sha256"] for field, one in told.items()} == digests(request)
    operation = TextToVideo()
    assert operation.inputs(request) == {"first": first, "last": last}
    paths = operation.write(request, clip, tmp_path / "clip.mp4", overwrite=False)
    said = operation.verify(request, paths)["given_pixels_after_encoding"]
    seen = operation.decoded(paths["video"])["pixel"].astype(int)
    off = [seen[0] - pictures["first"].pixels, seen[-1] - pictures["last"].pixels]
    assert said["largest_change"] == np.abs(off).max() > 0
    assert said["psnr_db"] == pytest.approx(
        10 * np.log10(255**2 / np.square(off).mean()), abs=0.01
    )


def test_an_engine_that_begins_from_a_picture_wants_one(made, tmp_path):
    made("wan_image_to_video")
    with pytest.raises(Refusal, match=r"first= is empty .*WanImageToVideoPipeline begins"):
        find_engine("wan_image_to_video").check(asked("wan_image_to_video"))


def test_a_network_with_places_for_one_picture_takes_no_last_one(made, tmp_path):
    made("wan_image_to_video")
    picture = str(save_picture(tmp_path / "first.png", 16, 16))
    request = asked("wan_image_to_video", first=picture, last=picture)
    with pytest.raises(Refusal, match="last: the engine wan_image_to_video knows no last"):
        find_engine("wan_image_to_video").check(request)


def test_who_takes_none_says_so(made, tmp_path):
    made("wan_22")
    picture = str(save_picture(tmp_path / "first.png", 16, 16))
    with pytest.raises(Refusal, match="first: the engine wan_22 knows no image"):
        find_engine("wan_22").check(asked("wan_22", first=picture))
    with pytest.raises(Refusal, match="key: the engine wan_22 knows no key"):
        find_engine("wan_22").check(asked("wan_22", key=(f"4={picture}",)))


def test_another_picture_is_another_state(made, tmp_path):
    made("wan_image_to_video")
    path = save_picture(tmp_path / "first.png", 16, 16)
    request = asked("wan_image_to_video", first=str(path))
    engine = find_engine("wan_image_to_video")
    before = engine.key(request)
    save_picture(path, 16, 16, level=9)
    assert engine.key(request) != before


def test_what_is_no_picture_is_refused(tmp_path):
    nothing, junk, cut = (tmp_path / name for name in ("none.png", "junk.png", "cut.png"))
    junk.write_bytes(b"junk")
    whole = save_picture(tmp_path / "whole.png", 64, 64).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "vector.svg").write_text("<svg/>")
    for path, words in (
        (nothing, "no such file"),
        (junk, "cannot be read"),
        (tmp_path / "vector.svg", "cannot be read"),
    ):
        with pytest.raises(Refusal, match=f"first=.*{words}"):
            check_pictures(asked("x", first=str(path)))
    with pytest.raises(Refusal, match=r"first=.*cut.png cannot be read"):
        given(asked("x", first=str(cut)))
