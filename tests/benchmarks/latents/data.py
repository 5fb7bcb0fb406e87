"""Whole heads and clips that the page on latents learns from and is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.conditioning import Conditioning
from core.networks.autoencoder import Autoencoder
from core.seeds import generator
from core.training.feed import Batch, MakeBatch
from medical.anatomy.whole_heads import on_grid
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.training.dataset import split_heads
from medical.training.heads import find_heads
from medical.training.whole_heads import latent_batches, whole_batches
from video.world.world import draw_batch

FPS, SCENES_SEED = 8.0, 11


@dataclass
class Data:
    """Read when it is needed.

    Attributes:
        folder: BIDS folder of heads, of which every sixth is held out.
        most: Heads of each side.
        held_out_clips: On which the autoencoder of clips is judged.
        kept: File of the heads on their grid; None to read them anew.
    """

    folder: Path
    most: int = 1000
    held_out_clips: int = 64
    kept: Path | None = None

    @cached_property
    def _sides(self) -> tuple[Tensor, Tensor]:
        if self.kept is None or not self.kept.is_file():
            taken = find_heads(self.folder).taken
            heads = [
                (name, Volume(on_grid(read_volume(path))[0], np.eye(4)))
                for name, path in taken.items()
            ]
            train, held_out = (
                torch.stack([v.data[None] for _, v in split_heads(heads, side)[: self.most]])
                for side in ("train", "validation")
            )
            if self.kept is None:
                return train, held_out
            save_file({"train": train, "held_out": held_out}, self.kept)
        found = load_file(self.kept)
        return found["train"], found["held_out"]

    @property
    def heads(self) -> Tensor:
        """(N, 1, X, Y, Z) for training."""
        return self._sides[0]

    @property
    def held_out(self) -> Tensor:
        """(M, 1, X, Y, Z)."""
        return self._sides[1]

    @cached_property
    def whole_heads(self) -> MakeBatch:
        """Batches of heads."""
        return whole_batches(self.heads)

    def latent_heads(self, coder: Autoencoder) -> MakeBatch:
        """The same as latents."""
        return latent_batches(self.heads, coder)

    def clips(self, batch_size: int, random: torch.Generator) -> Batch:
        """Batches of clips of the procedural world."""
        spacing = torch.tensor([[1 / FPS, 1.0, 1.0]])
        return draw_batch(batch_size, random, split="train")[0], Conditioning(spacing=spacing)

    @cached_property
    def other_clips(self) -> Tensor:
        """(N, 3, 16, 64, 64) held-out clips in [-1, 1]."""
        return draw_batch(self.held_out_clips, generator(SCENES_SEED), split="held_out")[0]
