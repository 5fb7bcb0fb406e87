"""What the network keeps of prompt and reference, so that both are read once, not at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextMemory:
    """What the network reads once: keys and values of a prompt, its meaning, and a reference.

    >>> TextMemory(keys_values=(), mask=None, pooled=torch.zeros(2, 8)).pooled.shape
    torch.Size([2, 8])

    Attributes:
        keys_values: One pair per attention stage, each (B, L, heads, head_dim).
        mask: (B, 1, 1, L) bool, or None when every token is real.
        pooled: (B, emb) the mean text state, projected; None for a network without text.
        shown: What stands behind each attention stage and adds a reference's look, (B, C, D, H,
            W) -> (B, C, D, H, W) each; empty without one.
    """

    keys_values: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor | None
    pooled: Tensor | None
    shown: tuple[Callable[[Tensor], Tensor], ...] = ()


def with_null(tokens: Tensor, mask: Tensor | None, null: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens and their mask, where a row without a real token holds the null token.

    Args:
        tokens: (B, L, E) text states.
        mask: (B, L) bool, True where a token is real; None where all are.
        null: (1, 1, E) the learned absence of a prompt.
    """
    real = mask if mask is not None else tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
    empty = ~real.any(dim=1)
    first = torch.zeros_like(real)
    first[:, 0] = True
    real = torch.where(empty[:, None], first, real)
    return torch.where(empty[:, None, None], null, tokens.to(null.dtype)), real
