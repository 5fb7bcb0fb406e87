"""Several clips of one request: each with its own seed, which the request's decides."""

import hashlib
from pathlib import Path
from typing import Any, Final

from core.refusal import Refusal
from video.request import VideoRequest

MOST: Final = 64
SEEDS: Final = 2**31


def checked_count(count: Any) -> int:
    """How many clips, as a number.

    Raises:
        Refusal: It is none from 1 to 64.
    """
    try:
        number = 0 if isinstance(count, bool) else int(str(count))
    except ValueError:
        number = 0
    if not 1 <= number <= MOST:
        raise Refusal(
            f"count={str(count)[:40]}: of one prompt 1 to {MOST} clips are drawn; give such a "
            "number, or name the prompt again."
        )
    return number


def seed_of(seed: int, number: int) -> int:
    """The seed of the clip of this number, counted from 0, which has the seed itself."""
    if not number:
        return seed
    digest = hashlib.sha256(f"several {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:8]) % SEEDS


def seeded(request: VideoRequest, count: int) -> list[VideoRequest]:
    """Requests that differ in their seeds, the first as it is.

    Raises:
        Refusal: It is no number from 1 to 64.
    """
    return [
        request.model_copy(update={"seed": seed_of(request.seed, place)})
        for place in range(checked_count(count))
    ]


def several(request: VideoRequest, target: Path, count: int) -> list[tuple[VideoRequest, Path]]:
    """Requests that differ in their seeds, and their files: OUT-1.mp4, OUT-2.mp4 ...

    Args:
        request: Of the first.
        target: The file; where there is one alone, its own.
        count: How many.

    Raises:
        Refusal: It is no such number, or the target has no name.
    """
    requests = seeded(request, count)
    if len(requests) == 1:
        return [(request, target)]
    if target.name in ("", ".."):
        raise Refusal(
            f"{target} is a folder: a result is a file, and several have numbers after its name; "
            "add a file name, such as out.mp4."
        )
    digits = len(str(len(requests)))
    return [
        (one, target.with_stem(f"{target.stem}-{number:0{digits}}"))
        for number, one in enumerate(requests, 1)
    ]
