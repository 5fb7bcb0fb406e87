"""Clips with more pixels and with more frames: what stays, what is better, what is refused."""

from fractions import Fraction

import av
import numpy as np
import pytest

from core.records import sha256_file
from core.refusal import Refusal
from flows.jobs.pipeline import make, record_path
from video.files.clip import Clip, read_mp4, write_mp4
from video.files.filters import add_sound, enlarged, interpolated, lifeless, sounds
from video.files.formats import read_clip, write_clip
from video.operations.table import OPERATIONS
from video.request import InterpolateRequest, UpscaleRequest

UPSCALE, INTERPOLATE = OPERATIONS["upscale_video"], OPERATIONS["interpolate_video"]


def moving(count=8, step=8, height=64, width=96):
    """A block that moves over a slope."""
    slope = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
    frames = np.repeat(slope[None, ..., None], count, 0).repeat(3, -1)
    for number, frame in enumerate(frames):
        place = 5 + round(step * number)
        frame[20:40, place : place + 20] = (200, 30, 60)
    return frames


@pytest.fixture
def clip(tmp_path):
    return write_mp4(Clip(moving(), 8.0), tmp_path / "clip.mp4")


def with_sound(path, target, seconds=1.0):
    """The file with a tone beside it."""
    with av.open(str(path)) as seen, av.open(str(target), "w") as out:
        place = out.add_stream_from_template(seen.streams.video[0])
        heard = out.add_stream("aac", rate=44100)
        heard.layout = "mono"
        for packet in seen.demux(seen.streams.video[0]):
            if packet.dts is not None:
                packet.stream = place
                out.mux(packet)
        wave = np.sin(np.arange(int(44100 * seconds)) / 20).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44100, 0, Fraction(1, 44100)
        out.mux([*heard.encode(frame), *heard.encode(None)])
    return target


def made(operation, request, target):
    operation.check(request)
    paths = make(operation, request, target, operation.source(request).load("cpu"))
    return paths["video"]


def test_given_frames_stay_and_those_between_are_nearer_than_a_blend():
    frames = moving()
    found = interpolated(frames, 2)
    assert found.shape == (16, *frames.shape[1:])
    assert np.array_equal(found[::2], frames)
    assert np.array_equal(found[-1], frames[-1])
    true = moving(count=16, step=4)[1:-1:2]
    blend = (frames[:-1].astype(float) + frames[1:]) / 2
    error = ((found[1:-1:2] - true.astype(float)) ** 2).mean()
    assert error < 0.9 * ((blend - true) ** 2).mean()


@pytest.mark.parametrize(("count", "times"), [(1, 2), (2, 8), (5, 3)])
def test_any_number_of_frames_becomes_so_many_times_as_many(count, times):
    frames = moving(count)
    found = interpolated(frames, times)
    assert len(found) == count * times
    assert np.array_equal(found[::times], frames)


def test_a_larger_clip_is_that_of_lanczos():
    from PIL import Image

    frames = moving(3)
    for found, frame in zip(enlarged(frames, 128, 192), frames, strict=True):
        wanted = np.asarray(Image.fromarray(frame).resize((192, 128), Image.Resampling.LANCZOS))
        assert np.abs(found.astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.gif"])
def test_a_clip_is_enlarged_verified_and_recorded(clip, tmp_path, name):
    import json

    path = made(UPSCALE, UpscaleRequest(clip=str(clip)), tmp_path / name)
    from video.files.formats import look_at

    assert (look_at(path).count, *look_at(path).stored) == (8, 128, 192)
    said = json.loads(record_path(path).read_text())
    assert said["model"]["name"].startswith("lanczos of PyAV ")
    assert said["inputs"]["clip"]["sha256"] == sha256_file(clip)
    assert said["extra"]["sound"] == "none"
    assert "seed" not in said["methods"]


def test_sound_is_carried_along_as_it_was(clip, tmp_path):
    loud = with_sound(clip, tmp_path / "loud.mp4")
    assert sounds(loud)
    request = InterpolateRequest(clip=str(loud), times=2)
    path = made(INTERPOLATE, request, tmp_path / "out.mp4")
    assert sounds(path)

    def packets(file):
        with av.open(str(file)) as opened:
            return [bytes(p) for p in opened.demux(opened.streams.audio[0]) if p.size]

    assert packets(path) == packets(loud)
    found = read_mp4(path)
    assert (len(found.frames), found.fps) == (16, 16.0)
    again = made(INTERPOLATE, request, tmp_path / "again.mp4")
    assert again.read_bytes() == path.read_bytes()


def test_a_kind_of_file_that_holds_no_such_sound_goes_without(clip, tmp_path):
    loud = with_sound(clip, tmp_path / "loud.mp4")
    path = made(UPSCALE, UpscaleRequest(clip=str(loud)), tmp_path / "out.webm")
    assert not sounds(path)
    before = clip.read_bytes()
    add_sound(clip, clip)  # which has none
    assert clip.read_bytes() == before


def test_where_a_clip_is_black_or_stands_still_is_told():
    rng = np.random.default_rng(0)
    frames = np.zeros((40, 32, 32, 3), np.uint8)
    frames[10:20] = rng.integers(0, 256, (10, 32, 32, 3))
    frames[20:] = rng.integers(0, 256, (1, 32, 32, 3))
    assert lifeless(frames, 8.0) == {
        "black_s": [[0.0, 1.25]],
        "frozen_s": [[0.0, 1.25], [2.5, 5.0]],
    }
    assert lifeless(frames[:3], 8.0) == {"black_s": [[0, 0.375]], "frozen_s": [[0, 0.375]]}
    assert lifeless(moving(), 8.0) == {}
    assert lifeless(frames[12:13], 8.0) == {}


def test_what_is_too_large_or_no_clip_is_refused(clip, tmp_path):
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    for name, words in (("junk.mp4", "cannot be decoded"), ("none.mp4", "no such file")):
        with pytest.raises(Refusal, match=words):
            UPSCALE.check(UpscaleRequest(clip=str(tmp_path / name)))
    fast = write_mp4(Clip(moving(2), 100.0), tmp_path / "fast.mp4")
    with pytest.raises(Refusal, match=r"times=8: .*800 frames per second"):
        INTERPOLATE.check(InterpolateRequest(clip=str(fast), times=8))
    with pytest.raises(ValueError, match="times"):
        UpscaleRequest(clip=str(clip), times=9)


@pytest.mark.parametrize("ending", [".webm", ".gif", ".webp"])
def test_every_kind_that_is_written_is_taken_again(tmp_path, ending):
    clip = write_clip(Clip(moving(), 8.0), tmp_path / f"clip{ending}")
    request = UpscaleRequest(clip=str(clip), times=2)
    UPSCALE.check(request)
    made = make(UPSCALE, request, tmp_path / f"large{ending}", UPSCALE.source(request).load(None))
    assert read_clip(made["video"]).frames.shape == (8, 128, 192, 3)


def test_a_rate_that_a_name_cannot_hold_is_refused_before_work(clip, tmp_path):
    request = InterpolateRequest(clip=str(clip), times=8)
    with pytest.raises(Refusal, match=r"fps=64 in fast\.gif: browsers show at most 50"):
        INTERPOLATE.outputs(tmp_path / "fast.gif", request)
