"""How a pipeline is shown what is given of a clip: pictures, frames, regions, a clip to change.

By its own arguments, which tell what it can: a video with a mask, conditions at frames, a first
and a last picture, or a video with a strength. What is given is put back bit for bit afterwards,
whatever the pipeline made of it.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from video.engines.canvas import Canvas
from video.engines.engine import Ability
from video.engines.pictures import Given, frame_of
from video.request import VideoRequest

UNKNOWN = 127  # the gray that stands for what is to be drawn, as such networks were taught
BY_NAME: dict[str, str] = {"first": "image", "last": "last_image"}
MASKED, PLACED, CHANGED = {"video", "mask"}, {"conditions"}, {"video", "strength"}


def abilities_of(call: Collection[str]) -> tuple[Ability, ...]:
    """What of given pixels a pipeline takes, by the names of its arguments."""
    names = {*call}
    if names >= MASKED:
        return ("image", "last", "key", "clip", "mask")
    if names >= PLACED:
        return ("image", "last", "key")
    if names >= CHANGED:
        return ("clip", "strength")
    named: dict[str, Ability] = {"image": "image", "last_image": "last"}
    return tuple(ability for name, ability in named.items() if name in names)


def takes_whole(canvas: Canvas, num_frames: int, call: Collection[str]) -> bool:
    """Whether a pipeline draws a canvas as it is, all at once.

    Args:
        canvas: What is given.
        num_frames: Of what is asked; fewer or more than the canvas has are windows of it.
        call: The pipeline's arguments.
    """
    can = {*call} >= (CHANGED if canvas.strength else MASKED)
    return can and len(canvas.frames) == num_frames


def shown_canvas(canvas: Canvas) -> dict[str, Any]:
    """The arguments that show a canvas: to be changed, or with what is to be drawn masked."""
    if canvas.strength:
        return {"video": _images(canvas.frames), "strength": canvas.strength}
    hole = ~canvas.given
    frames = np.where(hole[..., None], np.uint8(UNKNOWN), canvas.frames)
    masks = np.repeat(hole[..., None], 3, -1).astype(np.uint8) * 255
    return {"video": _images(frames), "mask": _images(masks)}


def shown_pictures(
    request: VideoRequest, pictures: Mapping[str, Given], call: Collection[str]
) -> dict[str, Any]:
    """The arguments that show pictures that are frames; none for none.

    Args:
        request: Settled.
        pictures: By field.
        call: The pipeline's arguments.
    """
    if not pictures:
        return {}
    places = {frame_of(field) % request.num_frames: one for field, one in pictures.items()}
    if {*call} >= MASKED:
        shape = request.num_frames, request.height, request.width
        frames, given = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
        for place, one in places.items():
            frames[place], given[place] = one.pixels, True
        return shown_canvas(Canvas(frames, given))
    if {*call} >= PLACED:
        from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

        shown = sorted(places.items())
        return {"conditions": [LTXVideoCondition(one.image, None, at) for at, one in shown]}
    return {BY_NAME[field]: one.image for field, one in pictures.items()}


def _images(frames: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in frames]
