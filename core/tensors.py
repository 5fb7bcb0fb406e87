"""The names of the tensors that travel through the house, and their axes.

B batch, C channels, D depth, H height, W width: D counts frames in ``video`` and
slices in ``medical``; ``core`` does not care which. L counts tokens, E is their width,
S counts noise levels.
"""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from core.numerics import exact

Volumes: TypeAlias = Float[Tensor, "B C D H W"]
Features: TypeAlias = Float[Tensor, "B C2 D H W"]  # the same grid, other channels
Regridded: TypeAlias = Float[Tensor, "B C2 D2 H2 W2"]  # another grid
Levels: TypeAlias = Float[Tensor, "S"]
Spacings: TypeAlias = Float[Tensor, "B 3"]
Triple: TypeAlias = tuple[int, int, int]


def align(level: Tensor, x: Tensor) -> Tensor:
    """Give one number per sample (or one for all) the rank of ``x``, so that it broadcasts.

    Args:
        level: Shape () or (B,).
        x: Any tensor whose first axis is B.

    Returns:
        Shape (1, 1, ...) or (B, 1, ...), in the dtype of ``level``.
    """
    return level.reshape(-1, *[1] * (x.ndim - 1))


def inference_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it natively and may, float32 elsewhere."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = torch.cpu._is_avx512_bf16_supported() and not exact()
    return torch.bfloat16 if fast else torch.float32


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on another device; the program does not wait until a GPU has it."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
