"""How well a watermark is read from real clips after what happens to clips.

Protocol: twelve or sixteen frames of filmed clips at 192 to 640 pixels, one number drawn for each;
H.264 by libx264 at its usual preset; half size by bicubic interpolation, encoded at crf 23;
quarters are three or four frames each at crf 23. Bits are those of the number after correction;
where it says so, the number is one that a record tells. PSNR is that of all
marked frames before encoding.
"""

import io
import sys
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from video.provenance.watermark import LEAST_PSNR_DB, marked, read_mark

CLIPS = Path(__file__).parents[3] / "shared/data/clips"
FILMED = {"walk.mkv": (480, 360), "car-detection.mp4": (640, 360), "book.mkv": (320, 240),
          "again.mkv": (256, 192)}  # fmt: skip
FEW, USUAL = 12, 16

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CLIPS.is_dir(), reason="no filmed clips on this machine"),
]


def filmed(name, size, count=FEW):
    found = []
    with av.open(str(CLIPS / name)) as file:
        for frame in file.decode(video=0):
            pixels = Image.fromarray(frame.to_ndarray(format="rgb24"))
            found.append(np.asarray(pixels.resize(size, Image.Resampling.BICUBIC)))
            if len(found) == 20 + count:
                break
    return np.stack(found[-count:])


def encoded(frames, crf, size=None):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=24)
        stream.width, stream.height = size or (frames.shape[2], frames.shape[1])
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf)}
        for pixels in frames:
            shown = Image.fromarray(pixels)
            shown = shown.resize(size, Image.Resampling.BICUBIC) if size else shown
            frame = av.VideoFrame.from_ndarray(np.array(shown), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file) as seen:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in seen.decode(video=0)])


def bits_right(frames, number, expected=None):
    """Of 32; none where no mark is found."""
    mark = read_mark(frames, expected)
    return 0 if mark is None else 32 - (mark.number ^ number).bit_count()


def test_the_bars_are_met_on_filmed_clips(capsys):
    share: dict[str, list[int]] = defaultdict(list)
    draw = np.random.default_rng(0)
    for name, size in FILMED.items():
        frames, number = filmed(name, size), int(draw.integers(2**32))
        found = marked(frames, number)
        noise = np.square(found - frames.astype(float)).mean()
        assert 10 * np.log10(255**2 / noise) >= LEAST_PSNR_DB - 0.01
        usual = encoded(found, 23)
        share["crf 23"].append(bits_right(usual, number))
        share["crf 28"].append(bits_right(encoded(found, 28), number))
        half = (size[0] // 4 * 2, size[1] // 4 * 2)
        share["half"].append(bits_right(encoded(found, 23, half), number))
        quarters = [usual[i : i + FEW // 4] for i in range(0, FEW, FEW // 4)]
        share["quarter"] += [bits_right(part, number) for part in quarters]
        share["quarter, told"] += [bits_right(part, number, number) for part in quarters]
        assert all(bits_right(part, number, number ^ 1) in (0, 32) for part in quarters)
        assert read_mark(encoded(frames, 23)) is None
    rates = {what: sum(found) / (32 * len(found)) for what, found in share.items()}
    with capsys.disabled():
        sys.stdout.write(f"\nbits right: {rates}\n")
    assert rates["crf 23"] == 1
    assert min(rates["crf 28"], rates["half"]) >= 0.99
    assert rates["quarter"] >= 0.9  # three frames are few; measured: 15 of 16 quarters
    assert rates["quarter, told"] == 1


def test_any_quarter_of_a_clip_of_usual_length_is_read_untold(capsys):
    right, draw = [], np.random.default_rng(10)
    for name, size in FILMED.items():
        number = int(draw.integers(2**32))
        usual = encoded(marked(filmed(name, size, USUAL), number), 23)
        parts = [usual[i : i + USUAL // 4] for i in range(0, USUAL, USUAL // 4)]
        right += [bits_right(part, number) for part in parts]
    with capsys.disabled():
        sys.stdout.write(f"\nquarters of {USUAL} frames, bits right: {right}\n")
    assert right == [32] * 4 * len(FILMED)
