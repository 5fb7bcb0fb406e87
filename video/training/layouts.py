"""What the layout network is taught on, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from core.conditioning import Conditioning
from core.families.flow import FlowMatching
from core.training.feed import Batch, MakeBatch
from core.training.plan import Plan
from core.training.stages import Stage
from core.training.validation import Validate
from video.engines.layouts import layouts
from video.request import VideoTrainingRequest

if TYPE_CHECKING:
    from video.world.scene_bank import SceneBank

LAYOUTS_PER_CLIP = 8
"""Layouts in a batch of them, for each clip in a batch of clips."""
LAYOUT_SHARE = 0.5
"""Part of a time budget that layouts may take; what they leave of it the painting has."""
LAYOUT_WORK = 0.06
"""Time of training on one layout, in clips of the painting network."""


def layout_batches(bank: SceneBank) -> MakeBatch:
    """Layouts of the procedural world with their captions' text states."""

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        scenes, rows = bank.scenes(batch_size, generator)
        tokens, mask = bank.texts.take(rows)
        return layouts(scenes), Conditioning(tokens=tokens, token_mask=mask)

    return make_batch


def layout_stage(
    request: VideoTrainingRequest,
    batches: MakeBatch,
    validate: Validate | None = None,
    **plan: Any,
) -> Stage:
    """The stage that teaches the layout network.

    Of layouts the error counts as it is, and lower levels more: an orbit's course is settled
    there, and evened out, its errors weigh no more than a line's.

    Args:
        request: What to train.
        batches: Of layouts.
        validate: Says how the layout network does.
        plan: ``steps``, ``minutes`` and what else its plan takes.
    """
    return Stage(
        "layout",
        FlowMatching(power=0.0, pure_noise_share=0.05, level_mean=-0.3, level_std=1.2),
        Plan(
            batch_size=LAYOUTS_PER_CLIP * request.batch_size,
            accumulation=request.accumulation,
            **{**plan, "compile": False},  # it is too small to gain by it
        ),
        part="layouts",
        make_batch=batches,
        validate=validate,
        work=LAYOUT_WORK,
    )
