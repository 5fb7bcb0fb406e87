"""Pictures: clips of one frame, as PNG (every pixel as it was) or JPEG (small losses)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.progress import counted
from core.records import atomic_path
from core.refusal import Refusal
from video.files.clip import Clip, refuse_if_small, tag_of, verify_as_shown
from video.files.footage import (
    DAMAGE,
    LARGEST_SIDE,
    MOST_FPS,
    Footage,
    beginning_of,
    refuse_no_file,
    tag_in,
)

STILLS = (".png", ".jpg", ".jpeg")
BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
DESCRIPTION = 0x010E  # of an image, in EXIF
QUALITY = 95
LONGEST_TAG = 60_000  # characters; EXIF in a JPEG has one block of 64 KiB
FORMATS = ("PNG", "JPEG")


def write_still(
    clip: Clip, path: Path, *, metadata: Mapping[str, Any], overwrite: bool = False
) -> Path:
    """Write a clip of one frame as PNG or JPEG, by the name's ending; the verified path.

    Raises:
        Refusal: It has more frames, or the size or the metadata cannot be written as asked.
        RuntimeError: What was decoded back is not what was written.
    """
    count, height, width, _ = clip.frames.shape
    ending = path.suffix.lower()
    if count != 1:
        raise Refusal(
            f"{counted(count, 'frame')} in {path.name}: a {ending} file holds one frame; write "
            "one, or give a name ending in .mp4, .webm, .gif or .webp."
        )
    refuse_if_small(height, width)
    tag = tag_of(metadata, height, width, fps=str(clip.rate))
    if len(tag) > LONGEST_TAG and ending != ".png":
        raise Refusal(
            f"{path.name}: prompt and settings have {len(tag):,} characters, and a JPEG holds "
            f"{LONGEST_TAG:,} beside its picture; give a name ending in .png."
        )
    exif = Image.Exif()
    exif[DESCRIPTION] = tag
    kind, options = ("PNG", {}) if ending == ".png" else ("JPEG", {"quality": QUALITY})
    with atomic_path(path, overwrite=overwrite) as temporary:
        picture = Image.fromarray(clip.frames[0])
        picture.save(temporary, kind, exif=exif, **({"subsampling": 0} | options))
        verify_as_shown(clip, temporary, look_at_still)
    return path


def is_still(path: Path) -> bool:
    """Whether a file begins as a PNG or JPEG does, whatever its name says."""
    return beginning_of(path).startswith(BEGINNINGS)


def look_at_still(path: Path) -> Footage:
    """What a PNG or a JPEG shows, as a clip of one frame.

    Raises:
        Refusal: It is neither, it is damaged, or it is too large.
    """
    refuse_no_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            tag = tag_in(str(image.getexif().get(DESCRIPTION, "")))
    except (*DAMAGE, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error
    if max(width, height) > LARGEST_SIDE:
        raise Refusal(
            f"{path.name} says that it has {height} x {width} pixels: sides have 1 to "
            f"{LARGEST_SIDE:,}; scale it or choose another file."
        )
    return Still(path, _rate(tag), (height, width), (1,), Fraction(1), tag)


@dataclass(frozen=True)
class Still(Footage):
    """What a PNG or a JPEG shows, without its pixels."""

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The one frame, (H, W, 3) RGB, upright."""
        try:
            with Image.open(self.path, formats=FORMATS) as image:
                yield np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (*DAMAGE, SyntaxError, Image.DecompressionBombError) as error:
            raise _unreadable(self.path) from error


def _unreadable(path: Path) -> Refusal:
    return Refusal(
        f"{path.name} cannot be decoded: it is cut short or damaged, and a picture is read whole; "
        "make or save it again."
    )


def _rate(tag: Mapping[str, Any]) -> float:
    """Of the clip that it is a frame of; 1 where nothing tells."""
    try:
        rate = Fraction(str(tag["fps"]))
    except (KeyError, ValueError, ZeroDivisionError):
        return 1.0
    return float(rate) if Fraction(1, 10) <= rate <= MOST_FPS else 1.0
