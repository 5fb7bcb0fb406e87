"""Trains the video network: flow matching, then average velocities with guidance inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from core.conditioning import Conditioning
from core.distillation import Distillation
from core.growth import begun_from, first_network
from core.objectives import Objective
from core.stages import OnStage, Stage, flow_then_jumps, train_stages
from core.training_feed import Batch, MakeBatch, training_device
from core.validation import OnValidation, Validate
from video.dataset import CaptionedClip, draw_pieces, load_clips
from video.generate import SHIFT
from video.presets import PRESETS
from video.request import COUNT_SHARES, VideoTrainingRequest
from video.scene_bank import SceneBank
from video.text import TextEncoder, padded, read_once
from video.validation import PROMPTS, held_out_prompts, validation

FRAMES_PER_SECOND = 8.0
SCENES, SCENES_ON_GPU = 32_768, 131_072
"""Scenes of the procedural world whose captions are read, for a whole run."""
MOTION_WEIGHTS = {"orbit": 4.0, "bounce": 2.0, "spin": 5.0}
"""Motions that are seen more often than others in training: they are learned last."""


def world_batches(
    encoder: TextEncoder,
    *,
    fps: float = FRAMES_PER_SECOND,
    scenes: int = 0,
    seed: int = 0,
    count_shares: Sequence[float] = COUNT_SHARES,
) -> MakeBatch:
    """Clips of the procedural world with their captions' text states, training split only.

    Args:
        encoder: Reads the captions; clips are made on its device.
        fps: Frames per second.
        scenes: How many are drawn and come again in new places; 0 for the usual number.
        seed: Decides the scenes.
        count_shares: Share of scenes with one, two and three objects.
    """
    usual = SCENES if encoder.device.type == "cpu" else SCENES_ON_GPU
    bank = SceneBank(
        encoder,
        size=scenes or usual,
        seed=seed,
        count_shares=count_shares,
        motion_weights=MOTION_WEIGHTS,
    )
    spacing = torch.tensor([[1 / fps, 1.0, 1.0]], device=encoder.device)

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        clips, tokens, mask = bank.batch(batch_size, generator)
        return clips, Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    return make_batch


def clip_batches(clips: list[CaptionedClip], encoder: TextEncoder) -> MakeBatch:
    """Random pieces of captioned clips, whose captions are read once."""
    states = read_once(encoder, [clip.caption for clip in clips])

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        pieces, captions, spacing = draw_pieces(clips, batch_size, generator)
        tokens, mask = padded([states[caption] for caption in captions])
        return pieces, Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    return make_batch


def data(request: VideoTrainingRequest) -> tuple[MakeBatch, Validate]:
    """Where batches come from, and how the network is validated."""
    # Rounding states to bfloat16 halves the time of reading the captions.
    encoder = TextEncoder(dtype=torch.bfloat16, device=training_device())
    if not request.clips:
        judge = validation(encoder, held_out_prompts(), fps=FRAMES_PER_SECOND, judged=True)
        shares = request.count_shares
        return world_batches(encoder, seed=request.seed, count_shares=shares), judge
    clips = load_clips(request.clips)
    prompts = list(dict.fromkeys(clip.caption for clip in clips))[:PROMPTS]
    judge = validation(encoder, prompts, fps=clips[0].fps, judged=False)
    return clip_batches(clips, encoder), judge


def stages(request: VideoTrainingRequest) -> list[Stage]:
    """The run's stages, in order.

    What moves, and where to, is settled at levels of 0.8 to 0.97, and outlines below them: half
    of the draws fall above 0.84, and the error is half evened out over levels (``power=0.5``), so
    that what nobody can know near noise does not drown the rest. The jumps are those of the
    sampler's own schedule.
    """
    one, two, three = request.count_shares
    scenes = f"scenes of one, two and three things {one:g} : {two:g} : {three:g}"
    return flow_then_jumps(
        Objective(power=0.5, pure_noise_share=0.1, level_mean=1.5, level_std=1.3),
        Distillation(steps=(2, 4, 4, 8, 16), substeps=3, shift=SHIFT, guidance_max=4.0),
        data=begun_from("clips of your own" if request.clips else scenes, "video", request.start),
        **request.model_dump(
            include={
                "steps",
                "jump_steps",
                "minutes",
                "batch_size",
                "accumulation",
                "learning_rate",
                "seed",
                "compile",
            }
        ),
    )


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
    validate = None
    network = first_network("video", PRESETS[request.preset], request.seed, request.start)
    if make_batch is None:
        make_batch, validate = data(request)
    return train_stages(
        network,
        make_batch,
        stages(request),
        folder,
        on_progress=on_progress,
        should_stop=should_stop,
        validate=validate,
        on_validation=on_validation,
    )
