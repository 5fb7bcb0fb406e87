"""Text to video on one page: read the prompt, lay it out, walk the noise down, make frames.

The stages are plain functions, so that the command line calls them in a row and a flow can place
each where it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.families.walking import reachable, usual_walk
from core.models.checkpoints import find_model, load_model
from core.networks.conditioned import ConditionedNetwork
from core.progress import RESUMED, counted
from core.refusal import Refusal
from core.sampling.guidance import guided
from core.sampling.path import Denoise
from core.sampling.samplers import SAMPLERS, OnStep, Walk
from core.sampling.schedules import shifted
from core.seeds import noise
from core.tensors import Regridded, Volumes
from video.engines.layouts import CHANNELS, TRIES, draw_layouts, fits, sketch
from video.engines.text import TextEncoder
from video.files.clip import Clip
from video.request import VideoRequest
from video.runner.layouts import painting_scale
from video.world.scene_table import SLOTS
from video.world.scenes import NUM_FRAMES

SHIFT = 8.0
"""Steps dwell near noise: a clip is so redundant that motion is settled above t = 0.8."""

PAINTING_GUIDANCE = 1.5
"""Guidance by layout and prompt together while painting, at most: outlines come out sharper."""

BESIDE = "boxes", "first", "last", "key", "control_clip", "reference"
"""Fields that say where or what things are, so that no negative prompt does."""


@dataclass(frozen=True)
class VideoModel:
    """A loaded video network with its text encoder.

    Attributes:
        network: Ready to sample.
        record: What is known of it.
        encoder: Reads prompts; frozen.
    """

    network: ConditionedNetwork
    record: dict[str, Any]
    encoder: TextEncoder = field(default_factory=TextEncoder)

    @classmethod
    def load(cls, name: str, *, device: str | torch.device = "cpu") -> VideoModel:
        """An installed model by name."""
        network, record = load_model(find_model(name, "video"), device=device)
        return cls(network, record)


def embed(request: VideoRequest, encoder: TextEncoder) -> Conditioning:
    """What the network is told: text states, frame spacing in seconds, guidance."""
    tokens, mask = encoder.encode([request.prompt])
    return Conditioning(
        tokens=tokens,
        token_mask=mask,
        spacing=torch.tensor([[1 / request.fps, 1.0, 1.0]]),
        guidance=torch.tensor([request.guidance]),
    )


def laid_out(cond: Conditioning, network: ConditionedNetwork, start: Volumes) -> Conditioning:
    """The same with sketches of the prompts' layouts, where the network can draw some.

    Sketches that are given already are kept, and a control stands in the place of one; so does a
    reference, but for one that is shown to the layouts: then it stands in their sketch.

    Args:
        cond: What is asked.
        network: Of clips, with its layout network.
        start: (B, 3, D, H, W) the clips' noise.
    """
    told = cond.sketch is not None or cond.control is not None
    if told or network.layouts is None or not fits(start.shape):
        return cond
    if cond.reference is not None and getattr(network.layouts, "reference", None) is None:
        return cond
    found = draw_layouts(network.layouts, cond, layout_noise(start))
    return replace(cond, sketch=sketch(found), reference=None)


def led_away(
    request: VideoRequest, cond: Conditioning, network: ConditionedNetwork, encoder: TextEncoder
) -> Conditioning:
    """The same with the sketch of a layout that is led away from the negative prompt, if any.

    Negative prompts: what guidance pushes away from is another prompt instead of none.

    Raises:
        Refusal: No layout of such a clip is drawn, or guidance pushes away from nothing.
    """
    if not request.negative:
        return cond
    size = request.num_frames, request.height, request.width
    refuse_negative(request, draws_layouts=network.layouts is not None)
    assert network.layouts is not None
    away = embed(request.model_copy(update={"prompt": request.negative}), encoder)
    start = noise((3, *size), request.seed).to(network.device)
    cond = cond.to(network.device)
    starts = layout_noise(start)
    found = draw_layouts(network.layouts, cond, starts, away=away.to(network.device))
    return replace(cond, sketch=sketch(found))


def refuse_negative(request: VideoRequest, *, draws_layouts: bool) -> None:
    """Refuse a negative prompt that would count for nothing.

    Raises:
        Refusal: In three parts.
    """
    said = f"negative={request.negative[:60]}"
    if not (draws_layouts and fits((request.num_frames, request.height, request.width))):
        raise Refusal(
            f"{said} with {counted(request.num_frames, 'frame')} of {request.width} x "
            f"{request.height} by "
            f"{request.model}: a model of ours is led away from words while it lays out clips of "
            f"{NUM_FRAMES} frames of 64 x 64; leave negative out, or leave the size out."
        )
    if request.guidance <= 1:
        raise Refusal(
            f"{said} with guidance={request.guidance:g}: what is led away from counts where "
            "guidance is above 1; ask for more, or leave negative out."
        )
    if others := [name for name in BESIDE if getattr(request, name)]:
        raise Refusal(
            f"{said} beside {others[0]}=: what is laid out by {others[0]} is led away from "
            "nothing; leave one of the two out."
        )


def refuse_in_latents(request: VideoRequest) -> None:
    """Refuse, for a model that works on latents, what is defined on pixels.

    Raises:
        Refusal: Something beside the prompt says what the clip shows.
    """
    if said := [name for name in BESIDE if getattr(request, name)]:
        raise Refusal(
            f"{said[0]}= with model={request.model}: it works on latents, in which no pixel is "
            f"held as it was given; leave {said[0]} out, or name a model of pixels."
        )


def layout_noise(start: Volumes) -> Float[Tensor, "B N K 16 3 1"]:
    """The noise of the layouts: a small part of that of the clips, so that one seed decides."""
    shape = TRIES, CHANNELS, NUM_FRAMES, SLOTS, 1
    return start.flatten(1)[:, : prod(shape)].unflatten(1, shape)


def painting(
    network: ConditionedNetwork, cond: Conditioning, record: dict[str, Any], *, steps: int
) -> Denoise:
    """The guided network: guidance inside where it was trained in, outside otherwise.

    What a prompt asks for stands in the sketch of its layout, which was drawn with guidance.
    Painting after one is guided less, and away from a clip of which nothing is known at all.

    Args:
        network: Of clips.
        cond: What it is told, with its guidance.
        record: What is known of the network.
        steps: Of the walk.
    """
    if record.get("guidance_trained_in", False):
        return denoiser(network, cond)
    assert cond.guidance is not None
    scale = float(cond.guidance[0])
    plain = replace(cond, guidance=None)
    if cond.sketch is not None:
        scale = painting_scale(scale, PAINTING_GUIDANCE, steps)
    nothing = replace(plain.null(), sketch=None)
    return guided(denoiser(network, plain), denoiser(network, nothing), scale)


@torch.inference_mode()
def sample(
    request: VideoRequest,
    cond: Conditioning,
    network: ConditionedNetwork,
    record: dict[str, Any],
    *,
    on_step: OnStep = lambda done, total, estimate: None,
    walk: Walk | None = None,
) -> Volumes:
    """One clip in [-1, 1], (1, 3, D, H, W); the seed alone decides the noise."""
    shape = (3, request.num_frames, request.height, request.width)
    start = noise(network.noise_shape(shape), request.seed)
    return sample_from(start, request, cond, network, record=record, on_step=on_step, walk=walk)


@torch.inference_mode()
def sample_from(
    start: Volumes,
    request: VideoRequest,
    cond: Conditioning,
    network: ConditionedNetwork,
    *,
    record: dict[str, Any],
    on_step: OnStep = lambda done, total, estimate: None,
    walk: Walk | None = None,
) -> Regridded:
    """Clips in [-1, 1] from given noise, one per row of ``cond``.

    The noise is (B, 3, D, H, W), or of the latents that the network works on.
    ``walk`` stands in the place of the sampler that the request names.
    """
    device = next(network.parameters()).device
    start, cond = start.to(device), cond.to(device)
    denoise = painting(network, laid_out(cond, network, start), record, steps=request.steps)
    walk = walk or walk_of(request, network)
    levels = reachable(network, shifted(request.steps, shift=SHIFT))

    def shown(z: Volumes) -> Regridded:
        return network.pixels(z, (request.num_frames, request.height, request.width))

    def step(done: int, total: int, estimate: Any) -> None:
        said: Any = RESUMED if estimate is RESUMED else shown(estimate)
        on_step(done, total, said)

    return shown(walk(denoise, start, levels, on_step=step))


def walk_of(request: VideoRequest, network: ConditionedNetwork) -> Walk:
    """The sampler that was asked for; where nobody did, that of the network's family."""
    usual = VideoRequest.model_fields["sampler"].default
    if request.sampler != usual:
        return SAMPLERS[request.sampler].walk
    return usual_walk(network, request.seed)


def to_frames(x: Volumes) -> Tensor:
    """(1, 3, D, H, W) in [-1, 1] -> (D, H, W, 3) uint8, rounded."""
    levels = (x[0].float().clamp(-1, 1) + 1) * 127.5
    return levels.round().to(torch.uint8).permute(1, 2, 3, 0).cpu()


def generate(
    request: VideoRequest,
    model: VideoModel,
    *,
    on_step: OnStep = lambda done, total, estimate: None,
) -> Clip:
    """A clip of what the prompt says."""
    cond = led_away(request, embed(request, model.encoder), model.network, model.encoder)
    x = sample(request, cond, model.network, model.record, on_step=on_step)
    return Clip(to_frames(x).numpy(), frame_rate(request))


def frame_rate(request: VideoRequest) -> float:
    """The rate the clip is given: that asked for, as the nearest fraction over at most 1001."""
    return float(Fraction(request.fps).limit_denominator(1001))
