"""Trains the video network: flow matching, then average velocities with guidance inside."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from core.conditioning import Conditioning
from core.objectives import Objective
from core.plan import Plan
from core.stages import OnStage, Stage, train_stages
from core.training import Batch, MakeBatch
from video.dataset import draw_pieces, load_clips
from video.presets import PRESETS
from video.request import VideoTrainingRequest
from video.text import TextEncoder
from video.world import draw_batch

FRAMES_PER_SECOND = 8.0
COUNT_SHARES = (0.8, 0.13, 0.07)
"""Share of training scenes with one, two and three objects."""


def world_batches(encoder: TextEncoder, *, fps: float = FRAMES_PER_SECOND) -> MakeBatch:
    """Clips of the procedural world with their captions' text states, training split only."""
    spacing = torch.tensor([[1 / fps, 1.0, 1.0]])

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        clips, captions, _ = draw_batch(
            batch_size, generator, split="train", count_shares=COUNT_SHARES
        )
        tokens, mask = encoder.encode(captions)
        return clips, Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    return make_batch


def clip_batches(folder: Path | str, encoder: TextEncoder) -> MakeBatch:
    """Random pieces of the captioned clips in a folder."""
    clips = load_clips(folder)

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        pieces, captions, spacing = draw_pieces(clips, batch_size, generator)
        tokens, mask = encoder.encode(captions)
        return pieces, Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    return make_batch


def stages(request: VideoTrainingRequest) -> list[Stage]:
    """The run's stages, in order."""
    shared = {
        "batch_size": request.batch_size,
        "learning_rate": request.learning_rate,
        "seed": request.seed,
        "minutes": request.minutes,
    }
    levels = {"level_mean": 2.0, "level_std": 1.2}
    flow = Objective(pure_noise_share=0.05, **levels)
    if not request.jump_steps:
        return [Stage("flow", flow, Plan(steps=request.steps, **shared))]
    jumps = Objective(
        jump_share=0.5,
        pure_noise_share=0.2,
        land_on_data_share=0.3,
        guidance_max=4.0,
        power=1.0,
        **levels,
    )
    return [
        Stage("flow", flow, Plan(steps=request.steps, cooldown=0.0, **shared)),
        Stage("jumps", jumps, Plan(steps=request.jump_steps, warmup=20, cooldown=0.6, **shared)),
    ]


def train(
    request: VideoTrainingRequest,
    folder: Path,
    *,
    make_batch: MakeBatch | None = None,
    on_progress: OnStage = lambda stage, progress: None,
) -> tuple[nn.Module, bool]:
    """The trained network (averaged weights) and whether every stage was finished.

    Args:
        request: What to train, and for how long.
        folder: Checkpoints lie in ``folder/<stage>``; what is there is resumed.
        make_batch: Where data comes from; ``request.clips``, or the procedural world.
        on_progress: Called after each step with the stage's name.
    """
    if make_batch is None:
        encoder = TextEncoder()
        own = request.clips
        make_batch = clip_batches(own, encoder) if own else world_batches(encoder)
    network = PRESETS[request.preset]()
    return train_stages(network, make_batch, stages(request), folder, on_progress=on_progress)
