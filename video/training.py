"""Trains the video network: flow matching, then average velocities with guidance inside."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from core.conditioning import Conditioning
from core.objectives import Objective
from core.training import Batch, MakeBatch, OnStage, Plan, Stage, train_stages
from video.presets import PRESETS
from video.request import VideoTrainingRequest
from video.text import TextEncoder
from video.world import draw_batch

FRAMES_PER_SECOND = 8.0


def world_batches(encoder: TextEncoder, *, fps: float = FRAMES_PER_SECOND) -> MakeBatch:
    """Clips of the procedural world with their captions' text states, training split only."""
    spacing = torch.tensor([[1 / fps, 1.0, 1.0]])

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        clips, captions, _ = draw_batch(batch_size, generator, split="train")
        tokens, mask = encoder.encode(captions)
        return clips, Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    return make_batch


def stages(request: VideoTrainingRequest) -> list[Stage]:
    """The run's stages, in order."""
    shared = {
        "batch_size": request.batch_size,
        "seed": request.seed,
        "minutes": request.minutes,
    }
    flow = Plan(
        steps=request.steps, learning_rate=request.learning_rate, cooldown=0.0, **shared
    )
    jumps = Plan(
        steps=request.jump_steps,
        learning_rate=request.learning_rate,
        warmup=20,
        cooldown=0.6,
        **shared,
    )
    levels = {"level_mean": 0.3, "level_std": 1.2}
    stage_one = Stage("flow", Objective(pure_noise_share=0.05, **levels), flow)
    stage_two = Stage(
        "jumps",
        Objective(
            jump_share=0.5,
            pure_noise_share=0.2,
            land_on_data_share=0.3,
            guidance_max=4.0,
            **levels,
        ),
        jumps,
    )
    return [stage_one, stage_two] if request.jump_steps else [stage_one]


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
        make_batch: Where data comes from; the procedural world by default.
        on_progress: Called after each step with the stage's name.
    """
    make_batch = make_batch or world_batches(TextEncoder())
    network = PRESETS[request.preset]()
    return train_stages(network, make_batch, stages(request), folder, on_progress=on_progress)
