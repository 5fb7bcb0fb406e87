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
NOISED = {"latents", "denoise_strength"}
"""Of pipelines that are handed the latents of a clip that is to be changed."""


def abilities_of(call: Collection[str]) -> tuple[Ability, ...]:
    """What of given pixels a pipeline takes, by the names of its arguments."""
    names = {*call}
    if names >= MASKED:
        return ("image", "last", "key", "clip", "mask")
    if names >= PLACED:
        more: tuple[Ability, ...] = ("clip", "strength") if names >= NOISED else ()
        return ("image", "last", "key", *more)
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
    names = {*call}
    can = names >= MASKED
    if canvas.strength:
        can = names >= CHANGED or names >= NOISED
    return can and len(canvas.frames) == num_frames


def shown_canvas(canvas: Canvas, pipe: Any, call: Collection[str]) -> dict[str, Any]:
    """The arguments that show a canvas: to be changed, or with what is to be drawn masked.

    Args:
        canvas: What is given.
        pipe: Loaded; for its encoder, where it takes latents.
        call: Its arguments.
    """
    if canvas.strength and {*call} >= NOISED:  # whose video and strength are a condition's
        return {"latents": _encoded(canvas.frames, pipe), "denoise_strength": canvas.strength}
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
        return shown_canvas(Canvas(frames, given), None, call)
    if {*call} >= PLACED:
        from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

        shown = sorted(places.items())
        return {"conditions": [LTXVideoCondition(one.image, None, at) for at, one in shown]}
    return {BY_NAME[field]: one.image for field, one in pictures.items()}


def _images(frames: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in frames]


def _encoded(frames: NDArray[np.uint8], pipe: Any) -> Any:
    """Latents of a clip on the scale of the walk, the likeliest, so that no chance comes in."""
    import torch

    vae = pipe.vae
    with torch.inference_mode():
        pixels = pipe.video_processor.preprocess_video(_images(frames), *frames.shape[1:3])
        found = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
        return pipe._normalize_latents(found, vae.latents_mean, vae.latents_std).float()
