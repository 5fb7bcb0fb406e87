"""Frames that are given: pictures to begin from and to end on, kept bit for bit.

Engines draw frames that look like them; the clip has the pictures themselves, as they are at its
size.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.records import sha256_file
from core.refusal import Refusal
from video.engines.adapter_files import digest_of_input
from video.files.oddities import OPAQUE, UNSEEN
from video.request import VideoRequest

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MOST_PIXELS, MOST_BYTES = 64_000_000, 200_000_000
PLACES = {"first": 0, "last": -1}
"""Fields that name pictures, and the frame that each is."""
KEY = "key_"
"""Before the number of a frame: how the pictures of other frames are named."""


@dataclass(frozen=True)
class Given:
    """A frame that is given.

    Attributes:
        pixels: (H, W, 3) of uint8, at the clip's size.
        facts: For the record.
    """

    pixels: NDArray[np.uint8]
    facts: dict[str, Any]

    @property
    def image(self) -> Image.Image:
        """As pipelines take it."""
        return Image.fromarray(self.pixels)

    @property
    def png(self) -> bytes:
        """As servers take it."""
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()


def frame_of(field: str) -> int:
    """The frame that a picture is, by its field; ``key_8`` is frame 8."""
    return PLACES[field] if field in PLACES else int(field.removeprefix(KEY))


def is_frame(field: str) -> bool:
    """Whether a field, as inputs are named, is a picture that stands as a frame of the clip."""
    return field in PLACES or field.startswith(KEY)


def named(request: VideoRequest) -> dict[str, Path]:
    """The pictures that a request names, by field."""
    told = {field: getattr(request, field) for field in PLACES}
    told |= {f"{KEY}{frame}": path for frame, path in (key.split("=", 1) for key in request.key)}
    return {field: Path(path).expanduser() for field, path in told.items() if path}


def digests(request: VideoRequest) -> dict[str, str]:
    """SHA-256 of each, by field; of an adapter with its settings, too."""
    files = named(request) | ({"lora": Path(request.lora)} if request.lora else {})
    return {field: digest_of_input(field, p.expanduser()) for field, p in files.items()}


def check_pictures(request: VideoRequest) -> None:
    """Refuse pictures that cannot be read, or of frames that there are not; pixels are not read.

    Raises:
        Refusal: With the field.
    """
    count, known = request.num_frames, named(request)
    ends = {0: "first", count - 1: "last"}
    for frame in (frame_of(field) for field in known if field not in PLACES):
        if count and frame >= count:
            raise Refusal(
                f"key={frame}= with num_frames={count}: the clip has frames 0 to {count - 1}; "
                "name one of these, or ask for more frames."
            )
        if count and (field := ends.get(frame, "")) in known:
            raise Refusal(
                f"key={frame}= beside {field}=: a frame is one picture; leave one of them out."
            )
    if count and len(known) >= count:
        raise Refusal(
            f"num_frames={count} with pictures of {len(known)}: some frame is left to draw; ask "
            "for more frames, or leave a picture out."
        )
    for field, path in named(request).items():
        with opened(field, path):
            pass


def given(request: VideoRequest) -> dict[str, Given]:
    """The pictures at the size of the clip, by field: scaled to fill it, what laps over cut off.

    Args:
        request: Settled.

    Raises:
        Refusal: One cannot be read.
    """
    size = request.width, request.height
    return {field: fitted(field, path, size) for field, path in named(request).items()}


def fitted(field: str, path: Path, size: tuple[int, int]) -> Given:
    """A picture at a size: scaled to fill it, what laps over cut off.

    Args:
        field: That names it.
        path: Of its file.
        size: Width and height.

    Raises:
        Refusal: It cannot be read.
    """
    try:
        with opened(field, path) as image:
            upright, odd = _upright(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise unreadable(field, path, str(error)) from error
    before = upright.size
    if before != size:
        upright = ImageOps.fit(upright, size, Image.Resampling.LANCZOS)
    facts: dict[str, Any] = {"sha256": sha256_file(path)}
    if before != size:
        facts["scaled_from"] = f"{before[0]} x {before[1]}"
    if odd:
        facts["read"] = odd
    return Given(np.array(upright), facts)


def _upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """A picture in RGB as a camera held it, and what of it is read otherwise than it stands."""
    said = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        said.append(f"the first of {frames} pictures in the file")
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        values = np.asarray(turned)
        said.append("16 bits a value are read as 8")
        turned = Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8))
    if turned.has_transparency_data and np.asarray(turned.convert("RGBA"))[..., 3].min() < OPAQUE:
        said.append(UNSEEN)
    return turned.convert("RGB"), said


def paste(frames: NDArray[np.uint8], pictures: Mapping[str, Given]) -> dict[str, Any]:
    """Put the given frames in their places; how far the drawn ones were from them.

    Args:
        frames: (T, H, W, 3), changed.
        pictures: What ``given`` gave.
    """
    told = {}
    for field, picture in pictures.items():
        place = frame_of(field)
        drawn = frames[place].astype(np.int16)
        off = float(np.abs(drawn - picture.pixels).mean())
        frames[place] = picture.pixels
        kept = {"kept_bit_for_bit": "before watermark and encoding"}
        told[field] = picture.facts | kept | {"drawn_off_by": round(off, 2)}
    return {"given_frames": told} if told else {}


def opened(field: str, path: Path) -> Image.Image:
    """A picture whose size is known to be no bomb; its pixels are not read.

    Raises:
        Refusal: It is none.
    """
    try:
        if not path.is_file():
            raise Refusal(f"{field}={path}: no such file: a picture is named; check the name.")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, {MOST_BYTES:,} at most")
        image = Image.open(path, formats=FORMATS)
    except Refusal:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise unreadable(field, path, str(error)) from error
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise unreadable(field, path, f"{image.width} x {image.height} pixels")
    return image


def unreadable(field: str, path: Path, why: str) -> Refusal:
    """What is said of a picture that cannot be read."""
    return Refusal(
        f"{field}={path} cannot be read ({why[:200]}): a picture is {', '.join(FORMATS)} of at "
        f"most {MOST_PIXELS / 1e6:g} million pixels; save it again as PNG."
    )
