"""Boxes that a person drew: where things are to be, frame by frame, as a JSON file says it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.refusal import Refusal

MOST_BYTES, MOST_THINGS = 2_000_000, 64
EXAMPLE = (
    '{"things": [{"shape": "circle", "color": "red", "boxes": {"0": [4, 24, 20, 40], "15": '
    "[44, 24, 60, 40]}}]}"
)


Number = Annotated[float, Field(strict=True)]  # neither true nor "4"


class BoxedThing(BaseModel):
    """A thing and its boxes.

    Attributes:
        shape: A word of the procedural world; empty for what the prompt says.
        color: Likewise.
        boxes: Frame to left, top, right and bottom in pixels; between two it moves evenly.
    """

    model_config = ConfigDict(extra="forbid")

    shape: str = ""
    color: str = ""
    boxes: dict[int, tuple[Number, Number, Number, Number]] = Field(min_length=1)

    @field_validator("boxes", mode="before")
    @classmethod
    def _frames_are_counted(cls, boxes: Any) -> Any:
        for frame in boxes if isinstance(boxes, dict) else ():
            if not re.fullmatch(r"0|-?[1-9][0-9]{0,8}", str(frame)):
                raise ValueError(f"{str(frame)[:20]!r} is no number of a frame")
        return boxes


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    things: list[BoxedThing] = Field(min_length=1, max_length=MOST_THINGS)


@dataclass(frozen=True, eq=False)
class Boxes:
    """A thing's box in every frame.

    Attributes:
        shape: A word of the world, or empty.
        color: Likewise.
        sides: (T, 4) left, top, right, bottom.
    """

    shape: str
    color: str
    sides: NDArray[np.float64]


def read_boxes(path: Path, frames: int, height: int, width: int) -> list[Boxes]:
    """The boxes of a file, in every frame of a clip.

    Before the first frame that is named, and after the last, a box stands still.

    Args:
        path: JSON file, as in `EXAMPLE`.
        frames: Of the clip.
        height: In pixels.
        width: In pixels.

    Raises:
        Refusal: It is no such file, or a box lies outside of the clip.
    """
    return [_even(path, thing, frames, height, width) for thing in _things(path)]


def _things(path: Path) -> list[BoxedThing]:
    try:
        if not path.is_file():
            raise Refusal(
                f"boxes={path}: no such file: boxes stand in a JSON file; check the name."
            )
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        told = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_table)
        return _File.model_validate(told).things
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        why = f"{place[:100]}: {first['msg'].removeprefix('Value error, ')[:100]}"
    except Refusal:
        raise
    except (OSError, ValueError, RecursionError) as error:
        why = str(error)[:200]
    raise Refusal(f"boxes={path} cannot be read ({why}): boxes are written as {EXAMPLE}; do so.")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of JSON, of which no name stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands there twice")
    return made


def _even(path: Path, thing: BoxedThing, frames: int, height: int, width: int) -> Boxes:
    places = sorted(thing.boxes)
    for place in places:
        left, top, right, bottom = thing.boxes[place]
        if not 0 <= place < frames:
            raise Refusal(
                f"boxes={path}: a box at frame {place}: the clip has frames 0 to {frames - 1}; "
                "move the box."
            )
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise Refusal(
                f"boxes={path}: the box {[left, top, right, bottom]} at frame {place}: left, top, "
                f"right and bottom lie in this order within the {width} x {height} pixels; move "
                "the box."
            )
    rows = np.array([thing.boxes[place] for place in places], float)
    sides = [np.interp(np.arange(frames), places, column) for column in rows.T]
    return Boxes(thing.shape, thing.color, np.stack(sides, 1))
