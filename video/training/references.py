"""What an adapter for a reference is shown in training: a picture of what the clip shows.

Prompts leave open what the picture shows, so that it is read: where the procedural world speaks,
most captions say nothing of colors, shapes or sizes; of clips of one's own, half of the prompts
are left out.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from core.conditioning import Conditioning
from core.networks.conditioned import ConditionedNetwork
from core.tensors import Regridded, Triple, Volumes, sent
from core.training.feed import Batch, MakeBatch
from core.training.growth import reference_network
from video.engines.layouts import layouts
from video.request import VideoTrainingRequest
from video.world.captions import Stated, draw_stated
from video.world.placement import redraw
from video.world.scenes import FRAME_SIZE

if TYPE_CHECKING:
    from video.world.scene_bank import SceneBank

CHANNELS = 3
SIZE: Triple = (1, FRAME_SIZE, FRAME_SIZE)
SAID = {"colors": 0.4, "shapes": 0.4, "sizes": 0.3}
"""How often captions say what a picture shows."""
PROMPTED = 0.5
"""Share of clips of one's own that are told their prompt."""


def left_open(dice: Random) -> Stated:
    """What a caption says where a picture shows the rest."""
    return replace(draw_stated(dice), **{n: dice.random() < share for n, share in SAID.items()})


def reads_reference(network: ConditionedNetwork | None) -> bool:
    """Whether a network was given an adapter."""
    return getattr(network, "reference", None) is not None


def beginning_with_adapter(request: VideoTrainingRequest) -> ConditionedNetwork:
    """A finished model whose layout network, or itself where there is none, reads a picture.

    Raises:
        Refusal: No such model is installed, or it is no U-Net.
    """
    of_the_world = not request.clips  # nobody knows the layouts of clips of your own
    return reference_network(
        "video", CHANNELS, SIZE, seed=request.seed, start=request.start, laid_out=of_the_world
    )


def pictured(x: Volumes, generator: torch.Generator) -> Regridded:
    """The middle square of one frame of each clip, (B, 3, 1, 64, 64), whichever chance takes."""
    frames = torch.randint(x.shape[2], (len(x),), generator=generator)
    taken = x[torch.arange(len(x)), :, frames]  # (B, 3, H, W)
    side = min(taken.shape[2:])
    top, left = ((length - side) // 2 for length in taken.shape[2:])
    square = taken[:, :, top : top + side, left : left + side]
    return functional.interpolate(square, SIZE[1:], mode="area")[:, :, None]


def referenced(make_batch: MakeBatch, prompted: float = PROMPTED) -> MakeBatch:
    """Batches of clips with a frame of each as reference; no sketch says what they show.

    Args:
        make_batch: Of clips.
        prompted: Share that is told its prompt.
    """

    def make(batch_size: int, generator: torch.Generator) -> Batch:
        x, cond = make_batch(batch_size, generator)
        keep = torch.rand(batch_size, generator=generator) < prompted
        cond = replace(cond.told(sent(keep, x.device)), sketch=None)
        return x, replace(cond, reference=pictured(x, generator))

    return make


def referenced_layouts(bank: SceneBank) -> MakeBatch:
    """Batches of layouts, each with a frame of a clip of the same words in another place."""

    def make(batch_size: int, generator: torch.Generator) -> Batch:
        scenes, rows = bank.scenes(batch_size, generator)
        tokens, mask = bank.texts.take(rows)
        elsewhere, _ = redraw(scenes, generator)
        shown = pictured(bank.shown(elsewhere, rows), generator)
        cond = Conditioning(tokens=tokens, token_mask=mask, reference=shown)
        return layouts(scenes), cond

    return make
