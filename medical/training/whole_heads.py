"""Batches of whole heads at 2 mm, as they are and as an autoencoder's latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.networks.autoencoder import Autoencoder
from core.training.feed import Batch, MakeBatch
from core.training.latents import latents
from medical.anatomy.segmenting import GRID_MM
from medical.anatomy.whole_heads import on_grid
from medical.files.volume import Volume

SPACING = (GRID_MM, GRID_MM, GRID_MM)


def stacked(heads: Sequence[Volume]) -> Tensor:
    """(N, 1, X, Y, Z) the heads on one grid."""
    return torch.stack([on_grid(head) for head in heads])


def whole_batches(heads: Tensor) -> MakeBatch:
    """Heads at random, left and right exchanged half of the time.

    Args:
        heads: (N, 1, X, Y, Z).
    """

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        rows, mirrored = _drawn(len(heads), batch_size, generator)
        found = heads[rows]
        return torch.where(mirrored, found.flip(2), found), Conditioning(spacing=_spacing())

    return make_batch


def latent_batches(heads: Tensor, coder: Autoencoder) -> MakeBatch:
    """The same heads as latents, each encoded once and when the first batch is asked for."""
    kept: list[tuple[Tensor, Tensor]] = []

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        if not kept:
            both = (torch.cat([latents(coder, x[None]).cpu() for x in each]) for each in
                    (heads, heads.flip(2)))  # fmt: skip
            kept.append((next(both), next(both)))
        plain, turned = kept[0]
        rows, mirrored = _drawn(len(heads), batch_size, generator)
        return torch.where(mirrored, turned[rows], plain[rows]), Conditioning(spacing=_spacing())

    return make_batch


def _drawn(heads: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which heads, (B,), and which of them mirrored, (B, 1, 1, 1, 1)."""
    rows = torch.randint(heads, (batch_size,), generator=generator)
    return rows, torch.randint(2, (batch_size, 1, 1, 1, 1), generator=generator) > 0


def _spacing() -> Tensor:
    return torch.tensor([SPACING])
