"""Clips of many kinds: read as they are seen, told where that differs, refused where torn."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from core.refusal import Refusal
from video.files.captioned_clips import load_clips
from video.files.formats import look_at, read_clip
from video.files.oddities import oddities
from video.files.upright import Turn, turn_by
from video.operations.clip_filters import InterpolateVideo, UpscaleVideo
from video.request import InterpolateRequest, UpscaleRequest

CORNERS = ((220, 20, 20), (20, 200, 20), (20, 20, 220), (235, 235, 235))
ONE = 0x10000


def picture(size=64):
    """Four quarters: red, green, blue, white."""
    frame = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    for color, (down, right) in zip(CORNERS, np.ndindex(2, 2), strict=True):
        frame[down * half : (down + 1) * half, right * half : (right + 1) * half] = color
    return frame


def noise(count=40):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(count)]


def encode(path, frames, kind, codec, pix, *, fps=8, times=None, flags=0, colors=None, options=()):
    with av.open(str(path), "w", format=kind) as file:
        stream = file.add_stream(codec, rate=fps, options=dict(options))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = pix, 1
        stream.codec_context.flags |= flags
        if colors:
            stream.codec_context.color_trc = colors
        for index, pixels in enumerate(frames):
            form = "rgba" if pixels.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(pixels, format=form).reformat(format=pix)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def corners(frame):
    places = [(y, x) for y in (16, 48) for x in (16, 48)]
    return [tuple(int(value) for value in frame[place]) for place in places]


def shows(frame, order):
    wanted = [CORNERS[number] for number in order]
    return np.abs(np.array(corners(frame)) - np.array(wanted)).max() < 12


MATRICES = {
    "clockwise": ((0, ONE, 0, -ONE, 0), (2, 0, 3, 1)),
    "upside down": ((-ONE, 0, 0, 0, -ONE), (3, 2, 1, 0)),
    "mirrored": ((-ONE, 0, 0, 0, ONE), (1, 0, 3, 2)),
    "flipped": ((ONE, 0, 0, 0, -ONE), (2, 3, 0, 1)),
    "mirrored and turned": ((0, ONE, 0, ONE, 0), (0, 2, 1, 3)),
    "no matrix at all": ((0, 0, 0, 0, 0), (0, 1, 2, 3)),
}


@pytest.mark.parametrize(("matrix", "order"), MATRICES.values(), ids=MATRICES)
def test_pictures_are_turned_and_mirrored_as_the_file_says(tmp_path, matrix, order):
    path = encode(tmp_path / "a.mp4", [picture()] * 4, "mp4", "libx264", "yuv420p")
    data = path.read_bytes()
    at = data.index(b"tkhd") + 44
    told = struct.pack(">9i", *matrix, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + told + data[at + 36 :])
    assert shows(read_clip(path).frames[1], order)
    assert oddities(look_at(path)) == ()


def test_another_angle_is_taken_for_the_nearest_and_said(tmp_path):
    half = 46341
    assert turn_by((half, half, 0, -half, half, 0, 0, 0, 1 << 30)) == Turn(right=False)
    path = encode(tmp_path / "a.mp4", [picture()] * 4, "mp4", "libx264", "yuv420p")
    data = path.read_bytes()
    at = data.index(b"tkhd") + 44
    told = struct.pack(">9i", half, half, 0, -half, half, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + told + data[at + 36 :])
    (line,) = oddities(look_at(path))
    assert line == "a.mp4: it asks to be turned by no right angle: it is turned by the nearest"


KINDS = {
    "mov": ("mov", "mjpeg", "yuvj420p"),
    "mkv": ("matroska", "libx264", "yuv420p"),
    "WEBM": ("webm", "libvpx-vp9", "yuv420p"),
    "avi": ("avi", "mpeg4", "yuv420p"),
    "ts": ("mpegts", "mpeg2video", "yuv420p"),
    "mpg": ("mpeg", "mpeg2video", "yuv420p"),
    "wmv": ("asf", "wmv2", "yuv420p"),
    "flv": ("flv", "flv1", "yuv420p"),
    "y4m": ("yuv4mpegpipe", "rawvideo", "yuv420p"),
    "ten bits.mp4": ("mp4", "libx264", "yuv420p10le"),
    "lossless.mkv": ("matroska", "ffv1", "yuv444p"),
}


@pytest.mark.parametrize("ending", KINDS)
def test_containers_and_pixels_of_many_kinds_are_read(tmp_path, ending):
    kind, codec, pix = KINDS[ending]
    fps = 25 if "mpeg" in codec else 8
    path = encode(tmp_path / f"a.{ending}", [picture()] * 8, kind, codec, pix, fps=fps)
    clip = read_clip(path)
    assert (len(clip.frames), clip.fps) == (8, fps)
    assert shows(clip.frames[3], (0, 1, 2, 3))
    assert oddities(look_at(path)) == ()


TORN = {
    "mkv": ("matroska", "libx264", "yuv420p", "ends after"),
    "webm": ("webm", "libvpx-vp9", "yuv420p", "ends after"),
    "avi": ("avi", "mjpeg", "yuvj420p", "is damaged|where its header says 40"),
    "mov": ("mov", "mjpeg", "yuvj420p", "cannot be decoded"),
    "ts": ("mpegts", "libx264", "yuv420p", "cannot be decoded|is damaged"),
}


@pytest.mark.parametrize("hurt", ["cut", "hole"])
@pytest.mark.parametrize("ending", TORN)
def test_what_a_damaged_file_lacks_is_not_left_out_in_silence(tmp_path, ending, hurt):
    kind, codec, pix, words = TORN[ending]
    path = encode(tmp_path / f"a.{ending}", noise(), kind, codec, pix, fps=25)
    assert len(read_clip(path).frames) == 40
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    if hurt == "cut":
        del data[middle:]
    else:
        data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(Refusal, match=rf"^a\.{ending} .*({words}).*; (copy|write)"):
        read_clip(path)


def test_frames_that_an_avi_dropped_are_no_damage(tmp_path):
    """Whoever captures, and ffmpeg at uneven times, write a chunk of no bytes for each."""
    places = [place for place in range(23) if place not in (5, 11, 17)]
    times = [40 * place for place in places]
    path = encode(tmp_path / "a.avi", noise(20), "avi", "mjpeg", "yuvj420p", fps=25, times=times)
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames == 23
    clip = read_clip(path)
    assert (len(clip.frames), clip.fps) == (23, pytest.approx(25))
    assert np.array_equal(clip.frames[5], clip.frames[4])
    data = path.read_bytes()
    (tmp_path / "b.avi").write_bytes(data[: data.index(b"movi") + (len(data) * 7) // 10])
    with pytest.raises(Refusal, match=r"^b\.avi .*(is damaged|where its header says 23)"):
        read_clip(tmp_path / "b.avi")


def test_two_clips_in_one_file_are_refused(tmp_path):
    one = encode(tmp_path / "a.ts", [picture()] * 20, "mpegts", "libx264", "yuv420p", fps=25)
    (tmp_path / "b.ts").write_bytes(one.read_bytes() * 2)
    with pytest.raises(Refusal, match=r"^b\.ts begins anew after frame 20: .*; cut it there"):
        read_clip(tmp_path / "b.ts")


def half_clear():
    alpha = np.full((64, 64, 1), 255, np.uint8)
    alpha[:, :32] = 0
    return np.dstack([picture(), alpha])


CLEAR = {
    "webm": ("webm", "libvpx-vp9", "yuva420p"),
    "mov": ("mov", "png", "rgba"),
    "mkv": ("matroska", "ffv1", "bgra"),
}


@pytest.mark.parametrize("ending", CLEAR)
def test_transparency_is_said(tmp_path, ending):
    kind, codec, pix = CLEAR[ending]
    path = encode(tmp_path / f"a.{ending}", [half_clear()] * 4, kind, codec, pix)
    assert "what is transparent in it is read as" in oddities(look_at(path))[0]


@pytest.mark.parametrize("clear", [True, False])
def test_transparency_of_moving_pictures_is_said(tmp_path, clear):
    frames = [np.roll(half_clear() if clear else picture(), k, 1) for k in range(4)]
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
        tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=100, lossless=True
    )
    assert bool(oddities(look_at(tmp_path / "a.webp"))) == clear


def test_woven_lines_bright_colors_and_uneven_times_are_said(tmp_path):
    frames = [picture()] * 20
    woven = (1 << 18) | (1 << 29)
    encode(tmp_path / "a.ts", frames, "mpegts", "mpeg2video", "yuv420p", fps=25, flags=woven)
    assert "(interlaced)" in oddities(look_at(tmp_path / "a.ts"))[0]
    options = {"x265-params": "log-level=none"}
    encode(tmp_path / "b.mp4", frames, "mp4", "libx265", "yuv420p10le", colors=16, options=options)
    assert "(PQ)" in oddities(look_at(tmp_path / "b.mp4"))[0]
    times = [33 * t if t < 10 else 330 + 800 * (t - 9) for t in range(20)]
    path = encode(tmp_path / "c.mkv", frames, "matroska", "ffv1", "yuv420p", fps=30, times=times)
    (line,) = oddities(look_at(path))
    assert "9 of its 20 frames are left out" in line
    reading = UpscaleVideo().read(UpscaleRequest(clip=str(path), times=2))
    assert reading.remarks == (line,)
    assert reading.facts == {"clip_read": [line]}


def test_what_is_said_of_a_clip_is_said_in_training_too(tmp_path, caplog):
    tall = [picture()[:, ::2]] * 16
    path = tmp_path / "a.mp4"
    encode(path, tall, "mp4", "libx264", "yuv420p")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 2 * ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    (tmp_path / "a.txt").write_text("a red circle moves left")
    (clip,) = load_clips(tmp_path)
    assert "a.mp4: its pixels are 2 times as wide as high" in caplog.text
    assert shows(clip.frames[:, 3].permute(1, 2, 0).numpy(), (0, 1, 2, 3))


def test_kinds_are_told_by_content_and_not_by_name(tmp_path):
    frames = [Image.fromarray(np.roll(picture(), k, 1)) for k in range(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    (tmp_path / "a.gif").rename(tmp_path / "a.mp4")
    assert read_clip(tmp_path / "a.mp4").fps == 10
    made = encode(tmp_path / "b.mp4", [picture()] * 8, "mp4", "libx264", "yuv420p")
    made.rename(tmp_path / "b.gif")
    assert read_clip(tmp_path / "b.gif").fps == 8


@pytest.mark.parametrize("told", [0, 10])
def test_a_delay_that_is_not_told_is_what_browsers_show(tmp_path, told):
    frames = [Image.fromarray(np.roll(picture(), k, 1)) for k in range(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=told)
    assert read_clip(tmp_path / "a.gif").fps == 10


def cover(path):
    with av.open(str(path), "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=16000)
        sound.layout = "mono"
        stream = file.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        stream.disposition = Disposition.attached_pic
        Image.fromarray(picture()).save(path.with_suffix(".jpg"))
        packet = av.Packet(path.with_suffix(".jpg").read_bytes())
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        file.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        file.mux(sound.encode(frame))
        file.mux(sound.encode())


def test_what_is_no_clip_is_refused_by_what_it_is(tmp_path):
    cover(tmp_path / "song.mp4")
    Image.fromarray(picture()).save(tmp_path / "still.png")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "note.mp4").write_text("no clip")
    says = {
        "song.mp4": "holds no pictures that move",
        "still.png": "is a picture",
        "folder.mp4": "is a folder",
        "note.mp4": r"of a kind that is read \(mp4, mov,",
    }
    for name, words in says.items():
        with pytest.raises(Refusal, match=words):
            look_at(tmp_path / name)


@pytest.mark.parametrize(
    ("side", "words"),
    [(1, "at least 8 pixels"), (7, "at least 8 pixels"), (8, "at least 32"), (31, "at least 32")],
)
def test_frames_that_no_file_or_filter_takes_are_refused_before_work(tmp_path, side, words):
    frames = [picture()[:side, :side]] * 4
    path = str(encode(tmp_path / "a.mkv", frames, "matroska", "ffv1", "yuv444p"))
    with pytest.raises(Refusal, match=f"frames of {side} x {side}.*{words}"):
        InterpolateVideo().check(InterpolateRequest(clip=path, times=2))
