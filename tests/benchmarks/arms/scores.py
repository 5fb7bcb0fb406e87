"""How an arm does: errors at fixed levels, heads restored, prompts drawn and read back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from core.networks.unet import SpatioTemporalUNet
from core.sampling.path import diffuse
from core.seeds import generator, noise_batch
from core.tensors import inference_dtype
from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.evaluation.evaluate import Restore, compare, trimmed
from medical.files.volume import Volume
from medical.operations.baselines import foreground
from medical.operations.restoring import Tiling
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from tests.benchmarks.arms.arm import Domain
from tests.benchmarks.arms.data import PATCH, Data
from tests.benchmarks.quality.detail import spectra
from video.engines.own import sample_from, to_frames
from video.oracle.oracle import is_frozen, read_clip, score
from video.request import VideoRequest
from video.world.prompts import parse_caption

LEVELS = (1.0, 0.9, 0.75, 0.5, 0.25)
ROWS = 16
NOISE_SEED = 13
THICKNESS_MM, AXIS = 4.0, 2
TILING = Tiling(size=PATCH, overlap=(4, 4, 4), batch_size=8)
ONE_STEP = "one step"
WAYS: dict[str, dict[str, int]] = {
    ONE_STEP: {"samples": 1, "steps": 1},
    "mean of 4": {"samples": 4, "steps": 2},
    "one sample": {"samples": 1, "steps": 2},
}
VIDEO_STEPS, GUIDANCE = 8, 3.0
AXES = ("color", "shape", "motion")


def fast(network: SpatioTemporalUNet) -> SpatioTemporalUNet:
    """A copy to evaluate, in the precision the product computes in."""
    copy = deepcopy(network).eval().requires_grad_(False)
    for parameter in copy.parameters():
        parameter.data = parameter.data.to(dtype=inference_dtype(parameter.device))
    return copy


@torch.inference_mode()
def errors(
    network: SpatioTemporalUNet, data: Data, domain: Domain, levels: Sequence[float] = LEVELS
) -> dict[str, list[float]]:
    """Mean squared error of the predicted data of every held-out item, by noise level.

    What is judged is the prediction z - t u, which does not depend on the objective. Under
    ``"data"`` stands the mean square of the items themselves.
    """
    x, cond = data.held_out(domain)
    e = torch.randn(x.shape, generator=generator(NOISE_SEED))
    found = {"data": _means(x)}
    for level in levels:
        parts = []
        for rows in (slice(i, i + ROWS) for i in range(0, len(x), ROWS)):
            t = torch.full((len(x[rows]),), level)
            z = diffuse(x[rows], e[rows], t)
            guess = z - level * network(z, t, t, cond.take(rows)).float()
            parts += _means(guess - x[rows])
        found[str(level)] = parts
    return found


def _means(x: Tensor) -> list[float]:
    return [float(f"{v:.6g}") for v in x.square().flatten(1).mean(1).tolist()]


def restored(
    network: SpatioTemporalUNet, data: Data, ways: Sequence[str], *, detail: bool = False
) -> list[dict[str, Any]]:
    """Each validation head's scores by the project's protocol, 4 mm to its own grid.

    Args:
        network: Restores.
        data: Whose validation heads.
        ways: Of ``WAYS``.
        detail: Whether power and error power by frequency are kept too.
    """
    return [
        {"head": name, **_restored_head(network, head, ways, detail=detail)}
        for name, head in data.validation_heads
    ]


def _restored_head(
    network: SpatioTemporalUNet, head: Volume, ways: Sequence[str], *, detail: bool
) -> dict[str, Any]:
    pitch = max(1, round(THICKNESS_MM / head.spacing_mm[AXIS])) * head.spacing_mm[AXIS]
    acquisition = Acquisition.slices(AXIS, SliceSampling(pitch))
    truth = trimmed(head, acquisition)
    scores, estimates = {}, {"truth": truth.data}
    methods = {way: _restore(network, pitch, WAYS[way]) for way in ways}
    for name, estimate, found in compare(truth, acquisition, methods):
        scores[name], estimates[name] = asdict(found), estimate
    told: dict[str, Any] = {"scores": scores}
    if detail:
        mask = foreground(truth.data)
        told["spectra"] = spectra(estimates, mask, AXIS, truth.spacing_mm[AXIS])
    return told


def _restore(network: SpatioTemporalUNet, pitch_mm: float, asked: dict[str, int]) -> Restore:
    def restore(scan: Volume, spacing_mm: tuple[float, float, float]) -> Tensor:
        request = SuperResolutionRequest.model_validate(
            {
                "scan": "in memory",
                "spacing_mm": spacing_mm,
                "slice_thickness_mm": pitch_mm,
                **asked,
            }
        )
        return super_resolve(scan, request, network, tiling=TILING).mean.data

    return restore


def drawn(network: SpatioTemporalUNet, data: Data) -> dict[str, list[bool]]:
    """For each axis that prompts ask for, whether a clip shows it; and whether it stands still."""
    prompts = data.held_out_prompts
    request = VideoRequest.model_validate(
        {"prompt": "those given", "steps": VIDEO_STEPS, "guidance": GUIDANCE, "sampler": "euler"}
    )
    shape = (3, request.num_frames, request.height, request.width)
    start = noise_batch(shape, NOISE_SEED, range(len(prompts)))
    hits: dict[str, list[bool]] = defaultdict(list)
    for rows in (slice(i, i + ROWS) for i in range(0, len(prompts), ROWS)):
        said = data.said(prompts[rows])
        cond = replace(said, guidance=torch.full((len(prompts[rows]),), GUIDANCE))
        clips = sample_from(start[rows], request, cond, network, record={})
        for clip, prompt in zip(clips.split(1), prompts[rows], strict=True):
            frames, claims = to_frames(clip).numpy(), parse_caption(prompt)
            verdict = score(read_clip(frames), claims)
            for axis in AXES:
                if axis in verdict:
                    hits[axis].append(verdict[axis])
            hits["frozen"].append(is_frozen(frames))
    return dict(hits)
