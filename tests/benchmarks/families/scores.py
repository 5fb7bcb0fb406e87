"""How an arm does: errors by level, and what is drawn by 1 to 32 evaluations of its network."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser, family_of
from core.families.walking import reachable, usual_walk
from core.networks.conditioned import ConditionedNetwork
from core.sampling.guidance import guided
from core.sampling.path import Denoise, diffuse
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import shifted
from core.sampling.stochastic import STOCHASTIC
from core.seeds import generator, noise_batch
from tests.benchmarks.arms.arm import Domain
from tests.benchmarks.arms.data import Data
from tests.benchmarks.arms.scores import AXES, LEVELS, NOISE_SEED, fast
from tests.benchmarks.families.arm import SHIFTS
from video.engines.own import to_frames
from video.oracle.oracle import is_frozen, read_clip, score
from video.world.prompts import parse_caption

EVALUATIONS = (1, 2, 4, 8, 16, 32)
GUIDANCE = 3.0
ROWS = 16
PATCHES, SAMPLES = 16, 3
CLIP = (3, 16, 64, 64)
SHOWN = 2
"""Clips, and patches, that are kept to look at."""

Pictures = dict[str, np.ndarray]


def judged(net: ConditionedNetwork, data: Data, domain: Domain) -> tuple[dict[str, Any], Pictures]:
    """All scores of a network, and what was drawn."""
    network = fast(net)  # pyright: ignore[reportArgumentType]  (a transformer is copied alike)
    found: dict[str, Any] = {"errors": errors(network, data, domain)}
    drawn = clips if domain == "video" else patches
    found["drawn"], pictures = drawn(network, data)
    return found, pictures


@torch.inference_mode()
def errors(
    network: ConditionedNetwork, data: Data, domain: Domain, count: int = 0
) -> dict[str, list[float]]:
    """Mean squared error of the predicted data of held-out items, by noise level.

    What is judged is the estimate of the data, which every family gives. Under ``"data"`` stands
    the mean square of the items themselves. Level 1 is the highest that the family can be read at.
    """
    x, cond = data.held_out(domain)
    count = count or len(x)
    e = torch.randn(x.shape, generator=generator(NOISE_SEED))
    found: dict[str, list[float]] = {"data": _means(x[:count])}
    for level in LEVELS:
        highest = min(level, family_of(network).highest)
        parts: list[float] = []
        for start in range(0, count, ROWS):
            rows = slice(start, min(start + ROWS, count))
            t = torch.full((rows.stop - start,), highest)
            guess = denoiser(network, cond.take(rows))(diffuse(x[rows], e[rows], t), t, t)
            parts += _means(guess - x[rows])
        found[str(level)] = parts
    return found


def walked(
    network: ConditionedNetwork, domain: Domain, denoise: Denoise, start: Tensor, evaluations: int
) -> Tensor:
    """Where the family's usual sampler leads by at most so many evaluations."""
    walk, name = usual_walk(network, NOISE_SEED), family_of(network).sampler
    per_step = (SAMPLERS | STOCHASTIC)[name].evaluations
    steps = (evaluations + per_step - 1) // per_step  # of Heun's last step, the second is none
    levels = reachable(network, shifted(steps, shift=SHIFTS[domain]))
    return walk(denoise, start, levels)


@torch.inference_mode()
def clips(network: ConditionedNetwork, data: Data) -> tuple[dict[str, Any], Pictures]:
    """By evaluations: whether clips show what held-out prompts ask for, on each axis."""
    prompts, found, kept = data.held_out_prompts, {}, {}
    start = noise_batch(CLIP, NOISE_SEED, range(len(prompts)))
    for evaluations in EVALUATIONS:
        hits: dict[str, list[bool]] = defaultdict(list)
        for first in range(0, len(prompts), ROWS):
            rows = slice(first, first + ROWS)
            cond = data.said(prompts[rows])
            nothing = replace(cond.null(), sketch=None)
            denoise = guided(denoiser(network, cond), denoiser(network, nothing), GUIDANCE)
            drawn = walked(network, "video", denoise, start[rows], evaluations)
            drawn = torch.nan_to_num(drawn)
            for place, clip in enumerate(drawn.split(1), first):
                frames = to_frames(clip).numpy()
                _read(frames, prompts[place], hits)
                if place < SHOWN:
                    kept[f"{evaluations} {place}"] = frames[len(frames) // 2]
        found[str(evaluations)] = dict(hits)
    return found, kept


def _read(frames: np.ndarray, prompt: str, hits: dict[str, list[bool]]) -> None:
    """What the oracle finds of a prompt."""
    verdict = score(read_clip(frames), parse_caption(prompt))
    for axis in AXES:
        if axis in verdict:
            hits[axis].append(verdict[axis])
    hits["frozen"].append(is_frozen(frames))


@torch.inference_mode()
def patches(network: ConditionedNetwork, data: Data) -> tuple[dict[str, Any], Pictures]:
    """By evaluations: squared errors of one sample and of the mean of a few, and their spread."""
    x, cond = data.held_out("mri")
    chosen = slice(0, PATCHES)
    x, cond = x[chosen], cond.take(chosen)
    found: dict[str, Any] = {}
    kept: Pictures = {f"truth {place}": _plane(x[place]) for place in range(SHOWN)}
    beside = _beside(cond)
    kept |= {f"beside {place}": _plane(beside[place]) for place in range(SHOWN)}
    draw = partial(_sample, network, cond, x)
    for evaluations in EVALUATIONS:
        samples = torch.stack([draw(evaluations, sample) for sample in range(SAMPLES)])
        mean = samples.mean(0)
        found[str(evaluations)] = {
            "one": _means(samples[0] - x),
            "mean": _means(mean - x),
            "spread": _means(samples.std(0)),
        }
        for place in range(SHOWN):
            kept[f"{evaluations} {place}"] = _plane(samples[0, place])
    found["nothing"] = _means(x)
    return found, kept


def _sample(
    network: ConditionedNetwork, cond: Conditioning, x: Tensor, evaluations: int, sample: int
) -> Tensor:
    """One sample of every patch; the noise of each follows from its number."""
    start = torch.randn(x.shape, generator=generator(NOISE_SEED, sample))
    drawn = walked(network, "mri", denoiser(network, cond), start, evaluations)
    return torch.nan_to_num(drawn, posinf=1e3, neginf=-1e3).clamp(-1e3, 1e3)


def _beside(cond: Conditioning) -> Tensor:
    assert cond.concat is not None
    return cond.concat[:, :1]


def _plane(x: Tensor) -> np.ndarray:
    """The middle plane, of which the last axis lies across the slices."""
    return x[0, x.shape[1] // 2].float().numpy()


def _means(x: Tensor) -> list[float]:
    return [float(f"{v:.6g}") for v in x.square().flatten(1).mean(1).tolist()]
