"""Clips and their files: the only door to imageio (writing) and decord (reading back).

``diffusers.export_to_video`` resizes frames to multiples of 16, truncates instead of rounding
and carries no metadata, so clips are written here: exact size, exact rate, a tag inside the
file, and a look at what was really written before it gets its name.
"""

import gc
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import decord
import imageio.v3 as iio
import numpy as np
from imageio.plugins.pyav import PyAVPlugin
from numpy.typing import NDArray

from core.progress import counted
from core.records import atomic_path
from core.refusal import Refusal
from video.files.footage import MOST_FPS, Footage, look, read_tag, refuse_if_large
from video.files.likeness import compare

SMALLEST_SIDE = 8  # below, chroma planes are so narrow that codecs disagree about them
NO_TRUST = "the encoder on this machine cannot be trusted, so no file is left."
# The same frames must be the same bytes. mbtree reads memory it never wrote, and by default the
# number of threads and the kind of CPU shape the stream, too; WebM would be given random numbers.
SAME = {"mbtree": "0", "x264-params": "cpu-independent=1"}
CODECS = {
    ".mp4": ("libx264", {"movflags": "+faststart"}, {"crf": "12", "preset": "medium", **SAME}),
    ".webm": (
        "libvpx-vp9",
        {"fflags": "+bitexact"},
        {"crf": "12", "b": "0", "deadline": "good", "cpu-used": "2", "row-mt": "0"},
    ),
}
"""Ending to codec, options of the container, options of the codec."""
PREVIEW_QUALITIES = (90, 75, 60, 45, 30, 15)
PREVIEW_SIDE = 192


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames (T, H, W, 3) of uint8 RGB, how many of them pass in a second, how they were made."""

    frames: NDArray[np.uint8]
    fps: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape, kind = self.frames.shape, self.frames.dtype
        if len(shape) != 4 or shape[3] != 3 or 0 in shape or kind != np.uint8:
            raise Refusal(
                f"frames {shape} of {kind}: a clip is (T, H, W, 3) uint8 with at least one frame; "
                "scale to 0..255, round, and move the channels last."
            )
        if not (math.isfinite(self.fps) and 0.1 <= self.fps <= MOST_FPS):
            raise Refusal(
                f"fps={self.fps}: a clip runs at 0.1 to {MOST_FPS} frames per second; "
                "choose a rate in that range, such as 8."
            )

    @property
    def rate(self) -> Fraction:
        """The exact rate."""
        return exact_rate(self.fps)

    @property
    def seconds(self) -> float:
        """How long the clip runs."""
        return float(len(self.frames) / self.rate)


def exact_rate(fps: float) -> Fraction:
    """What a decimal means: film and broadcast (23.976, 29.97) mean n * 1000 / 1001."""
    for whole in (24, 30, 48, 60, 120, 240):
        broadcast = Fraction(whole * 1000, 1001)
        if abs(float(broadcast) / fps - 1) < 4e-5:
            return broadcast
    return Fraction(fps).limit_denominator(min(1001, int(60_000 / fps)))


def write_mp4(
    clip: Clip,
    path: Path | str,
    *,
    metadata: Mapping[str, Any] = MappingProxyType({}),
    overwrite: bool = False,
) -> Path:
    """Write H.264 in mp4 (yuv420p, exact rate, index first) and return the verified path.

    Odd sides are padded by one repeated line, as 4:2:0 needs even ones; the true size travels in
    the comment tag and ``read_mp4`` crops back to it. The file is decoded and compared before it
    takes its name.

    Args:
        clip: What to write; sides of at least 8 pixels.
        path: A name ending in ``.mp4``, in a folder that stands.
        metadata: Plain values (prompt, seed, model, ...) kept in the file's comment tag as JSON.
        overwrite: Replace a file that already stands there.

    Raises:
        Refusal: The name, the size or the metadata cannot be written as asked.
        RuntimeError: What was decoded back is not what was written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise Refusal(f"{path.name}: clips are written as mp4; give a name ending in .mp4.")
    return write_film(clip, path, metadata=metadata, overwrite=overwrite)


def write_film(
    clip: Clip, path: Path, *, metadata: Mapping[str, Any], overwrite: bool = False
) -> Path:
    """Write an mp4 as ``write_mp4`` does, or VP9 in WebM likewise, by the name's ending."""
    _, height, width, _ = clip.frames.shape
    refuse_if_small(height, width)
    tag = tag_of(metadata, height, width)
    padded = np.pad(clip.frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    verify = _verify if path.suffix.lower() == ".mp4" else verify_as_shown
    with atomic_path(path, overwrite=overwrite) as temporary:
        _encode(padded, clip.rate, tag, temporary)
        verify(clip, temporary)
    return path


def refuse_if_small(height: int, width: int) -> None:
    """Refuse frames that no codec writes alike."""
    if min(height, width) < SMALLEST_SIDE:
        raise Refusal(
            f"frames of {height} x {width}: H.264 needs sides of at least {SMALLEST_SIDE} pixels; "
            "make the clip larger."
        )


def read_mp4(path: Path | str) -> Clip:
    """Read what a video file shows, at its true size, and its exact rate.

    Pixels come out square, pictures upright, edits made, and uneven times at an even rate.

    Raises:
        Refusal: It is no video, it is damaged, or its frames are more than memory should hold.
    """
    return kept(look(path))


def kept(footage: Footage) -> Clip:
    """All that a file shows, in memory.

    Raises:
        Refusal: It is damaged, or its frames are more than memory should hold.
    """
    frames: NDArray[np.uint8] | None = None
    for index, frame in enumerate(footage.frames()):
        if frames is None:
            refuse_if_large(footage, *frame.shape[:2])
            frames = np.empty((footage.count, *frame.shape), dtype=np.uint8)
        frames[index] = frame
    assert frames is not None  # frames() gives all of at least one
    return Clip(frames, footage.fps)


def read_metadata(path: Path | str) -> dict[str, Any]:
    """The metadata ``write_mp4`` was given, or an empty dict for a video from elsewhere."""
    metadata = read_tag(path).get("metadata", {})
    return metadata if isinstance(metadata, dict) else {}


def webp_preview(clip: Clip, *, max_kb: int = 150) -> bytes:
    """An animated WebP of the clip in at most ``max_kb`` kilobytes, for pages that embed images.

    Small clips are enlarged by whole pixels, large ones thinned; quality falls until it fits.
    """
    frames = _fitted(clip.frames)
    milliseconds = round(1000 / clip.rate)
    while True:
        for quality in PREVIEW_QUALITIES:
            preview = iio.imwrite(
                "<bytes>", frames, extension=".webp", plugin="pillow", is_batch=True,
                quality=quality, duration=milliseconds, loop=0,
            )  # fmt: skip
            if len(preview) <= max_kb * 1000:
                return preview
        if min(frames.shape[1:3]) < 16:
            raise Refusal(
                f"max_kb={max_kb}: no room for {counted(len(frames), 'frame')}, even at "
                f"{frames.shape[1:3]} "
                "pixels; allow more kilobytes or show fewer frames."
            )
        frames = frames[:, ::2, ::2]


def contact_sheet(clip: Clip, *, columns: int = 8) -> bytes:
    """A PNG of all frames in reading order on a dark ground, with one pixel between them."""
    num_frames, height, width, _ = clip.frames.shape
    columns = min(columns, num_frames)
    rows = math.ceil(num_frames / columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), 24, dtype=np.uint8)
    for index, frame in enumerate(clip.frames):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = frame
    return iio.imwrite("<bytes>", sheet, extension=".png", plugin="pillow")


@contextmanager
def _set_aside() -> Iterator[None]:
    """Keep what exists out of the garbage collection that imageio forces on closing a file.

    It walks every object alive, twice per file: 0.7 s in a process that holds torch and
    diffusers. Used as a decorator, so that the file object is gone before it ends.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def tag_of(metadata: Mapping[str, Any], height: int, width: int, **more: Any) -> str:
    """What is written into a file beside its pixels, as JSON."""
    tag = {"software": "lamina", "size": [height, width], "metadata": dict(metadata), **more}
    try:
        return json.dumps(tag, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refusal(
            f"metadata {sorted(metadata)}: {error}: the tag holds only finite numbers, words, "
            "lists and tables; convert the value first."
        ) from error


@_set_aside()
def _encode(frames: NDArray[np.uint8], rate: Fraction, tag: str, path: Path) -> None:
    codec, container, options = CODECS[path.suffix.lower()]
    with iio.imopen(path, "w", plugin=PyAVPlugin, options=container) as file:
        file.init_video_stream(codec, fps=float(rate), pixel_format="yuv420p")
        stream: Any = file._video_stream  # imageio has no public way to the encoder's own options
        stream.options = options
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace = 6  # BT.601, which the RGB conversion used; players
        stream.codec_context.color_range = 1  # guess BT.709 for large frames when it is not said
        file.container_metadata["comment"] = tag
        for frame in frames:
            file.write_frame(frame)


def verify_as_shown(clip: Clip, path: Path, look: Callable[[Path], Footage] = look) -> None:
    """Read ``path`` back and raise unless count, size, rate and pixels are the clip's."""
    try:
        footage = look(path)
        seen = kept(footage)
        found, wrote = (*seen.frames.shape[:3], seen.rate), (*clip.frames.shape[:3], clip.rate)
        if found != wrote:
            raise RuntimeError(f"decoded {found}: wrote {wrote}")
        compare(clip.frames, seen.frames)
    except (RuntimeError, AssertionError, Refusal) as error:
        raise RuntimeError(f"{error}; {NO_TRUST}") from error


def _verify(clip: Clip, path: Path) -> None:
    """Decode ``path`` and raise unless count, size, rate and pixels are the clip's."""
    count, height, width, _ = clip.frames.shape
    padded = (count, height + height % 2, width + width % 2)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        first = _unpadded_row_bytes(reader.next().asnumpy())
        found, rate = (
            (len(reader), *first.shape[:2]),
            Clip(first[None], reader.get_avg_fps()).rate,
        )
        if found != padded or rate != clip.rate:
            raise RuntimeError(f"decoded {found} at {rate} fps: wrote {padded} at {clip.rate}")
        rest = (_unpadded_row_bytes(reader.next().asnumpy()) for _ in range(1, count))
        compare(clip.frames, chain([first], rest))
    except (RuntimeError, AssertionError, StopIteration, decord.DECORDError, Refusal) as error:
        raise RuntimeError(f"{error}; {NO_TRUST}") from error


def _unpadded_row_bytes(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) from what decord returns, which is (H, W, 4) or more at some widths.

    decord takes the padded length of a row divided by its width for the number of channels
    (dmlc/decord issue 336): 32 x 32 comes as 6 channels of sheared pixels, and batches fail.
    """
    height, width, _ = frame.shape
    return frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3).copy()


def _fitted(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = max(frames.shape[1:3])
    larger, smaller = max(1, PREVIEW_SIDE // side), max(1, math.ceil(side / (2 * PREVIEW_SIDE)))
    return frames.repeat(larger, 1).repeat(larger, 2)[:, ::smaller, ::smaller]
