"""Which number a clip carries in its pixels, and what its record says of that."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from core.operations.operation import Cost
from video.files.clip import Clip
from video.files.footage import Footage
from video.provenance.watermark import LEAST_SIDE, fits, marked, read_mark
from video.request import VideoRequest

PLACES = {
    "engine", "model", "first", "last", "key", "lora", "boxes", "control", "control_clip",
    "reference", "unmarked",
}  # fmt: skip
"""Fields that say where something stands, which its digest tells, or whether to mark."""
SECONDS_A_PIXEL, BYTES_A_PIXEL = 6e-8, 3
LOOKED_AT = 8
TOO_SMALL = f"none: too small to carry one, which takes {LEAST_SIDE} pixels on each side"
LEFT_OUT = "none: left out as asked"


def number_of(request: VideoRequest, digests: Mapping[str, Any]) -> int:
    """The number of a request: equal ones have one, wherever they run and their files stand.

    Args:
        request: With nothing left open.
        digests: What tells its model and each of its files apart from others, by plain values.
    """
    told = request.model_dump(mode="json", exclude=PLACES) | {"digests": dict(digests)}
    told["fps"] = round(request.fps, 3)  # as files tell it
    return int.from_bytes(hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()[:4])


def with_marking(request: VideoRequest, cost: Cost) -> Cost:
    """What a clip takes with the number put into its pixels.

    Args:
        request: With nothing left open.
        cost: Without.
    """
    if request.unmarked or not fits(request.height, request.width):
        return cost
    pixels = request.num_frames * request.height * request.width
    return replace(
        cost,
        seconds=cost.seconds + SECONDS_A_PIXEL * pixels,
        memory_gb=cost.memory_gb + BYTES_A_PIXEL * pixels / 1e9,
    )


def as_written(
    request: VideoRequest, clip: Clip, digests: Callable[[], Mapping[str, Any]]
) -> tuple[Clip, dict[str, Any]]:
    """The clip with its number in the pixels, and what the tag says of it.

    Args:
        request: With nothing left open.
        clip: As it was drawn.
        digests: Asked where there is a number; see ``number_of``.
    """
    if request.unmarked or not fits(*clip.frames.shape[1:3]):
        return clip, {}
    number = number_of(request, digests())
    found = replace(clip, frames=marked(clip.frames, number))
    return found, {"watermark": f"{number:08x}"}


def said_of_mark(
    request: VideoRequest, footage: Footage, digests: Callable[[], Mapping[str, Any]]
) -> str:
    """What a record says: the number, whether the file shows it, or why there is none.

    Args:
        request: With nothing left open.
        footage: Of the file.
        digests: Asked where there is a number; see ``number_of``.
    """
    if not fits(request.height, request.width):
        return TOO_SMALL
    if request.unmarked:
        return LEFT_OUT
    expected = number_of(request, digests())
    found = read_mark(np.stack(list(islice(footage.frames(), LOOKED_AT))), expected)
    number = f"{expected:08x}"
    return number if found and found.hex == number else f"{number}, not readable in this file"
