"""Prompts to clips to verdicts: what the exact oracle finds in clips of held-out prompts."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.conditioning import Conditioning
from core.seeds import generator, noise_batch
from tests.benchmarks.quality.cases import SHIPPED, Arrays, Setting
from video.engines.layouts import draw_layouts, illustrate, layouts, sketch
from video.engines.own import VideoModel, layout_noise, sample_from, to_frames
from video.oracle.oracle import is_frozen, read_clip, score
from video.request import VideoRequest
from video.world.prompts import parse_caption
from video.world.scene_table import tabulate
from video.world.scenes import Scene
from video.world.world import draw_batch

USUAL, TRUE_LAYOUTS = "as shipped", "true layouts, painted"
LAYOUTS_ALONE, WITHOUT = "layouts as drawn, painted exactly", "without layouts"
WAYS = (USUAL, LAYOUTS_ALONE, TRUE_LAYOUTS, WITHOUT)
CHUNK = 20
STEPS = 4
SEED = 1


@dataclass(frozen=True)
class Asked:
    """A set of prompts, drawn from the procedural world with a fixed seed.

    Attributes:
        name: For the page.
        split: Side of the fixed rule in ``video/world/splits.py``.
        shares: Of scenes with one, two and three objects.
        number: Prompts in full.
        quick: Prompts of a quick run, the first of those.
    """

    name: str
    split: str
    shares: tuple[float, float, float]
    number: int
    quick: int = 20


SINGLE = (1.0, 0.0, 0.0)
ONE = Asked("held-out combinations", "held_out", SINGLE, 1000, 40)
SEEN = Asked("training combinations", "train", SINGLE, 400, 20)
TWO = Asked("two objects", "held_out", (0.0, 1.0, 0.0), 500)
THREE = Asked("three objects", "held_out", (0.0, 0.0, 1.0), 500)


@dataclass(frozen=True)
class Outcome:
    """What became of one prompt.

    Attributes:
        caption: The prompt.
        index: Of the prompt in its set, and of its noise.
        verdict: Axis -> whether it is right; axes nothing was asked of are absent.
        frozen: Whether nothing changes; None where nothing was asked to move.
        empty: Whether no thing is seen.
    """

    caption: str
    index: int
    verdict: dict[str, bool]
    frozen: bool | None
    empty: bool

    @property
    def share(self) -> float:
        """Share of what was asked that is right."""
        return sum(self.verdict.values()) / len(self.verdict)

    @property
    def kinds(self) -> int:
        """How many kinds of thing the prompt names."""
        return len(parse_caption(self.caption).things)

    @property
    def motion(self) -> str | None:
        """The motion asked of the first thing."""
        return parse_caption(self.caption).things[0].motion


def outcomes(
    setting: Setting,
    asked: Asked,
    *,
    steps: int = STEPS,
    number: int | None = None,
    way: str = USUAL,
) -> list[Outcome]:
    """Outcomes of the first prompts of a set, all by default, in one of the `WAYS`."""
    number = min(number or asked.number, asked.quick if setting.quick else asked.number)
    found = []
    for first in range(0, number, CHUNK):
        count = min(CHUNK, number - first)
        case = _case(asked, first, count, steps) | ({} if way == USUAL else {"way": way})
        numbers = setting.find(
            "video", case, lambda c=count, f=first: _judge(asked, f, c, steps, way)
        )
        found += [Outcome(**kept) for kept in numbers["outcomes"]]
    return found


def frames_of(
    setting: Setting, asked: Asked, wanted: Sequence[Outcome]
) -> list[NDArray[np.uint8]]:
    """Frames (T, H, W, 3) of outcomes at the usual number of steps."""
    total = asked.quick if setting.quick else asked.number
    found = []
    for outcome in wanted:
        first = outcome.index // CHUNK * CHUNK
        arrays = setting.arrays("video", _case(asked, first, min(CHUNK, total - first), STEPS))
        found.append(arrays["frames"][outcome.index - first])
    return found


@cache
def prompts(asked: Asked) -> tuple[list[str], Tensor, list[Scene]]:
    """All captions of a set, the real clips they were written for (N, 3, D, H, W), the scenes."""
    clips, captions, scenes = draw_batch(
        asked.number, generator(SEED), split=asked.split, count_shares=asked.shares
    )
    return captions, clips, scenes


def draw_clips(
    model: VideoModel,
    captions: Sequence[str],
    samples: range,
    *,
    steps: int = STEPS,
    way: str = USUAL,
    scenes: Sequence[Scene] = (),
) -> Tensor:
    """Clips of several prompts at once, (N, 3, D, H, W), each from its own noise.

    Args:
        model: Which draws them.
        captions: The prompts.
        samples: Numbers of their noise.
        steps: Of the sampler.
        way: One of `WAYS`.
        scenes: That the captions were written for, where the way asks for them.
    """
    request = VideoRequest.model_validate({"prompt": captions[0], "steps": steps})
    tokens, mask = model.encoder.encode(list(captions))
    cond = Conditioning(
        tokens=tokens,
        token_mask=mask,
        spacing=torch.tensor([[1 / request.fps, 1.0, 1.0]]),
        guidance=torch.full((len(captions),), request.guidance),
    )
    start = noise_batch((3, request.num_frames, request.height, request.width), SEED, samples)
    network = model.network
    if way == LAYOUTS_ALONE:
        assert network.layouts is not None
        return illustrate(draw_layouts(network.layouts, cond, layout_noise(start)))
    if way == TRUE_LAYOUTS:
        cond = replace(cond, sketch=sketch(layouts(tabulate(scenes))))
    if way == WITHOUT:
        network = copy(network)
        network._modules = {**network._modules, "layouts": None}
    return sample_from(start, request, cond, network, record=model.record)


@cache
def shipped() -> VideoModel:
    """The model that the results are about."""
    return VideoModel.load(SHIPPED["video"])


def _case(asked: Asked, first: int, count: int, steps: int) -> dict[str, Any]:
    return {"split": asked.split, "shares": asked.shares, "drawn": asked.number, "first": first,
            "count": count, "steps": steps, "seed": SEED}  # fmt: skip


def _judge(
    asked: Asked, first: int, count: int, steps: int, way: str
) -> tuple[dict[str, Any], Arrays]:
    captions, _, scenes = (part[first : first + count] for part in prompts(asked))
    samples = range(first, first + count)
    clips = draw_clips(shipped(), captions, samples, steps=steps, way=way, scenes=scenes)
    found, kept = [], []
    for place, (clip, caption) in enumerate(zip(clips, captions, strict=True)):
        frames, claims = to_frames(clip[None]).numpy(), parse_caption(caption)
        reading = read_clip(frames)
        moving = any(thing.motion not in (None, "stay") for thing in claims.things)
        found.append(
            {
                "caption": caption,
                "index": first + place,
                "verdict": score(reading, claims),
                "frozen": is_frozen(frames) if moving else None,
                "empty": not reading.things,
            }
        )
        kept.append(frames)
    usual = steps == STEPS and way == USUAL
    return {"outcomes": found}, {"frames": np.stack(kept)} if usual else {}
