"""Regions of a clip to be painted: of a mask picture, a mask clip, or boxes."""

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

from core.progress import counted
from core.refusal import Refusal
from video.engines.boxes import read_boxes
from video.engines.pictures import opened, unreadable

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
LIGHT = 128
ORIENTATION, SIDEWAYS = 0x0112, 5  # of EXIF: from here on rows are columns
PHOTOS = "MPO"  # a JPEG with further ones behind it, as phones write


def region_of_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where a mask is light, (T, H, W).

    Args:
        path: A picture, which holds for all frames, or a clip with as many.
        shape: (T, H, W, 3) of the clip.

    Raises:
        Refusal: It cannot be read, has another size, or is dark or light all over.
    """
    frames, height, width = shape[:3]
    if path.suffix.lower() in PICTURES:
        found = _pictures(path, shape)
    else:
        from video.files.formats import look_at

        footage = look_at(path)
        found = np.empty((footage.count, 0, 0), np.uint8)
        for index, frame in enumerate(footage.frames()):
            if not index:
                _refuse_other_size(path, (footage.count, *frame.shape[:2]), shape)
                found = np.empty((footage.count, *frame.shape[:2]), np.uint8)
            found[index] = np.asarray(Image.fromarray(frame).convert("L"))
    hole = np.broadcast_to(found >= LIGHT, (frames, height, width))
    lightest = int(found.max())
    return _checked(f"mask={path}", hole, f" (its lightest pixel is {lightest} of 255)")


def region_of_boxes(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """What lies in any of the boxes of a file, (T, H, W).

    Raises:
        Refusal: It is no such file, or a box lies outside of the clip.
    """
    frames, height, width = shape[:3]
    hole = np.zeros((frames, height, width), bool)
    for boxes in read_boxes(path, frames, height, width):
        for frame, (left, top, right, bottom) in zip(hole, boxes.sides, strict=True):
            frame[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    return _checked(f"boxes={path}", hole)


def _pictures(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """How light each pixel of a file's pictures is, (pictures, H, W), as they are seen.

    What can be seen through is dark, and the pictures of a file are the frames of a clip; those
    behind a phone's photo are not.
    """
    with opened("mask", path) as image:
        count = 1 if image.format == PHOTOS else int(getattr(image, "n_frames", 1))
        _refuse_other_size(path, (count, *_size(image)), shape)
        seen: list[NDArray[np.uint8]] = []
        try:
            for page, each in enumerate(islice(ImageSequence.Iterator(image), count), 1):
                if _size(each) != shape[1:3]:
                    raise _other_page(path, page, _size(each), shape)
                seen.append(_light(each))
        except Refusal:
            raise
        except (OSError, ValueError, SyntaxError) as error:
            raise unreadable("mask", path, str(error)) from error
    return np.stack(seen)


def _size(image: Image.Image) -> tuple[int, int]:
    """Height and width as it is seen."""
    turned = image.getexif().get(ORIENTATION, 1) >= SIDEWAYS
    return (image.width, image.height) if turned else (image.height, image.width)


def _other_page(path: Path, page: int, found: tuple[int, int], shape: tuple[int, ...]) -> Refusal:
    height, width = shape[1:3]
    return Refusal(
        f"mask={path} has {found[1]} x {found[0]} on page {page}: the clip has {width} x "
        f"{height}, and so has each page of a mask; remove that page or make it so."
    )


def _light(image: Image.Image) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I;16", "I", "F")):  # 16 bits, or numbers of any size
        found = np.nan_to_num(np.asarray(upright, float)).clip(0)
        scales = (255, 65535) if upright.mode.startswith("I") else (1, 255, 65535)
        most = next((scale for scale in scales if found.max() <= scale), found.max())
        return (found / most * 255).round().astype(np.uint8)
    clear = upright.convert("RGBA")
    dark = Image.new("RGBA", clear.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(dark, clear).convert("L"))


def _refuse_other_size(path: Path, found: tuple[int, int, int], shape: tuple[int, ...]) -> None:
    frames, height, width = shape[:3]
    if found[1:] != (height, width) or found[0] not in (1, frames):
        raise Refusal(
            f"mask={path} has {counted(found[0], 'frame')} of {found[2]} x {found[1]}: the clip "
            f"has {frames} of {width} x {height}, "
            "and a mask has its size and 1 or as many frames; make it so."
        )


def _checked(name: str, hole: NDArray[np.bool_], lightest: str = "") -> NDArray[np.bool_]:
    if not hole.any() or hole.all():
        word = "everything" if hole.all() else f"nothing{lightest}"
        raise Refusal(
            f"{name} marks {word}: what is marked is painted, and the rest is kept; mark a part "
            "of the clip."
        )
    return hole
