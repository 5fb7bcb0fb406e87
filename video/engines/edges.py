"""Edges of clips: what a control shows of where things are, without their colors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

CHANNELS = 1
STEEPEST = 0.5
"""Change of brightness from pixel to pixel, in clips from -1 to 1, that counts as a whole edge."""


def edges(x: Float[Tensor, "B 3 D H W"]) -> Float[Tensor, "B 1 D H W"]:
    """How steeply any color changes within its frame, from 0 to 1.

    The central differences of each channel; the steepest of the three counts.
    """
    padded = functional.pad(x.float(), (1, 1, 1, 1, 0, 0), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    slope = torch.hypot(across, down).amax(1, keepdim=True)  # (B, 1, D, H, W)
    return (slope / STEEPEST).clamp(max=1.0)
