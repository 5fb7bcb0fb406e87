"""How drawn whole heads and reconstructions do: told from real ones, and at what time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.metrics import psnr
from core.networks.autoencoder import Autoencoder
from core.networks.conditioned import ConditionedNetwork
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import linear
from core.seeds import noise
from core.tensors import inference_dtype
from medical.anatomy.whole_heads import MEAN, SHAPE, SPREAD
from medical.datasets.realism import dataset_told_apart, patch_features, regional_distance, regions
from medical.evaluation.evaluate import ssim
from medical.training.whole_heads import SPACING

STEPS, DRAWN, SAMPLER = (4, 16), 8, "dpmpp_2m"
EDGES = (0.12, 0.35, 0.62)
"""Intensities at which fluid, gray and white matter begin, the same for every volume."""


def fast(network: Any) -> Any:
    """The network in the precision in which it draws."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(inference_dtype("cpu"))
    return network.eval()


@torch.inference_mode()
def drawn(network: ConditionedNetwork, steps: int, count: int) -> tuple[Tensor, float]:
    """(count, X, Y, Z) volumes, and the processor seconds of each: the median."""
    cond, found, spent = Conditioning(spacing=torch.tensor([SPACING])), [], []
    for seed in range(count):
        start = noise(network.noise_shape((1, *SHAPE)), seed)
        began = time.process_time()
        z = SAMPLERS[SAMPLER].walk(denoiser(network, cond), start, linear(steps))
        found.append(network.pixels(z, SHAPE)[0, 0].float())
        spent.append(time.process_time() - began)
    return torch.stack(found), float(np.median(spent))


@torch.inference_mode()
def rebuilt(coder: Autoencoder, x: Tensor) -> Tensor:
    """What an autoencoder leaves of samples, one by one."""
    return torch.cat([coder(each[None]).float() for each in x])


def features(volumes: Tensor) -> list[tuple[Any, Any]]:
    """Of each (X, Y, Z): the project's features of its patches, and its regions' shares."""
    found = []
    for k, each in enumerate(volumes):
        image = (each * SPREAD + MEAN).clamp(0, 1.5).numpy().astype(np.float32)
        labels = np.digitize(image, EDGES).astype(np.uint8)
        rows = patch_features(image, labels, np.zeros_like(labels), k)
        shares = regions(labels) if labels.any() else np.zeros(54)
        found.append((rows, shares))
    return found


def apart(ours: Sequence[Any], real: Sequence[Any]) -> dict[str, Any]:
    """Real or not: area under the curve, heads left out whole, and distance of regions.

    The area is given of all heads and of each half of ours.
    """
    patches = [rows for rows, _ in ours if len(rows) > 1]
    theirs = np.stack([rows for rows, _ in real])
    halves = [
        dataset_told_apart(part, theirs) for part in (patches[::2], patches[1::2]) if len(part) > 3
    ]
    both = dataset_told_apart(patches, theirs) if len(patches) > 3 else None
    sets = [np.stack([shares for _, shares in each]) for each in (ours, real)]
    return {
        "auc": both,
        "halves": halves,
        "distance": _distance(np.concatenate(patches), np.concatenate(list(theirs))),
        "regions": regional_distance(*sets),
        "without_brain": len(ours) - len(patches),
    }


def _distance(ours: Any, theirs: Any) -> float:
    """Of the means of features (N, F), (M, F), in spreads of theirs, the mean over features."""
    return float((np.abs(ours.mean(0) - theirs.mean(0)) / theirs.std(0)).mean())


def near(found: Tensor, truth: Tensor) -> dict[str, float]:
    """PSNR and SSIM of heads, intensities in [0, 1], the mean over heads."""
    pairs = [
        ((a * SPREAD + MEAN).clamp(0, 1), (b * SPREAD + MEAN).clamp(0, 1))
        for a, b in zip(found[:, 0], truth[:, 0], strict=True)
    ]
    inside = [psnr(a, b, mask=b > EDGES[0]) for a, b in pairs]
    return {
        "psnr": fmean(psnr(a, b) for a, b in pairs),
        "psnr_of_the_head": fmean(inside),
        "ssim": fmean(ssim(a, b, across=2) for a, b in pairs),
    }


def near_clips(found: Tensor, truth: Tensor) -> dict[str, float]:
    """PSNR and SSIM of clips, intensities in [0, 1], frame by frame, the mean over clips."""
    pairs = [((a.clamp(-1, 1) + 1) / 2, (b + 1) / 2) for a, b in zip(found, truth, strict=True)]
    return {
        "psnr": fmean(psnr(a, b) for a, b in pairs),
        "ssim": fmean(ssim(x, y) for a, b in pairs for x, y in zip(a, b, strict=True)),
    }
