"""Trains the video network: layouts, then flow matching, then average velocities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import nn

from core.conditioning import Conditioning
from core.families.distillation import Distillation
from core.families.flow import FlowMatching
from core.networks.conditioned import ConditionedNetwork
from core.networks.lora import with_lora
from core.tensors import align, sent
from core.training.feed import Batch, MakeBatch, training_device
from core.training.growth import begun_from, control_network, first_network
from core.training.latents import finished, in_latents
from core.training.stages import OnStage, Stage, flow_then_jumps, taught, train_stages
from core.training.validation import OnValidation, Validate
from video.engines.controlled import REFERENCE
from video.engines.edges import CHANNELS as EDGES
from video.engines.layouts import layouts, sketch
from video.engines.own import SHIFT
from video.engines.text import TextEncoder, check_length, padded, read_once
from video.files.captioned_clips import CaptionedClip, draw_pieces, load_clips
from video.request import COUNT_SHARES, VideoTrainingRequest
from video.training.controls import controlled
from video.training.layouts import LAYOUT_SHARE, layout_batches, layout_stage
from video.training.masks import CHANNELS, masked
from video.training.presets import LATENT, PRESETS
from video.training.references import (
    beginning_with_adapter,
    left_open,
    reads_reference,
    referenced,
    referenced_layouts,
)
from video.training.validation import PROMPTS, held_out_prompts, layout_validation, validation
from video.world.captions import Stated, draw_stated
from video.world.scene_bank import SceneBank

FRAMES_PER_SECOND = 8.0
SCENES, SCENES_ON_GPU = 32_768, 131_072
"""Scenes of the procedural world whose captions are read, for a whole run."""
MOTION_WEIGHTS = {"orbit": 6.0, "bounce": 3.0, "spin": 4.0}
"""Motions that are seen more often than others in training: they are learned last."""
EVENLY = (1.0, 1.0, 1.0)
"""Shares of one, two and three things among the prompts that layouts are judged on."""
WITHOUT_LAYOUT = 0.1
"""Share of the clips that are shown without a sketch, so that the network can do without."""
FOCUS = 4.0
"""How many times more an error counts, besides once, where a thing is to be painted."""


def world(
    encoder: TextEncoder,
    *,
    scenes: int = 0,
    seed: int = 0,
    count_shares: Sequence[float] = COUNT_SHARES,
    stated: Callable[[Random], Stated] = draw_stated,
) -> SceneBank:
    """Scenes of the procedural world, training split only.

    Args:
        encoder: Reads the captions; clips are made on its device.
        scenes: How many are drawn and come again in new places; 0 for the usual number.
        seed: Decides the scenes.
        count_shares: Share of scenes with one, two and three objects.
        stated: Draws what a caption says.
    """
    usual = SCENES if encoder.device.type == "cpu" else SCENES_ON_GPU
    return SceneBank(
        encoder,
        size=scenes or usual,
        seed=seed,
        count_shares=count_shares,
        motion_weights=MOTION_WEIGHTS,
        stated=stated,
    )


def world_batches(
    bank: SceneBank, *, fps: float = FRAMES_PER_SECOND, sketched: bool = False
) -> MakeBatch:
    """Clips of the procedural world with their captions' text states.

    Args:
        bank: The scenes.
        fps: Frames per second.
        sketched: Whether the clips come with sketches of their layouts, except for some.
    """
    spacing = torch.tensor([[1 / fps, 1.0, 1.0]], device=bank.device)

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        scenes, rows = bank.scenes(batch_size, generator)
        tokens, mask = bank.texts.take(rows)
        cond = Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)
        if sketched:
            told = torch.rand(batch_size, generator=generator) >= WITHOUT_LAYOUT
            shown = sketch(layouts(scenes))
            cond = replace(cond, sketch=shown * align(sent(told, bank.device), shown))
        return bank.shown(scenes, rows), cond

    return make_batch


def clip_batches(clips: list[CaptionedClip], encoder: TextEncoder) -> MakeBatch:
    """Random pieces of captioned clips, whose captions are read once."""
    states = read_once(encoder, [clip.caption for clip in clips])

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        pieces, captions, spacing = draw_pieces(clips, batch_size, generator)
        tokens, mask = padded([states[caption] for caption in captions])
        return pieces, Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    return make_batch


class Material(NamedTuple):
    """What a run is trained on.

    Attributes:
        clips: Batches of clips.
        validate: Says how the network does.
        layouts: Batches of layouts; ``None`` where nobody knows them.
        validate_layouts: Says how the layout network does.
    """

    clips: MakeBatch
    validate: Validate | None = None
    layouts: MakeBatch | None = None
    validate_layouts: Validate | None = None


def data(request: VideoTrainingRequest, *, sketched: bool = False) -> Material:
    """Where batches come from, and how the network is validated.

    Args:
        request: What to train.
        sketched: Whether the network is to be shown sketches of layouts.
    """
    # Rounding states to bfloat16 halves the time of reading the captions.
    encoder = TextEncoder(dtype=torch.bfloat16, device=training_device())
    guided = request.family == "usual"
    fps = FRAMES_PER_SECOND
    if not request.clips:
        pictures = request.control == REFERENCE
        stated = left_open if pictures else draw_stated
        shares = request.count_shares
        bank = world(encoder, seed=request.seed, count_shares=shares, stated=stated)
        return Material(
            world_batches(bank, sketched=sketched),
            validation(encoder, held_out_prompts(), fps=fps, judged=True, guided=guided),
            (referenced_layouts if pictures else layout_batches)(bank),
            layout_validation(encoder, held_out_prompts(EVENLY)),
        )
    clips = load_clips(request.clips, check=check_length)
    prompts = list(dict.fromkeys(clip.caption for clip in clips))[:PROMPTS]
    judge = validation(encoder, prompts, fps=clips[0].fps, judged=False, guided=guided)
    return Material(clip_batches(clips, encoder), judge)


def stages(request: VideoTrainingRequest, given: Material | None = None) -> list[Stage]:
    """The run's stages, in order.

    What moves, and where to, is settled at levels of 0.8 to 0.97, and outlines below them: half
    of the draws fall above 0.84, and the error is half evened out over levels (``power=0.5``), so
    that what nobody can know near noise does not drown the rest. It counts five times where a
    sketch says that a thing is to be: most of a clip is background. The jumps are those of the
    sampler's own schedule.

    Args:
        request: What to train, and for how long.
        given: What the layout network is trained on; ``None`` for a run without one.
    """
    one, two, three = request.count_shares
    scenes = f"scenes of one, two and three things {one:g} : {two:g} : {three:g}"
    words = begun_from("clips of your own" if request.clips else scenes, "video", request.start)
    words += ", of which a part is given" if request.masks else ""
    words += f", told by their {request.control}" if request.control else ""
    words += ", in latents" if request.space == "latents" else ""
    common: dict[str, Any] = {
        "data": words,
        **request.model_dump(include={"learning_rate", "seed", "compile"}),
    }
    usual = partial(
        flow_then_jumps,
        FlowMatching(
            power=0.5,
            pure_noise_share=0.1,
            level_mean=1.5,
            level_std=1.3,
            focus=FOCUS,
            hidden=request.masks,
        ),
        Distillation(steps=(2, 4, 4, 8, 16), substeps=3, shift=SHIFT, guidance_max=4.0),
        jump_steps=0 if request.control else request.jump_steps,
    )
    shared = common | request.model_dump(include={"steps", "batch_size", "accumulation"})

    def painting(minutes: float) -> list[Stage]:
        plan = {**shared, "minutes": minutes}
        return taught(request.family, partial(usual, **plan), **plan)

    if given is not None and given.layouts is not None and request.control:
        plan = request.model_dump(include={"steps", "minutes"})  # layouts alone are shown it
        return [layout_stage(request, given.layouts, **plan, **common)]
    if given is None or given.layouts is None or not request.layout_steps:
        return painting(minutes=request.minutes)
    share = {"steps": request.layout_steps, "minutes": LAYOUT_SHARE * request.minutes}
    layout = layout_stage(request, given.layouts, given.validate_layouts, **share, **common)
    return [layout, *painting(minutes=(1 - LAYOUT_SHARE) * request.minutes)]


def train(
    request: VideoTrainingRequest,
    folder: Path,
    *,
    make_batch: MakeBatch | None = None,
    on_progress: OnStage = lambda stage, progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_validation: OnValidation = lambda stage, step, found: None,
) -> tuple[nn.Module, bool]:
    """The trained network (averaged weights) and whether every stage was finished.

    Args:
        request: What to train, and for how long.
        folder: Checkpoints lie in ``folder/<stage>``; what is there is resumed.
        make_batch: Where data comes from; ``request.clips``, or the procedural world.
        on_progress: Called after each step with the stage's name.
        should_stop: Asked after each step; if true, training ends there, resumable.
        on_validation: Called with what was found on fixed prompts, every few minutes.
    """
    network = beginning(request)
    sketched = network.layouts is not None and not request.control
    taught_by = network.config["trained_objective"]
    on_layouts = reads_reference(network.layouts)
    if make_batch:
        given = Material(make_batch, layouts=make_batch if on_layouts else None)
    else:
        given = data(request, sketched=sketched)
    if request.masks:
        given = given._replace(clips=masked(given.clips))
    if request.control:
        shown = {"edges": controlled, REFERENCE: referenced}[request.control]
        given = given._replace(clips=shown(given.clips), validate=None)
    planned = stages(request, given if sketched or on_layouts else None)
    trained, done = train_stages(
        network,
        given.clips,
        in_latents(network, planned, given.clips, begun=bool(request.start)),
        folder,
        on_progress=on_progress,
        should_stop=should_stop,
        validate=given.validate,
        on_validation=on_validation,
    )
    if request.control:
        trained.register_to_config(trained_objective=taught_by)  # the base is what it was
    return finished(trained), done


def beginning(request: VideoTrainingRequest) -> ConditionedNetwork:
    """What a run begins with.

    Raises:
        Refusal: The model to begin from is not installed, or does not fit.
    """
    if request.control == REFERENCE:
        return beginning_with_adapter(request)
    if request.control:
        return control_network("video", EDGES, request.seed, request.start)
    sizes = LATENT if request.space == "latents" else PRESETS
    build = sizes[request.network][request.preset]
    if request.masks:
        build = partial(build, given=CHANNELS)
    network = first_network("video", build, request.seed, request.start)
    if request.clips or not (request.layout_steps or _draws_layouts(network)):
        network.layouts = None  # nobody knows the layouts of clips of your own
        network.register_to_config(layout_network=None)
    if request.lora:
        with_lora(network, request.lora, seed=request.seed)
    return network


def _draws_layouts(network: ConditionedNetwork) -> bool:
    """Whether its layout network has learned anything: the head of a new one is zero."""
    return network.layouts is not None and bool(network.layouts.head.mix.weight.any())
