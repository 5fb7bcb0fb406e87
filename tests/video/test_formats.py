"""A clip comes back from an mp4, a WebM, a GIF and an animated WebP, or there is no file."""

from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from core.refusal import Refusal
from video.files import animations, clip, formats
from video.files.clip import Clip
from video.files.formats import look_at, read_clip, stored_size, write_clip
from video.operations.text_to_video import TextToVideo
from video.request import VideoRequest

ENDINGS = tuple(formats.WRITERS)
MAGIC = {".mp4": (4, b"ftyp"), ".webm": (0, b"\x1a\x45\xdf\xa3"), ".gif": (0, b"GIF89a")}
MAGIC[".webp"] = (8, b"WEBP")


def moving_square(num_frames=8, height=33, width=49):
    frames = np.full((num_frames, height, width, 3), (30, 60, 90), dtype=np.uint8)
    for index, frame in enumerate(frames):
        frame[8:20, 2 * index : 2 * index + 12] = (220, 40, 50)
    return frames


def still(num_frames=8):
    return np.full((num_frames, 32, 40, 3), (10, 200, 30), dtype=np.uint8)


def test_what_the_operation_takes_is_what_can_be_written():
    assert TextToVideo.endings == (*ENDINGS, *formats.STILLS)


@pytest.mark.parametrize("fps", [0.1, 7.3, 8, 23.976, 29.97, 50])
@pytest.mark.parametrize("frames", [moving_square(), moving_square(1), still(), still(1)])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_clip_comes_back_with_its_rate_and_tag(tmp_path, ending, frames, fps):
    written = Clip(frames, fps)
    path = write_clip(written, tmp_path / f"a{ending}", metadata={"prompt": "été 🔴"})
    start, magic = MAGIC[ending]
    assert path.read_bytes()[start:].startswith(magic)
    seen, found = look_at(path), read_clip(path)
    assert seen.count == len(frames)
    assert seen.tag["metadata"] == {"prompt": "été 🔴"}
    assert seen.stored == stored_size(path.name, *frames.shape[1:3])
    assert found.frames.shape == frames.shape
    assert found.rate == written.rate
    assert np.abs(found.frames.astype(int) - frames).mean() < 3


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_clip_is_the_same_bytes(tmp_path, ending):
    first, second = (
        write_clip(Clip(moving_square(), 8), tmp_path / f"{name}{ending}").read_bytes()
        for name in "ab"
    )
    assert first == second


@pytest.mark.parametrize("ending", [".avi", ".mov", ".bmp", ""])
def test_another_ending_is_refused_with_those_that_are_taken(tmp_path, ending):
    with pytest.raises(Refusal, match=r"as \.mp4, \.webm, \.gif or \.webp; give a name"):
        write_clip(Clip(still(), 8), tmp_path / f"a{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "fps"), [("a.gif", 60), ("a.webp", 120), ("a.gif", 0.1)])
def test_what_a_file_cannot_show_is_refused_before_work(tmp_path, name, fps):
    request = VideoRequest(prompt="a red circle", fps=fps, num_frames=100)
    with pytest.raises(Refusal, match=r"give a name ending in \.mp4 or \.webm"):
        TextToVideo().outputs(tmp_path / name, request)
    assert TextToVideo().outputs(tmp_path / "a.mp4", request)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_encoder_that_lies_leaves_no_file(tmp_path, monkeypatch, ending):
    encode, save = clip._encode, Image.Image.save

    def lying_encode(frames, *rest):
        encode(255 - frames, *rest)

    def lying_save(image, path, **options):
        options["append_images"] = options["append_images"][1:]
        save(image, path, **options)

    monkeypatch.setattr(clip, "_encode", lying_encode)
    monkeypatch.setattr(Image.Image, "save", lying_save)
    with pytest.raises(RuntimeError, match="cannot be trusted"):
        write_clip(Clip(moving_square(), 8), tmp_path / f"a{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".gif", ".webp", ".webm"])
def test_a_damaged_file_is_read_or_refused(tmp_path, ending):
    path = write_clip(Clip(moving_square(), 8), tmp_path / f"a{ending}")
    whole = path.read_bytes()
    dice = np.random.default_rng(0)
    for _ in range(60):
        torn = bytearray(whole)
        for place in dice.integers(0, len(torn), 4):
            torn[place] = dice.integers(256)
        path.write_bytes(torn[: dice.integers(1, len(torn) + 1)])
        with suppress(Refusal):
            assert read_clip(path).frames.dtype == np.uint8


def test_pictures_from_elsewhere_are_read_at_an_even_rate(tmp_path):
    images = [Image.fromarray(frame) for frame in moving_square(6)]
    path = tmp_path / "other.gif"
    times = [100, 100, 400, 100, 100, 100]
    images[0].save(path, save_all=True, append_images=images[1:], duration=times)
    found = read_clip(path)
    assert (len(found.frames), round(found.fps, 3)) == (9, 10)
    assert animations.look_at_animation(path).tag == {}
