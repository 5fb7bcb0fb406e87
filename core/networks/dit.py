"""A transformer in place of the U-Net: every cell of a clip or a volume attends to every other.

Peebles & Xie 2023 ("Scalable diffusion models with transformers"): patches, and blocks that the
noise level scales, shifts and gates, each gate shut at first (adaLN-zero). The prompt is read by
attention of its own, as in Chen et al. 2024 (PixArt-alpha).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from core.conditioning import Conditioning
from core.networks.attention import Attention, FeedForward
from core.networks.blocks import Merge, Split, from_tokens, to_tokens
from core.networks.conditioned import ConditionedNetwork
from core.networks.embeddings import Places, Turns
from core.networks.network import keeps_settings
from core.networks.shapes import check_shape, triple
from core.networks.text_memory import TextMemory
from core.tensors import Regridded, Volumes


class DiTBlock(nn.Module):
    """Attention among all cells, over the prompt, and a feed-forward; the first and last gated.

    >>> block = DiTBlock(16, 4, text_channels=0, head_dim=8)
    >>> turns = Places(torch.zeros(1, 2, 4), height=2, width=2).grid
    >>> x = torch.randn(1, 8, 16)
    >>> torch.equal(block(x, torch.randn(1, 4), None, None, turns), x)
    True

    Args:
        channels: C.
        emb_channels: Width of the vector that modulates.
        text_channels: Width of the text states; 0 leaves the text out.
        head_dim: Width of one head.
    """

    def __init__(
        self, channels: int, emb_channels: int, *, text_channels: int, head_dim: int
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels, elementwise_affine=False) for _ in "ab")
        self.modulation = nn.Linear(emb_channels, 6 * channels)
        self.space = Attention(channels, head_dim=head_dim)
        self.feed = FeedForward(channels, factor=4)
        self.norm_text = nn.LayerNorm(channels) if text_channels else None
        self.text = (
            Attention(channels, context_channels=text_channels, head_dim=head_dim)
            if text_channels
            else None
        )
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        for last in (self.space.to_out[0], self.feed.fall):  # a shut gate before zeros stays shut
            nn.init.xavier_uniform_(last.get_parameter("weight"))

    def forward(
        self,
        x: Tensor,
        emb: Tensor,
        keys_values: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        turns: Turns,
    ) -> Tensor:
        """(B, S, C) cells, (B, emb) -> (B, S, C)."""
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(emb)[:, None].chunk(6, dim=-1)
        h = torch.addcmul(shift, self.norms[0](x), 1 + scale)  # (B, S, C)
        x = torch.addcmul(x, gate, self.space(h, turns=turns))
        if self.text is not None and self.norm_text is not None and keys_values is not None:
            x = x + self.text(self.norm_text(x), keys_values, mask)
        h = torch.addcmul(shift2, self.norms[1](x), 1 + scale2)
        return torch.addcmul(x, gate2, self.feed(h))


class SpatioTemporalDiT(ConditionedNetwork):
    """Average velocity u(z, t, r) of clips and volumes, as ``SpatioTemporalUNet`` answers.

    >>> network = SpatioTemporalDiT(width=16, layers=1, patch_size=(1, 4, 4), head_dim=8)
    >>> network(torch.randn(1, 3, 4, 8, 8), torch.tensor([0.5]), torch.tensor([0.5])).shape
    torch.Size([1, 3, 4, 8, 8])

    Args:
        in_channels: Channels of the sample.
        concat_channels: Channels laid beside it (``Conditioning.concat``), mask included.
        width: Of every cell.
        layers: Blocks, one after the other.
        patch_size: Cell of D, H, W voxels that becomes one token.
        text_channels: Width of the text states; 0 for a network without text.
        num_labels: Classes of ``Conditioning.label``; 0 for none.
        head_dim: Width of one attention head.
        rope_periods: Shortest and longest rotary wave along D, in the unit of ``spacing``.
        default_spacing: Spacing assumed where the conditioning gives none.
        prediction: Of the last layer: ``"velocity"``, or ``"sample"``, from which (z - x) / t
            follows (Li & He 2025, "Back to basics").
        trained_objective: ``"flow_matching"``, or another family.
    """

    _no_split_modules = ("DiTBlock",)
    _repeated_blocks = ("DiTBlock",)

    @keeps_settings
    def __init__(  # noqa: PLR0913, PLR0917  the settings that config.json keeps
        self,
        in_channels: int = 3,
        concat_channels: int = 0,
        width: int = 256,
        layers: int = 8,
        patch_size: Sequence[int] = (1, 4, 4),
        text_channels: int = 0,
        num_labels: int = 0,
        head_dim: int = 64,
        rope_periods: Sequence[float] = (0.25, 8.0),
        default_spacing: Sequence[float] = (1.0, 1.0, 1.0),
        prediction: str = "velocity",
        trained_objective: str = "flow_matching",
    ) -> None:
        super().__init__()
        check_shape((width,), (), (1, 1, 1), prediction)
        self.cell = triple(patch_size)
        self.layouts, emb = None, width
        self.build_embeddings(emb)
        self.stem = Merge(in_channels + concat_channels, width, self.cell)
        self.blocks = nn.ModuleList(
            DiTBlock(width, emb, text_channels=text_channels, head_dim=head_dim)
            for _ in range(layers)
        )
        texts = [block.text for block in cast("list[DiTBlock]", self.blocks)]
        self.readers = tuple(text for text in texts if text is not None)
        self.norm_out = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation_out = nn.Linear(emb, 2 * width)
        self.head = Split(width, in_channels, self.cell)
        for last in (self.modulation_out, self.head.mix):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def answer(
        self, x: Regridded, emb: Tensor, cond: Conditioning, memory: TextMemory | None
    ) -> Volumes:
        """What the last layer says; see ``ConditionedNetwork``."""
        grid = x.shape[2:]
        spacing = self.spacing_of(cond)
        (places,) = self.places_of([self.cell], [self.config["width"]], spacing, grid)
        cells = to_tokens(self.stem(x))  # (B, D / pd, H / ph, W / pw, C)
        x = self._walk(cells.flatten(1, 3), emb, memory, places)  # (B, S, C)
        shift, scale = self.modulation_out(emb)[:, None].chunk(2, dim=-1)  # (B, 1, C)
        x = torch.addcmul(shift, self.norm_out(x), 1 + scale)
        return self.head(from_tokens(x.unflatten(1, cells.shape[1:4])))  # (B, C, D', H', W')

    def _walk(self, x: Tensor, emb: Tensor, memory: TextMemory | None, places: Places) -> Tensor:
        """Through all blocks: (B, S, C) -> (B, S, C)."""
        pairs = iter(memory.keys_values if memory is not None else ())
        mask = None if memory is None else memory.mask
        for block in self.blocks:
            x = self.run(block, x, emb, next(pairs, None), mask, places.grid)
        return x
