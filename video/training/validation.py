"""How the video network does while it is trained: a few fixed prompts, sampled and read back.

Of the procedural world, prompts are captions of combinations that training never draws, and the
oracle says how often a clip shows what was asked. Of own clips, for which nobody can say, they
are captions of the folder.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.conditioning import Conditioning
from core.networks.conditioned import ConditionedNetwork
from core.seeds import generator, noise_batch
from core.tensors import Volumes
from core.training.validation import Validate, Validation
from video.engines.layouts import CHANNELS, draw_layouts, illustrate
from video.engines.own import sample_from, to_frames
from video.engines.text import TextEncoder
from video.oracle.oracle import is_frozen, read_clip, score
from video.request import VideoRequest
from video.world.prompts import Claims, parse_caption
from video.world.scene_table import SLOTS
from video.world.scenes import NUM_FRAMES
from video.world.world import draw_batch

PROMPTS = 16
SEED = 2  # not that of the benchmarks, so that nothing is chosen on their prompts
JUDGED = ("count", "color", "shape", "motion")
COLUMNS, FRAMES, LINE, WORDS = 2, 8, 12, 80
SINGLE = (1.0, 0.0, 0.0)


def held_out_prompts(count_shares: Sequence[float] = SINGLE) -> list[str]:
    """Captions of things, of single ones as a rule, in combinations that training never draws."""
    return draw_batch(PROMPTS, generator(SEED), split="held_out", count_shares=count_shares)[1]


def validation(
    encoder: TextEncoder, prompts: Sequence[str], *, fps: float, judged: bool, guided: bool = True
) -> Validate:
    """Samples ``prompts``, each from its own noise, and says how the clips do.

    Args:
        encoder: Reads the prompts, once.
        prompts: One clip each, in the request's usual size and number of steps.
        fps: Frames per second.
        judged: Whether the prompts are of the procedural world, so that the oracle can judge.
        guided: Whether a network that jumps was trained with guidance inside.
    """
    request = VideoRequest.model_validate({"prompt": "those given"})
    tokens, mask = encoder.encode(list(prompts))
    told = Conditioning(
        tokens=tokens,
        token_mask=mask,
        spacing=torch.tensor([[1 / fps, 1.0, 1.0]]),
        guidance=torch.full((len(prompts),), request.guidance),
    )
    shape = (3, request.num_frames, request.height, request.width)
    start = noise_batch(shape, SEED, range(len(prompts)))
    asked = [parse_caption(prompt) if judged else None for prompt in prompts]

    def validate(network: ConditionedNetwork) -> Validation:
        jumps = guided and network.config["trained_objective"] == "average_velocity"
        x = sample_from(start, request, told, network, record={"guidance_trained_in": jumps})
        return _judged(x, prompts, asked)

    return validate


def layout_validation(encoder: TextEncoder, prompts: Sequence[str]) -> Validate:
    """Draws layouts for ``prompts`` of the procedural world and judges what exactly they say.

    Each is drawn once, so that what the network has learned is judged alone.
    """
    tokens, mask = encoder.encode(list(prompts))
    usual = VideoRequest.model_validate({"prompt": "those given"}).guidance
    told = Conditioning(
        tokens=tokens, token_mask=mask, guidance=torch.full((len(prompts),), usual)
    )
    start = noise_batch((CHANNELS, NUM_FRAMES, SLOTS, 1), SEED, range(len(prompts)))[:, None]
    asked = [parse_caption(prompt) for prompt in prompts]

    def validate(network: ConditionedNetwork) -> Validation:
        device = next(network.parameters()).device
        found = draw_layouts(network, told.to(device), start.to(device))
        return _judged(illustrate(found), prompts, asked)

    return validate


def _judged(x: Volumes, prompts: Sequence[str], asked: Sequence[Claims | None]) -> Validation:
    clips = [to_frames(clip).numpy() for clip in x.split(1)]
    return Validation(_numbers(clips, asked), _sheet(clips, prompts))


def _numbers(
    clips: Sequence[NDArray[np.uint8]], asked: Sequence[Claims | None]
) -> dict[str, float]:
    """Shares of the clips that show the color, shape and motion asked for, and that stand still.

    An axis counts where it is asked for, and standing still where a motion is.
    """
    found: dict[str, list[bool]] = defaultdict(list)
    for clip, claims in zip(clips, asked, strict=True):
        verdict = score(read_clip(clip), claims) if claims else {}
        for axis in JUDGED:
            if axis in verdict:
                found[axis].append(verdict[axis])
        if claims is None or any(t.motion not in (None, "stay") for t in claims.things):
            found["frozen"].append(is_frozen(clip))
    return {axis: sum(hits) / len(hits) for axis, hits in found.items()}


def _sheet(clips: Sequence[NDArray[np.uint8]], prompts: Sequence[str]) -> NDArray[np.uint8]:
    """Some frames of every clip in a row, with its prompt above; two clips side by side."""
    height, width = clips[0].shape[1:3]
    across, down = FRAMES * width + 4, height + 2 * LINE + 4
    rows = -(-len(clips) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * across, rows * down), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (clip, prompt) in enumerate(zip(clips, prompts, strict=True)):
        left, top = place % COLUMNS * across, place // COLUMNS * down
        lines = textwrap.wrap(prompt, WORDS)[:2]
        draw.multiline_text((left, top), "\n".join(lines), fill="black", spacing=0)
        for column, frame in enumerate(np.linspace(0, len(clip) - 1, FRAMES).round()):
            picture = Image.fromarray(clip[int(frame)])
            sheet.paste(picture, (left + column * width, top + 2 * LINE))
    return np.asarray(sheet)
