"""Which number a clip carries in its pixels, and what its record says of that."""

import hashlib
import json
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from video.files.clip import Clip
from video.files.footage import Footage
from video.provenance.watermark import LEAST_SIDE, fits, marked, read_mark
from video.request import VideoRequest

COUNTED = {"prompt", "negative", "seed", "steps", "guidance", "num_frames", "height", "width"}
LOOKED_AT = 8
TOO_SMALL = f"none: too small to carry one, which takes {LEAST_SIDE} pixels on each side"
LEFT_OUT = "none: left out as asked"


def number_of(request: VideoRequest) -> int:
    """The number of a request with nothing left open: equal ones have one, wherever they run."""
    told = json.dumps(request.model_dump(mode="json", include=COUNTED), sort_keys=True)
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:4])


def as_written(request: VideoRequest, clip: Clip) -> tuple[Clip, dict[str, Any]]:
    """The clip with its number in the pixels, and what the tag says of it.

    Args:
        request: With nothing left open.
        clip: As it was drawn.
    """
    if request.unmarked or not fits(*clip.frames.shape[1:3]):
        return clip, {}
    number = number_of(request)
    found = replace(clip, frames=marked(clip.frames, number))
    return found, {"watermark": f"{number:08x}"}


def said_of_mark(request: VideoRequest, footage: Footage) -> str:
    """What a record says: the number, whether the file shows it, or why there is none.

    Args:
        request: With nothing left open.
        footage: Of the file.
    """
    if not fits(request.height, request.width):
        return TOO_SMALL
    if request.unmarked:
        return LEFT_OUT
    found = read_mark(np.stack(list(islice(footage.frames(), LOOKED_AT))))
    number = f"{number_of(request):08x}"
    return number if found and found.hex == number else f"{number}, not readable in this file"
