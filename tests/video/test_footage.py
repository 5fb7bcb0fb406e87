"""Clips from elsewhere: what is shown is read, at its times and sizes, or refused by name."""

import json
import logging
import struct
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.refusal import Refusal
from video.engines.text import check_length
from video.files import clip as clips
from video.files import footage
from video.files.captioned_clips import load_clips
from video.files.clip import Clip, read_metadata, read_mp4, write_mp4

GOOD = "a red circle moves left"
CORNERS = ((220, 20, 20), (20, 200, 20), (20, 20, 220), (235, 235, 235))


def picture(height=64, width=64):
    """Four quarters: red, green, blue, white."""
    frame = np.zeros((height, width, 3), np.uint8)
    for color, (down, right) in zip(CORNERS, np.ndindex(2, 2), strict=True):
        top, left = down * height // 2, right * width // 2
        frame[top : top + height // 2, left : left + width // 2] = color
    return frame


def gray(count, side=32):
    """Frames that tell their number by their gray."""
    return [np.full((side, side, 3), 10 * index + 20, np.uint8) for index in range(count)]


def encode(path, frames, *, fps=8, pixel=None, times=None, comment=None, gop=12):
    """Write frames, each at its time in 600ths of a second if these are given."""
    with av.open(str(path), "w", format="mp4") as file:
        options = {"crf": "6", "preset": "ultrafast", "g": str(gop)}
        stream = file.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 600)
        if comment is not None:
            file.metadata["comment"] = comment
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[index]), Fraction(1, 600)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def shows_only(path, skip, keep, fps=8):
    """Let the file's edit list skip ``skip`` frames and show ``keep``."""
    data = path.read_bytes()
    scale = struct.unpack(">I", data[(at := data.index(b"mdhd") + 16) : at + 4])[0]
    at = data.index(b"elst") + 12
    _, media = struct.unpack(">Ii", data[at : at + 8])
    entry = struct.pack(">Ii", 1000 * keep // fps, media + skip * scale // fps)
    path.write_bytes(data[:at] + entry + data[at + 8 :])


def turned(path, degrees):
    """Let the file's header turn the picture clockwise."""
    data, one = path.read_bytes(), 0x10000
    a, b, c, d = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    at = data.index(b"tkhd") + 44
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data[:at] + matrix + data[at + 36 :])


def numbers(clip):
    return [round((int(frame.mean()) - 20) / 10) for frame in clip.frames]


def corners(frame):
    height, width, _ = frame.shape
    places = [(y, x) for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    return [tuple(int(value) for value in frame[place]) for place in places]


def near(found, wanted):
    return np.abs(np.array(found) - np.array(wanted)).max() < 8


@pytest.mark.parametrize(("skip", "keep"), [(8, 12), (0, 12), (5, 10), (19, 1)])
@pytest.mark.parametrize("gop", [1, 4, 12])
def test_an_edit_list_is_followed(tmp_path, skip, keep, gop):
    path = encode(tmp_path / "a.mp4", gray(20), gop=gop)
    shows_only(path, skip, keep)
    found = read_mp4(path)
    assert numbers(found) == list(range(skip, skip + keep))
    assert found.fps == pytest.approx(8)


def test_uneven_times_are_brought_to_an_even_rate(tmp_path):
    times = [24 * t if t < 10 else 240 + 120 * (t - 10) for t in range(20)]
    found = read_mp4(encode(tmp_path / "a.mp4", gray(20), fps=25, times=times))
    assert found.fps == pytest.approx(25)
    assert numbers(found) == [*range(10), *np.repeat(range(10, 20), 5)]


def test_times_that_only_tremble_are_even(tmp_path):
    times = [24 * t + (-1) ** t * 4 + 4 for t in range(20)]
    found = read_mp4(encode(tmp_path / "a.mp4", gray(20), fps=25, times=times))
    assert numbers(found) == list(range(20))
    assert found.fps == pytest.approx(25, rel=0.03)


def test_a_gap_in_time_is_refused(tmp_path):
    times = [60 * t if t < 10 else 60 * t + 36_000 for t in range(20)]
    encode(tmp_path / "a.mp4", gray(20), fps=10, times=times)
    with pytest.raises(Refusal, match=r"^a\.mp4 stands still for 60\.1 s after frame 10.*; cut"):
        read_mp4(tmp_path / "a.mp4")


@pytest.mark.parametrize("fps", [300, Fraction(1, 20)])
def test_a_rate_that_no_clip_has_is_refused_by_name(tmp_path, fps):
    encode(tmp_path / "a.mp4", gray(20), fps=fps)
    with pytest.raises(Refusal, match=r"^a\.mp4 has .* frames per second: .*; write"):
        read_mp4(tmp_path / "a.mp4")


@pytest.mark.parametrize(("pixel", "height", "width"), [(2, 64, 32), (Fraction(1, 2), 32, 64)])
def test_oblong_pixels_become_square(tmp_path, pixel, height, width):
    encode(tmp_path / "a.mp4", [picture(height, width)] * 3, pixel=Fraction(pixel))
    found = read_mp4(tmp_path / "a.mp4")
    assert found.frames.shape == (3, 64, 64, 3)
    assert near(corners(found.frames[1]), CORNERS)


@pytest.mark.parametrize(("degrees", "order"), [(90, "2031"), (180, "3210"), (270, "1302")])
def test_a_turned_picture_is_upright(tmp_path, degrees, order):
    turned(encode(tmp_path / "a.mp4", [picture(64, 32)] * 2, pixel=Fraction(2)), degrees)
    found = read_mp4(tmp_path / "a.mp4")
    assert found.frames.shape == (2, 64, 64, 3)
    assert near(corners(found.frames[0]), [CORNERS[int(place)] for place in order])


def tag(size):
    return json.dumps({"software": "lamina", "size": size, "metadata": {"prompt": GOOD}})


@pytest.mark.parametrize("size", [[64, 64], [31, 64], None, "64", [1, 2, 3], [64.5, 2], {}])
def test_our_tag_does_not_cut_a_clip_of_another_size(tmp_path, size):
    encode(tmp_path / "a.mp4", [picture(128, 128)] * 2, comment=tag(size))
    found = read_mp4(tmp_path / "a.mp4")
    assert found.frames.shape == (2, 128, 128, 3)
    assert near(corners(found.frames[1]), CORNERS)
    assert read_metadata(tmp_path / "a.mp4") == {"prompt": GOOD}


def test_our_tag_tells_the_true_size_of_a_padded_clip(tmp_path):
    encode(tmp_path / "a.mp4", [picture(32, 32)] * 2, comment=tag([31, 32]))
    assert read_mp4(tmp_path / "a.mp4").frames.shape == (2, 31, 32, 3)


@pytest.mark.parametrize("metadata", [[1], "text", None, 3])
def test_metadata_that_is_no_table_is_none(tmp_path, metadata):
    comment = json.dumps({"software": "lamina", "metadata": metadata})
    encode(tmp_path / "a.mp4", gray(2), comment=comment)
    assert read_metadata(tmp_path / "a.mp4") == {}


def test_a_long_clip_is_read_frame_by_frame(tmp_path):
    encode(tmp_path / "a.mp4", [picture(384, 640)] * 100, fps=30)
    (tmp_path / "a.txt").write_text(GOOD)
    tracemalloc.start()
    (loaded,) = load_clips(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loaded.frames.shape == (3, 100, 64, 64)
    assert peak < 20 * 384 * 640 * 3  # of 100 frames


@pytest.mark.parametrize("read", [read_mp4, lambda path: load_clips(path.parent)])
def test_a_clip_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, read):
    monkeypatch.setattr(footage, "MOST_BYTES", 100_000)
    encode(tmp_path / "a.mp4", gray(20, 64))
    (tmp_path / "a.txt").write_text(GOOD)
    with pytest.raises(Refusal, match=r"^a\.mp4 has 20 frames, .* GB in memory: .*; cut"):
        read(tmp_path / "a.mp4")


def test_a_playlist_named_mp4_opens_no_other_file(tmp_path):
    encode(tmp_path / "other.mp4", gray(2))
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(Refusal, match=r"^a\.mp4 cannot be decoded"):
        read_mp4(tmp_path / "a.mp4")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.mp4"
    write_mp4(Clip(np.stack(gray(8, 32)), 8), path, metadata={"prompt": GOOD})
    return path.read_bytes()


BYTES = st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255))


@settings(max_examples=400)
@given(
    data=st.data(),
    header=st.booleans(),
    count=st.sampled_from([1, 2, 4, 16]),
    kept=st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1)),
)
def test_a_damaged_file_gives_a_clip_or_a_refusal(
    tmp_path_factory, whole, data, header, count, kept
):
    damaged = bytearray(whole)
    last = min(len(whole), 1400) if header else len(whole)
    for _ in range(count):
        damaged[data.draw(st.integers(0, last - 1))] = data.draw(BYTES)
    path = tmp_path_factory.mktemp("damaged") / "a.mp4"
    path.write_bytes(damaged[: int(kept * len(damaged))])
    for read in (read_mp4, read_metadata):
        try:
            read(path)
        except Refusal as refusal:
            said = str(refusal)
        else:
            said = "a.mp4"
        assert said.startswith("a.mp4")


def captioned(folder, caption, name="a"):
    encode(folder / f"{name}.mp4", gray(16, 16))
    (folder / f"{name}.txt").write_bytes(caption)
    return folder


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("a caf\u00e9 moves".encode("latin-1"), "a.txt is not UTF-8 text .*; save"),
        (GOOD.encode("utf-16"), "a.txt is not UTF-8 text"),
        (GOOD.encode("utf-16-le"), "a.txt: .* control characters"),
        (b"a red\0circle", "a.txt: .* control characters"),
        (b"", "a.txt: .* missing or empty; write"),
        (b"\xef\xbb\xbf\r\n", "a.txt: .* missing or empty"),
        ("\u200b".encode(), "a.txt: .* missing or empty"),
        ("\u2060\u00ad \u3164\u2800\ufe0f".encode(), "a.txt: .* missing or empty"),
        (b"\0\0", "a.txt: .* missing or empty"),
        (" ".join([GOOD] * 200).encode(), "a.txt: prompt .* at most 64 .*; shorten"),
    ],
)
def test_a_caption_that_is_no_text_is_refused_by_file(tmp_path, caption, words):
    with pytest.raises(Refusal, match=f"^{words}"):
        load_clips(captioned(tmp_path, caption), size=16, check=check_length)


@pytest.mark.parametrize(
    ("caption", "read"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n", GOOD),
        (b"a red circle\0\0", "a red circle"),
        (f"\u200b{GOOD}\u200b\u2028".encode(), GOOD),
        (b"a red circle\r\nmoves left\r\n", "a red circle\nmoves left"),
        ("a 👩\u200d🚀 waves ❤\ufe0f".encode(), "a 👩\u200d🚀 waves ❤\ufe0f"),
        ("עיגול אדום".encode(), "עיגול אדום"),
    ],
)
def test_a_caption_is_read_without_what_does_not_show(tmp_path, caption, read):
    (loaded,) = load_clips(captioned(tmp_path, caption), size=16)
    assert loaded.caption == read


def test_endings_in_capitals_are_taken_and_the_rest_is_said(tmp_path, caplog):
    captioned(tmp_path, b"one")
    captioned(tmp_path, b"two", "b")
    (tmp_path / "b.mp4").rename(tmp_path / "B.MP4")
    (tmp_path / "b.txt").rename(tmp_path / "B.TXT")
    (tmp_path / "c.mov").write_bytes((tmp_path / "a.mp4").read_bytes())
    (tmp_path / "._a.mp4").write_bytes(b"\0\5\x16\7")
    (tmp_path / "more").mkdir()
    (tmp_path / "nowhere.mp4").symlink_to("../annex/objects/x")
    with caplog.at_level(logging.WARNING):
        assert {clip.caption for clip in load_clips(tmp_path, size=16)} == {"one", "two"}
    assert "._a.mp4, c.mov, more, nowhere.mp4" in caplog.text


def test_a_file_that_the_encoder_broke_is_a_fault_and_no_refusal(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "_encode", lambda frames, rate, tag, path: path.write_bytes(b"no"))
    with pytest.raises(RuntimeError, match="cannot be trusted"):
        write_mp4(Clip(np.stack(gray(2)), 8), tmp_path / "a.mp4", metadata={})
