"""Regions of a clip to be painted: of a mask picture, a mask clip, or boxes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.progress import counted
from core.refusal import Refusal
from video.engines.boxes import read_boxes
from video.engines.pictures import opened

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
LIGHT = 128


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
        with opened("mask", path) as image:
            _refuse_other_size(path, (1, image.height, image.width), shape)
            found = np.asarray(image.convert("L"))[None]
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
    return _checked(f"mask={path}", hole)


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


def _refuse_other_size(path: Path, found: tuple[int, int, int], shape: tuple[int, ...]) -> None:
    frames, height, width = shape[:3]
    if found[1:] != (height, width) or found[0] not in (1, frames):
        raise Refusal(
            f"mask={path} has {counted(found[0], 'frame')} of {found[2]} x {found[1]}: the clip "
            f"has {frames} of {width} x {height}, "
            "and a mask has its size and 1 or as many frames; make it so."
        )


def _checked(name: str, hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not hole.any() or hole.all():
        word = "everything" if hole.all() else "nothing"
        raise Refusal(
            f"{name} marks {word}: what is marked is painted, and the rest is kept; mark a part "
            "of the clip."
        )
    return hole
