"""A clip comes back from its file: count, size, rate, pixels and tag; or there is no file."""

import struct
from fractions import Fraction
from io import BytesIO

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import video.files.clip
from core.refusal import Refusal
from video.files.clip import Clip, contact_sheet, read_metadata, read_mp4, webp_preview, write_mp4

SIDES = st.integers(8, 40)
METADATA = st.dictionaries(
    st.text(max_size=8),
    st.one_of(st.text(max_size=40), st.integers(), st.booleans(), st.none(), st.lists(st.text())),
    max_size=4,
)


def moving_square(num_frames=8, height=32, width=48):
    frames = np.full((num_frames, height, width, 3), (30, 60, 90), dtype=np.uint8)
    for index, frame in enumerate(frames):
        frame[8:20, 2 * index : 2 * index + 12] = (220, 40, 50)
    return frames


def boxes(path):
    """The names of an mp4's top-level boxes, in file order."""
    data, start, names = path.read_bytes(), 0, []
    while start < len(data):
        size, name = struct.unpack(">I4s", data[start : start + 8])
        names.append(name.decode())
        start += size
    return names


@settings(max_examples=25)
@given(data=st.data(), num_frames=st.integers(1, 5), height=SIDES, width=SIDES)
def test_any_pixels_at_any_size_come_back(tmp_path_factory, data, num_frames, height, width):
    small = data.draw(arrays(np.uint8, (num_frames, 8, 8, 3)))
    frames = np.resize(small, (num_frames, height, width, 3))
    clip = Clip(frames, data.draw(st.floats(0.1, 240)))
    metadata = data.draw(METADATA)
    path = tmp_path_factory.mktemp("clip") / "any.mp4"
    write_mp4(clip, path, metadata=metadata)
    found = read_mp4(path)
    assert found.frames.shape == frames.shape
    assert found.rate == clip.rate
    assert read_metadata(path) == metadata


@pytest.mark.parametrize("width", [24, 31, 32, 33, 64, 66, 96])
def test_smooth_pixels_come_back_close_at_widths_that_decord_misreads(tmp_path, width):
    rows, columns = np.mgrid[:40, :width]
    image = np.stack([rows * 5, columns * 255 // width, 255 - rows * 5], axis=-1)
    frames = np.stack([image, image[::-1], image[:, ::-1]]).astype(np.uint8)
    write_mp4(Clip(frames, 8), tmp_path / "smooth.mp4", metadata={})
    found = read_mp4(tmp_path / "smooth.mp4").frames
    assert np.abs(found.astype(int) - frames).mean() < 4


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (24, Fraction(24)),
        (8.0, Fraction(8)),
    ],
)
def test_the_rate_is_exact(tmp_path, fps, rate):
    write_mp4(Clip(moving_square(), fps), tmp_path / "rate.mp4", metadata={})
    assert Clip(moving_square(), fps).rate == rate
    assert read_mp4(tmp_path / "rate.mp4").rate == rate


def test_seconds():
    assert Clip(moving_square(16), 8).seconds == 2.0


def test_the_index_stands_before_the_frames(tmp_path):
    path = write_mp4(Clip(moving_square(), 8), tmp_path / "fast.mp4", metadata={})
    names = boxes(path)
    assert names.index("moov") < names.index("mdat")


def test_the_same_frames_are_the_same_file(tmp_path):
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    frames = np.stack([np.stack([rows, columns, 127 - rows], -1)] * 16).astype(np.uint8)
    for index, frame in enumerate(frames):
        frame[(rows - 32) ** 2 + (columns - 12 - 2 * index) ** 2 < 100] = (110, 20, 25)
    clip = Clip(frames + random.integers(0, 6, frames.shape, dtype=np.uint8), 8)
    written, litter = set(), []
    for index in range(24):
        litter = [*litter[-4:], random.bytes(int(random.integers(1_000, 400_000)))]
        written.add(write_mp4(clip, tmp_path / f"{index}.mp4", metadata={}).read_bytes())
    assert len(written) == 1


def test_no_temporary_file_stays(tmp_path):
    write_mp4(Clip(moving_square(), 8), tmp_path / "one.mp4", metadata={})
    assert [path.name for path in tmp_path.iterdir()] == ["one.mp4"]


def test_an_existing_clip_is_kept_unless_asked(tmp_path):
    path = write_mp4(Clip(moving_square(), 8), tmp_path / "one.mp4", metadata={"seed": 1})
    with pytest.raises(ValueError, match=r"one\.mp4 exists"):
        write_mp4(Clip(moving_square(), 8), path, metadata={"seed": 2})
    assert read_metadata(path) == {"seed": 1}
    write_mp4(Clip(moving_square(), 8), path, metadata={"seed": 2}, overwrite=True)
    assert read_metadata(path) == {"seed": 2}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frames: frames[:-1], "decoded"),
        (lambda frames: frames[:, :, ::-1], "steps off"),
        (lambda frames: frames[::-1], "steps off"),
        (lambda frames: frames * 0, "steps off"),
    ],
)
def test_an_encoder_that_lies_leaves_no_file(tmp_path, monkeypatch, spoil, message):
    encode = video.files.clip._encode
    monkeypatch.setattr(
        video.files.clip, "_encode", lambda frames, *rest: encode(spoil(frames), *rest)
    )
    with pytest.raises(RuntimeError, match=message):
        write_mp4(Clip(moving_square(16), 8), tmp_path / "lie.mp4", metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((4, 32, 32), np.uint8), r"frames \(4, 32, 32\)"),
        (np.zeros((4, 3, 32, 32), np.uint8), "channels last"),
        (np.zeros((0, 32, 32, 3), np.uint8), "at least one frame"),
        (np.zeros((4, 32, 32, 3), np.float32), "float32"),
    ],
)
def test_frames_of_another_kind_are_refused(monkeypatch, frames, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(ValueError, match=message):
        Clip(frames, 8)


@pytest.mark.parametrize("fps", [0, -8, 241, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(fps):
    with pytest.raises(ValueError, match=f"fps={fps}: .* such as 8"):
        Clip(moving_square(), fps)


@pytest.mark.parametrize(
    ("name", "frames", "metadata", "message"),
    [
        ("a.avi", moving_square(), {}, r"a\.avi: .*\.mp4"),
        ("a.mp4", moving_square()[:, :6], {}, "6 x 48"),
        ("a.mp4", moving_square(), {"psnr": float("inf")}, "psnr"),
        ("a.mp4", moving_square(), {"model": object()}, "model"),
    ],
)
def test_what_cannot_be_written_is_refused_before_work(tmp_path, name, frames, metadata, message):
    with pytest.raises(ValueError, match=message):
        write_mp4(Clip(frames, 8), tmp_path / name, metadata=metadata)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read", [read_mp4, read_metadata])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(ValueError, match=r"lost\.mp4: there is no such file"):
        read(tmp_path / "lost.mp4")


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.9])
def test_a_cut_file_is_refused(tmp_path, part):
    whole = write_mp4(Clip(moving_square(), 8), tmp_path / "a.mp4", metadata={}).read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"a\.mp4 (cannot be decoded|is damaged)"):
        read_mp4(tmp_path / "a.mp4")


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_text("a red circle moves left\n" * 100)
    with pytest.raises(ValueError, match="not a video"):
        read_mp4(tmp_path / "a.mp4")


@pytest.mark.parametrize("comment", ["", "holiday", "[1, 2]", '{"size": [1, 1]}'])
def test_a_comment_from_elsewhere_is_not_ours(tmp_path, comment):
    video.files.clip._encode(moving_square(), Fraction(8), comment, tmp_path / "a.mp4")
    assert read_metadata(tmp_path / "a.mp4") == {}
    assert read_mp4(tmp_path / "a.mp4").frames.shape == (8, 32, 48, 3)


def test_the_preview_moves_and_fits():
    noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    for frames, max_kb in ((moving_square(16), 150), (noise, 60)):
        preview = webp_preview(Clip(frames, 8), max_kb=max_kb)
        image = Image.open(BytesIO(preview))
        image.load()
        assert len(preview) <= max_kb * 1000
        assert (image.format, image.n_frames, image.info["duration"]) == ("WEBP", 16, 125)


def test_a_preview_that_cannot_fit_says_so():
    noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="max_kb=1: no room for 16 frames"):
        webp_preview(Clip(noise, 8), max_kb=1)


def test_the_contact_sheet_holds_every_frame_in_reading_order():
    frames = moving_square(10, 32, 48)
    sheet = np.asarray(Image.open(BytesIO(contact_sheet(Clip(frames, 8), columns=4))))
    assert sheet.shape == (3 * 33 + 1, 4 * 49 + 1, 3)
    for index, frame in enumerate(frames):
        top, left = index // 4 * 33 + 1, index % 4 * 49 + 1
        np.testing.assert_array_equal(sheet[top : top + 32, left : left + 48], frame)


def test_two_mp4s_in_one_file_are_refused(tmp_path):
    path = write_mp4(Clip(np.zeros((4, 32, 32, 3), np.uint8), 8.0), tmp_path / "a.mp4")
    one = path.read_bytes()
    path.write_bytes(one + bytes(40))  # what stands after the end is nothing
    assert read_mp4(path).frames.shape[0] == 4
    path.write_bytes(one + one)
    with pytest.raises(Refusal, match=r"a\.mp4 holds 2 clips, .*: a file is one clip; cut it"):
        read_mp4(path)
