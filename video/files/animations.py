"""GIF and animated WebP: clips that play wherever a picture is shown.

Both show each frame for a time of its own, in hundredths (GIF) or thousandths (WebP) of a second,
and keep frames that are the same as one. Times are laid so that no frame is off by more than half
such a step; the exact rate stands in the tag.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from core.progress import counted
from core.records import atomic_path
from core.refusal import Refusal
from video.files.clip import Clip, refuse_if_small, tag_of, verify_as_shown
from video.files.footage import (
    DAMAGE,
    LARGEST_SIDE,
    Footage,
    beginning_of,
    even,
    refuse_no_file,
    tag_in,
    unreadable,
)

FASTEST = {".gif": 50.0, ".webp": 90.0}
"""Ending to frames per second: browsers slow down what asks for more."""
TICK_MS = {".gif": 10, ".webp": 1}
LONGEST_S = {".gif": 655.0, ".webp": 16_000.0}  # one picture may be shown so long
UNTOLD_MS, USUAL_MS = 10, 100  # browsers show what asks for less, or for nothing, so long
DESCRIPTION = 0x010E  # of an image, in EXIF
QUALITY = 90
MOST_FRAMES = 100_000  # of one picture that is believed to stand so long


def refuse_rate(name: str, fps: float, num_frames: int) -> None:
    """Refuse a rate or length that a file of this name cannot hold; other endings hold all.

    Raises:
        Refusal: It is too fast, or too long.
    """
    ending = Path(name).suffix.lower()
    fastest = FASTEST.get(ending, math.inf)
    if fps > fastest:
        raise Refusal(
            f"fps={fps:g} in {name}: browsers show at most {fastest:g} frames of a {ending} file "
            "per second; ask for fewer, or give a name ending in .mp4 or .webm."
        )
    if num_frames / fps > LONGEST_S.get(ending, math.inf):
        raise Refusal(
            f"{counted(num_frames, 'frame')} at {fps:g} per second in {name}: a {ending} file "
            "holds at most "
            f"{LONGEST_S[ending]:,.0f} s; give a name ending in .mp4 or .webm."
        )


def write_animation(
    clip: Clip, path: Path, *, metadata: Mapping[str, Any], overwrite: bool = False
) -> Path:
    """Write a GIF or an animated WebP, by the name's ending, and return the verified path.

    A GIF has 256 colors a frame, dithered; WebP is written with small losses.

    Raises:
        Refusal: The size, the rate or the metadata cannot be written as asked.
        RuntimeError: What was decoded back is not what was written.
    """
    count, height, width, _ = clip.frames.shape
    refuse_if_small(height, width)
    refuse_rate(path.name, clip.fps, count)
    tag = tag_of(metadata, height, width, fps=str(clip.rate), frames=count)
    ending = path.suffix.lower()
    pictures = [Image.fromarray(frame) for frame in clip.frames]
    with atomic_path(path, overwrite=overwrite) as temporary:
        if ending == ".gif":
            pictures = [_dithered(picture) for picture in pictures]
            options: dict[str, Any] = {"comment": tag, "optimize": False}
        else:
            exif = Image.Exif()
            exif[DESCRIPTION] = tag
            options = {"exif": exif, "quality": QUALITY, "method": 4}
        pictures[0].save(
            temporary,
            save_all=True,
            append_images=pictures[1:],
            duration=_durations(count, clip.rate, TICK_MS[ending]),
            loop=0,
            **options,
        )
        verify_as_shown(clip, temporary, look_at_animation)
    return path


def is_animation(path: Path) -> bool:
    """Whether a file begins as a GIF or WebP does, whatever its name says."""
    begin = beginning_of(path)
    return begin.startswith(b"GIF8") or (begin[:4], begin[8:]) == (b"RIFF", b"WEBP")


def look_at_animation(path: Path) -> Footage:
    """What a GIF or a WebP shows, a still one as one frame.

    Raises:
        Refusal: It is neither, it is damaged, or its times are no clip's.
    """
    refuse_no_file(path)
    try:
        with Image.open(path, formats=["GIF", "WEBP"]) as image:
            width, height = image.size
            if max(image.size) > LARGEST_SIDE:
                raise Refusal(
                    f"{path.name} says that its frames have {height} x {width} pixels: sides "
                    f"have 1 to {LARGEST_SIDE:,}; scale it or choose another file."
                )
            tag = tag_in(_description(image))
            shown = [_milliseconds(frame) for frame in ImageSequence.Iterator(image)]
    except (*DAMAGE, SyntaxError, Image.DecompressionBombError) as error:
        raise error if isinstance(error, Refusal) else unreadable(path) from error
    ends = np.cumsum(shown) / 1000
    rate = _rate(tag)
    if len(shown) == 1:  # a still WebP does not tell how long it is shown
        fps, repeats = float(rate or 1), (_frames(tag),)
    elif rate:
        grid = [0, *(round(Fraction(float(end)) * rate) for end in ends)]
        fps, repeats = float(rate), tuple(int(step) for step in np.diff(grid))
    else:
        starts = np.array([0, *ends[:-1]])
        fps, repeats = even(path, starts, len(shown), len(shown) / float(ends[-1]))
    return Animation(path, fps, (height, width), repeats, Fraction(1), tag)


@dataclass(frozen=True)
class Animation(Footage):
    """What a GIF or a WebP shows, without its frames."""

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Each frame that is shown, (H, W, 3) RGB, at an even rate."""
        try:
            with Image.open(self.path, formats=["GIF", "WEBP"]) as image:
                each = zip(ImageSequence.Iterator(image), self.repeats, strict=True)
                for frame, times in each:
                    yield from [np.asarray(frame.convert("RGB"))] * times
        except (*DAMAGE, SyntaxError, Image.DecompressionBombError) as error:
            raise unreadable(self.path) from error


def _dithered(picture: Image.Image) -> Image.Image:
    palette = picture.quantize(256, method=Image.Quantize.MEDIANCUT)
    return picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


def _durations(count: int, rate: Fraction, tick_ms: int) -> list[int]:
    """Of each frame, in milliseconds, whole ticks that never drift from the rate."""
    ends = [round(1000 * k / rate / tick_ms) * tick_ms for k in range(count + 1)]
    return [end - start for start, end in itertools.pairwise(ends)]


def _description(image: Image.Image) -> str:
    comment = image.info.get("comment", b"")
    said = comment if comment else image.getexif().get(DESCRIPTION, "")
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _milliseconds(frame: Image.Image) -> float:
    frame.load()  # which is when a WebP tells how long
    told = float(frame.info.get("duration", 0))
    return told if told > UNTOLD_MS else USUAL_MS


def _frames(tag: Mapping[str, Any]) -> int:
    said = tag.get("frames")
    return said if isinstance(said, int) and 0 < said < MOST_FRAMES else 1


def _rate(tag: Mapping[str, Any]) -> Fraction | None:
    try:
        rate = Fraction(str(tag["fps"]))
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    return rate if 0 < rate <= max(FASTEST.values()) else None
