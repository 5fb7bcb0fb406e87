"""Video files as they are meant to be seen: the only door to PyAV, which reads them.

Edit lists, turned pictures, oblong pixels and uneven times are followed here, one frame in
memory at a time. PyAV and not decord, which takes none of these into account and ends the process
at a damaged header; decord still reads back what was just written.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image

from core.refusal import Refusal
from video.files.upright import turn_of
from video.files.wholeness import refuse_torn

LEAST_FPS, MOST_FPS = 0.1, 240
LARGEST_SIDE = 8192
MOST_BYTES = 1_000_000_000  # of frames that are kept of one clip
LONGEST_PAUSE_S, LONGEST_PAUSE = 1.0, 5  # seconds and usual steps; more is a gap in time
MOST_OBLONG = 8
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,yuv4mpegpipe"
"""Of containers; no playlists, which open other files."""
READ = "mp4, mov, mkv, webm, avi, ts, mpg, wmv, flv, ogv, gif, webp"
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")  # how such files begin
OPEN = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
DAMAGE = (av.FFmpegError, OSError, EOFError, ValueError, LookupError, ArithmeticError, MemoryError)


@dataclass(frozen=True)
class Footage:
    """What a video file shows, without its frames.

    Attributes:
        path: The file.
        fps: Frames per second, even.
        stored: Height and width of its frames as they are stored.
        repeats: How often each stored frame is shown, at that rate.
        pixel: Width of a pixel by its height.
        tag: What ``write_mp4`` put into the file; empty for a video from elsewhere.
    """

    path: Path
    fps: float
    stored: tuple[int, int]
    repeats: tuple[int, ...]
    pixel: Fraction
    tag: dict[str, Any]

    @property
    def count(self) -> int:
        """Frames that are shown."""
        return sum(self.repeats)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Each frame that is shown, (H, W, 3) RGB, upright, of square pixels, at its true size."""
        decoded = 0
        with refusing_damage(self.path), av.open(str(self.path.resolve()), options=OPEN) as file:
            whole = False
            for frame in file.decode(pictures_of(file)):
                if whole and frame.is_corrupt:
                    break
                whole = whole or not frame.is_corrupt
                if decoded == len(self.repeats) or (frame.height, frame.width) != self.stored:
                    break
                times, decoded = self.repeats[decoded], decoded + 1
                yield from [self._seen(frame)] * times if times else ()
        if decoded != len(self.repeats):
            raise unreadable(self.path)

    def _seen(self, frame: Any) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
        if self.pixel != 1:
            height, width = self.stored
            wide = max(1, round(width * max(self.pixel, 1)))
            tall = max(1, round(height / min(self.pixel, 1)))
            image = np.array(Image.fromarray(image).resize((wide, tall)))
        image = turn_of(frame).of(image)
        size = self.tag.get("size")
        if size in _true_sizes(*image.shape[:2]):
            image = image[: size[0], : size[1]]
        return np.ascontiguousarray(image)


def look(path: Path | str) -> Footage:
    """What a video file shows.

    Raises:
        Refusal: It is no video, it is damaged, or its times are no clip's.
    """
    path = Path(path)
    with _opened(path) as file:
        stream = pictures_of(file)
        if stream is None:
            raise Refusal(
                f"{path.name} holds no pictures that move: a clip has some, beside its sound; "
                "choose another file."
            )
        if stream.codec_context is None:  # which no decoder knows
            raise unreadable(path)
        stored = (stream.height, stream.width)
        if stored == (0, 0):  # nothing tells, as where a broadcast is cut in its middle
            raise unreadable(path)
        if not all(0 < side <= LARGEST_SIDE for side in stored):
            raise Refusal(
                f"{path.name} says that its frames have {stored[0]} x {stored[1]} pixels: sides "
                f"have 1 to {LARGEST_SIDE:,}; scale it or choose another file."
            )
        pixel = stream.sample_aspect_ratio or Fraction(1)
        if not 1 / MOST_OBLONG <= pixel <= MOST_OBLONG:
            raise Refusal(
                f"{path.name} says that its pixels are {pixel} times as wide as high: up to "
                f"{MOST_OBLONG} times can be made square; write it again with square pixels."
            )
        packets = list(file.demux(stream))
        refuse_torn(path, file, stream, packets)
        shown = [packet.pts for packet in packets if packet.size and not packet.is_discard]
        tick = float(stream.time_base or 0)
        times = np.sort([pts * tick for pts in shown if pts is not None])
        said = float(stream.average_rate or 0)
        tag = tag_in(_comment(file))
    if not shown:
        raise unreadable(path)
    fps, repeats = even(path, times if len(times) == len(shown) else times[:0], len(shown), said)
    return Footage(path, fps, stored, repeats, pixel, tag)


def read_tag(path: Path | str) -> dict[str, Any]:
    """What ``write_mp4`` put into the file; empty for a video from elsewhere."""
    with _opened(Path(path)) as file:
        return tag_in(_comment(file))


def refuse_if_large(footage: Footage, height: int, width: int) -> None:
    """Refuse what would fill the memory: ``height`` and ``width`` are those of the kept frames."""
    if (size := footage.count * height * width * 3) > MOST_BYTES:
        raise Refusal(
            f"{footage.path.name} has {footage.count:,} frames, {size / 1e9:.1f} GB in memory: "
            f"a clip has at most {MOST_BYTES / 1e9:g} GB; cut it into shorter ones."
        )


def even(
    path: Path, times: NDArray[np.float64], count: int, said: float
) -> tuple[float, tuple[int, ...]]:
    """The rate, and how often each frame is shown so that all pass at it."""
    span = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    fps, repeats = said, np.ones(count, dtype=int)
    if span > 0:
        mean = span / (count - 1)
        if not said or abs(said * span - (count - 1)) > 1:
            fps = 1 / mean
        off = np.abs(times - times[0] - mean * np.arange(count)).max()
        if off > mean / 2:  # a frame belongs to another place of the even grid
            fps, repeats = _resampled(path, times)
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise Refusal(
            f"{path.name} has {fps:.4g} frames per second: a clip has {LEAST_FPS} to {MOST_FPS}; "
            "write it again at a rate in that range, such as 8."
        )
    return fps, tuple(int(times) for times in repeats)


def _resampled(path: Path, times: NDArray[np.float64]) -> tuple[float, NDArray[np.int_]]:
    """The usual rate, and for each frame how many even places see it."""
    steps = np.diff(times)
    usual = float(np.median(steps[steps > 0]))
    longest = int(steps.argmax())
    if steps[longest] > max(LONGEST_PAUSE_S, LONGEST_PAUSE * usual):
        raise Refusal(
            f"{path.name} stands still for {steps[longest]:.1f} s after frame {longest + 1}, "
            f"where {usual:.3g} s are usual: a clip has no gap in time; cut it there into two."
        )
    places = round((times[-1] - times[0] + steps[-1]) / usual)  # the last as long as that before
    if places > 100 * len(times):
        raise Refusal(
            f"{path.name} has frames from {usual:.2g} to {steps[longest]:.2g} s apart: times so "
            "uneven are no clip's; write it again at an even rate."
        )
    middles = times[0] + (np.arange(places) + 0.5) * usual
    shown = np.searchsorted(times, middles, side="right") - 1
    return 1 / usual, np.bincount(shown, minlength=len(times))


@contextmanager
def begun(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """A file, the stream of its pictures, and the first of them.

    Raises:
        Refusal: Nothing of it can be decoded.
    """
    with _opened(path) as file:
        stream = pictures_of(file)
        frame = next(file.decode(stream), None) if stream is not None else None
        if frame is None:
            raise unreadable(path)
        yield file, stream, frame


def pictures_of(file: Any) -> Any:
    """The stream of a file's pictures that move; None where there are none."""
    found = file.streams.best("video")
    if found is not None and moves(found):
        return found
    return next(filter(moves, file.streams.video), None)


def moves(stream: Any) -> bool:
    """Whether a stream is no cover of a record."""
    return not stream.disposition & Disposition.attached_pic


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Refuse by name what the decoder cannot read."""
    try:
        yield
    except Refusal:
        raise
    except PermissionError as error:
        raise Refusal(f"{path.name} may not be read: change its permissions.") from error
    except DAMAGE as error:
        raise unreadable(path) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    refuse_no_file(path)
    with refusing_damage(path), av.open(str(path.resolve()), options=OPEN) as file:
        yield file


def refuse_no_file(path: Path) -> None:
    """Refuse what is no file that can be read from its beginning.

    Raises:
        Refusal: With the path.
    """
    if path.is_dir():
        raise Refusal(f"{path} is a folder: a clip is one file; name the file in it.")
    if not path.is_file():
        raise Refusal(f"{path}: there is no such file; check the name.")


def beginning_of(path: Path) -> bytes:
    """The first twelve bytes of a file; none of what is no file, or cannot be read."""
    if not path.is_file():  # a pipe would be waited for
        return b""
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError:
        return b""


def _comment(file: Any) -> str:
    """An mp4's comment; WebM writes the word in capitals."""
    return file.metadata.get("comment", "") or file.metadata.get("COMMENT", "")


def tag_in(comment: str) -> dict[str, Any]:
    """The tag that is written in a comment; empty for a comment from elsewhere."""
    try:
        tag = json.loads(comment)
    except (ValueError, RecursionError):
        return {}
    ours = isinstance(tag, dict) and tag.get("software") == "lamina"
    return tag if ours else {}


def _true_sizes(height: int, width: int) -> list[list[int]]:
    """Sizes that ``write_mp4`` pads to this one: a clip that was rescaled since has another."""
    return [
        [height - odd, width - other]
        for odd in ((0, 1) if height % 2 == 0 else (0,))
        for other in ((0, 1) if width % 2 == 0 else (0,))
    ]


def unreadable(path: Path) -> Refusal:
    """What to raise about a file that cannot be decoded."""
    with suppress(OSError), path.open("rb") as file:
        if file.read(4).startswith(PICTURES):
            return Refusal(
                f"{path.name} is a picture: a clip has frames that follow each other; name a "
                "video."
            )
    return Refusal(
        f"{path.name} cannot be decoded: it is not a video of a kind that is read ({READ}), or "
        "it is cut short; write it again or choose another file."
    )
