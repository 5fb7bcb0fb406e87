"""What of a clip is read otherwise than it stands in its file, for a person to know.

Everything here is a matter of course somewhere: a phone's times tremble, a camera's lines are of
two moments, a logo is cut out. It is read by one rule, and the rule is told.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from core.progress import counted
from video.files.animations import Animation
from video.files.footage import Footage, begun, moves, refusing_damage
from video.files.upright import turn_of

BRIGHT = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of pictures brighter than a usual screen."""
OPAQUE = 255
UNSEEN = "what is transparent in it is read as the color that lies beneath"


def oddities(footage: Footage) -> tuple[str, ...]:
    """One line for each, beginning with the file's name; none for most clips.

    Args:
        footage: What ``look`` or ``look_at_animation`` found.

    Raises:
        Refusal: It cannot be read any more.
    """
    find = _of_animation if isinstance(footage, Animation) else _of_video
    found = find(footage)
    return tuple(f"{footage.path.name}: {line}" for line in (*_of_times(footage), *found))


def odd_facts(lines: tuple[str, ...]) -> dict[str, Any]:
    """The same for a record; nothing where there is nothing to say."""
    return {"clip_read": list(lines)} if lines else {}


def _of_times(footage: Footage) -> list[str]:
    dropped = sum(times == 0 for times in footage.repeats)
    held = sum(times > 1 for times in footage.repeats)
    if "fps" in footage.tag or not (dropped or held):
        return []  # what is written here tells its own rate
    return [
        f"its times are uneven: at {footage.fps:.4g} frames per second "
        f"{dropped} of its {counted(len(footage.repeats), 'frame')} are left out and {held} "
        "are shown more than once"
    ]


def _of_animation(footage: Footage) -> list[str]:
    with refusing_damage(footage.path), Image.open(footage.path) as image:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        clear = image.has_transparency_data and bool(alpha.min() < OPAQUE)
    return [UNSEEN] if clear else []


def _of_video(footage: Footage) -> list[str]:
    with begun(footage.path) as (file, stream, frame):
        others = sum(each is not stream and moves(each) for each in file.streams.video)
        told = stream.metadata.get("alpha_mode") or stream.metadata.get("ALPHA_MODE")
        says = {
            f"it has {counted(others + 1, 'video')}: the one of {frame.width} x {frame.height} "
            "is read": bool(others),
            UNSEEN: told == "1" or any(part.is_alpha for part in frame.format.components),
            "its lines are of two moments (interlaced): they are read as they are woven": (
                frame.interlaced_frame
            ),
            f"its colors are those of a bright screen ({BRIGHT.get(int(frame.color_trc))}): they "
            "are read as they are stored": int(frame.color_trc) in BRIGHT,
            "it asks to be turned by no right angle: it is turned by the nearest": (
                not turn_of(frame).right
            ),
            f"its pixels are {_ratio(footage.pixel)} times as wide as high: they are made "
            "square": footage.pixel != 1,
        }
    return [line for line, holds in says.items() if holds]


def _ratio(pixel: Fraction) -> str:
    return f"{float(pixel):.4g}"
