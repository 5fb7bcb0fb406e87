"""Whole heads from a network that sees windows, from one noise field, at fixed memory."""

from __future__ import annotations

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.networks.conditioned import ConditionedNetwork
from core.operations.tiling import tiled
from core.operations.windows import Window, windows
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import linear
from core.seeds import noise

WINDOW, OVERLAP, BATCH = (48, 48, 48), (8, 8, 8), 2


@torch.inference_mode()
def sample(
    network: ConditionedNetwork,
    cond: Tensor,
    present: Tensor,
    seed: int,
    *,
    steps: int,
    channels: int,
    spacing_mm: float,
) -> Tensor:
    """(channels, X, Y, Z) float32, drawn beside a condition window by window.

    Args:
        network: Answers for windows.
        cond: (C, X, Y, Z), of the whole volume.
        present: (X, Y, Z) bool; windows without it are left at 0.
        seed: Of the one noise field.
        steps: Of the sampler.
        channels: Of the sample.
        spacing_mm: Of the voxels.
    """
    shape = cond.shape[1], cond.shape[2], cond.shape[3]
    parts = [w for w in windows(shape, WINDOW, OVERLAP) if bool(present[w.slices].any())]
    spacing = torch.full((1, 3), spacing_mm)

    def denoise(z: Tensor, t: Tensor, r: Tensor, batch: list[Window]) -> Tensor:
        shown = torch.stack([cond[(slice(None), *w.slices)] for w in batch]).to(z.dtype)
        return denoiser(network, Conditioning(concat=shown, spacing=spacing))(z, t, r)

    start = noise((channels, *shape), seed, sample=channels)
    walk = tiled(denoise, parts, batch_size=BATCH)
    return SAMPLERS["dpmpp_2m"].walk(walk, start, linear(steps))[0].float()
