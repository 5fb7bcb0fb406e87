"""Reference: a picture or a volume whose look a frozen U-Net takes over, by attention alone.

What is shown becomes tokens, and behind each attention stage of the base its cells attend to
them, through keys and values of their own beside those of the prompt: decoupled cross-attention,
Ye et al. 2023 (IP-Adapter). Here it has queries and a projection of its own as well, so that a
base without text takes it, too. The projections begin at zero: the base answers bit for bit as
before until something is learned, and whenever no reference is given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from core.networks.attention import Attention, FeedForward
from core.networks.blocks import Merge, from_tokens, to_tokens
from core.refusal import Refusal
from core.seeds import initialized
from core.tensors import Triple, Volumes, align

if TYPE_CHECKING:
    from core.networks.unet import SpatioTemporalUNet

CELLS = 8
"""Along each axis of a reference that is longer; each cell is a token."""


class ReferenceStage(nn.Module):
    """What stands behind one attention stage of the base.

    >>> stage, x = ReferenceStage(8, 4, head_dim=8), torch.randn(2, 8, 1, 3, 3)
    >>> torch.equal(stage.seeing(torch.randn(2, 5, 4), torch.ones(2, 1, 1))(x), x)
    True

    Args:
        channels: Of the base there.
        width: Of a reference's tokens.
        head_dim: Width of one head.
    """

    def __init__(self, channels: int, width: int, *, head_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, context_channels=width, head_dim=head_dim)

    def seeing(self, tokens: Tensor, share: Tensor) -> Callable[[Volumes], Volumes]:
        """The stage with a reference, which is read once.

        Args:
            tokens: (B or 1, L, width) of the reference.
            share: (B or 1, 1, 1) how strongly it counts; 0 for rows without one.
        """
        pair = self.attention.keys_and_values(tokens)

        def add(x: Volumes) -> Volumes:
            cells = to_tokens(x)  # (B, D, H, W, C)
            found = share * self.attention(self.norm(cells).flatten(1, 3), pair)  # (B, S, C)
            return from_tokens(cells + found.view(cells.shape))  # (B, C, D, H, W)

        return add


class ReferenceEncoder(nn.Module):
    """A small vision transformer; Dosovitskiy et al. 2021.

    >>> ReferenceEncoder(3, (1, 16, 16), width=32)(torch.zeros(2, 3, 1, 16, 16)).shape
    torch.Size([2, 64, 32])

    Args:
        channels: Of a reference.
        size: D, H, W of it; its tokens are cells of it, ``CELLS`` along each longer axis.
        width: Of a token.
        layers: Of attention among the tokens.
    """

    def __init__(self, channels: int, size: Triple, *, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        d, h, w = (max(1, side // CELLS) for side in size)
        count = prod(side // cell for side, cell in zip(size, (d, h, w), strict=True))
        self.stem = Merge(channels, width, (d, h, w))
        self.place_embedding = nn.Parameter(0.02 * torch.randn(1, count, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers + 1))
        self.attentions = nn.ModuleList(Attention(width, head_dim=32) for _ in range(layers))
        self.feeds = nn.ModuleList(FeedForward(width) for _ in range(layers))

    def forward(self, reference: Volumes) -> Tensor:
        """(B, C, D, H, W) -> (B, L, width)."""
        x = to_tokens(self.stem(reference)).flatten(1, 3) + self.place_embedding  # (B, L, width)
        last, *norms = reversed(self.norms)
        for attention, feed in zip(self.attentions, self.feeds, strict=True):
            x = x + attention(norms.pop()(x))
            x = x + feed(norms.pop()(x))
        return last(x)


class ReferenceAdapter(nn.Module):
    """What is read of a reference behind each attention stage of a base.

    >>> from core.networks.unet import SpatioTemporalUNet
    >>> base = SpatioTemporalUNet(block_out_channels=(8, 16), down_strides=((1, 2, 2),),
    ...     attention_levels=(False, True), spatial_attention_levels=(False, True))
    >>> len(ReferenceAdapter(base, 3, (1, 16, 16)).stages)
    2

    Args:
        base: Whose attention stages read.
        channels: Of a reference.
        size: D, H, W of it.

    Attributes:
        scale: How strongly the reference counts; 1 as it was learned.
    """

    def __init__(self, base: SpatioTemporalUNet, channels: int, size: Triple) -> None:
        super().__init__()
        self.channels, self.size, self.scale = channels, size, 1.0
        self.encoder = ReferenceEncoder(channels, size)
        width = self.encoder.stem.mix.out_features
        self.stages = nn.ModuleList(
            ReferenceStage(stage.axis.to_q.in_features, width, head_dim=base.config["head_dim"])
            for stage in base.stages
        )

    def forward(self, reference: Volumes) -> tuple[Callable[[Volumes], Volumes], ...]:
        """What is added behind each attention stage, in the order in which they are asked.

        Args:
            reference: (B, channels, *size); rows of zeros alone show nothing.
        """
        real = reference.flatten(1).any(1).to(reference.dtype)  # (B,)
        tokens = self.encoder(reference)  # (B, L, width)
        share = self.scale * align(real, tokens)
        stages = cast("list[ReferenceStage]", self.stages)
        return tuple(stage.seeing(tokens, share) for stage in stages)


def with_reference(
    network: SpatioTemporalUNet, channels: int, size: Triple, *, seed: int
) -> SpatioTemporalUNet:
    """The network, of which from now on what it reads of a reference alone is learned; in place.

    Args:
        network: Finished.
        channels: Of a reference.
        size: D, H, W of it.
        seed: Decides the first weights.
    """
    network.requires_grad_(False)
    network.reference = initialized(partial(ReferenceAdapter, network, channels, size), seed)
    return network


def reader_of(network: nn.Module, reference: Tensor) -> ReferenceAdapter:
    """What reads a reference beside a network.

    Raises:
        Refusal: The network has no adapter for it, or its channels or its size differ.
    """
    shape, adapter = " x ".join(map(str, reference.shape[1:])), getattr(network, "reference", None)
    if not isinstance(adapter, ReferenceAdapter):
        raise Refusal(
            f"a reference of {shape} for a network without an adapter for one: a reference is "
            "read by the file that was trained for it; name that, or leave it out."
        )
    expected = (adapter.channels, *adapter.size)
    if tuple(reference.shape[1:]) != expected:
        raise Refusal(
            f"a reference of {shape}: the adapter was taught with channels and sides of "
            f"{' x '.join(map(str, expected))}; scale it to these."
        )
    return adapter
