"""Control: a trained copy of a frozen U-Net's way down, which is told where things are to be.

The copy sees the sample and a control of the same size, such as edges. What it finds at every
block is added to the base's skips and middle through layers that begin at zero, so that the base
answers bit for bit as before until something is learned, and whenever no control is given.
Zhang et al. 2023 (ControlNet).
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from core.networks.blocks import Merge, SpatioTemporalBlock, from_tokens, pad, to_tokens
from core.networks.embeddings import Places
from core.networks.text_memory import TextMemory
from core.refusal import Refusal
from core.seeds import initialized
from core.tensors import Regridded, Volumes

if TYPE_CHECKING:
    from core.networks.unet import SpatioTemporalUNet


class ControlBranch(nn.Module):
    """What is added to a base's skips and middle.

    >>> from core.networks.unet import SpatioTemporalUNet
    >>> base = SpatioTemporalUNet(block_out_channels=(8, 16), down_strides=((1, 2, 2),))
    >>> ControlBranch(base, channels=1).channels
    1

    Args:
        base: Whose way down is copied.
        channels: Of the control.

    Attributes:
        scale: How strongly the control counts; 1 as it was learned.
    """

    def __init__(self, base: SpatioTemporalUNet, channels: int) -> None:
        super().__init__()
        self.channels, self.scale, self.cell = channels, 1.0, base.cell
        widths = base.config["block_out_channels"]
        self.stem = Merge(channels, widths[0], base.patch)
        self.down_blocks = deepcopy(base.down_blocks)
        self.merges = deepcopy(base.merges)
        self.mid_block = deepcopy(base.mid_block)
        for attention in (m for m in self.modules() if getattr(m, "text", None) is not None):
            for unused in ("to_k", "to_v", "norm_k"):  # the base's keys and values are used
                setattr(attention.text, unused, None)
        down = cast("list[list[SpatioTemporalBlock]]", self.down_blocks)
        found = [widths[level] for level, blocks in enumerate(down) for _ in blocks]
        self.outs = nn.ModuleList(nn.Linear(width, width) for width in [*found, widths[-1]])
        for out in self.outs:
            assert isinstance(out, nn.Linear)
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)
        self.requires_grad_(True)

    def forward(
        self,
        base: SpatioTemporalUNet,
        control: Volumes,
        x: Regridded,
        emb: Tensor,
        memory: TextMemory | None,
        places: list[Places],
    ) -> list[Tensor]:
        """What is added to each skip, and to the middle.

        Args:
            base: Beside which this is.
            control: (B, channels, D, H, W), of the sample's size.
            x: (B, width, D / pd, H / ph, W / pw) behind the base's stem.
            emb: (B, emb) all that modulates the blocks.
            memory: What the base reads of the prompt.
            places: Of each level.
        """
        pairs = iter(memory.keys_values if memory is not None else ())
        mask = None if memory is None else memory.mask
        x = x + self.stem(pad(control.to(x.dtype), self.cell))  # (B, width, D', H', W')
        found: list[Tensor] = []

        def through(blocks: nn.Module, x: Tensor, level: int) -> Tensor:
            for block in cast("list[SpatioTemporalBlock]", blocks):
                reads = block.attention is not None and block.attention.text is not None
                pair = next(pairs) if reads else None
                x = base.run(block, x, emb, pair, mask, places[level])
                if blocks is not self.mid_block:
                    found.append(x)
            return x

        for level, blocks in enumerate(self.down_blocks):
            x = self.merges[level](through(blocks, x, level))
        found.append(through(self.mid_block, x, len(self.merges)))
        return [self._out(out, part) for out, part in zip(self.outs, found, strict=True)]

    def _out(self, out: nn.Module, x: Tensor) -> Regridded:
        return from_tokens(self.scale * out(to_tokens(x)))


def with_control(network: SpatioTemporalUNet, channels: int, *, seed: int) -> SpatioTemporalUNet:
    """The network, of which from now on a branch for a control alone is learned; in place.

    Args:
        network: Finished.
        channels: Of the control.
        seed: Decides the first weights of the control's stem.
    """
    network.requires_grad_(False)
    network.control = initialized(partial(ControlBranch, network, channels), seed)
    return network


def check_control(branch: nn.Module | None, control: Tensor, shape: torch.Size) -> None:
    """Refuse a control that a network cannot be shown beside a sample of that shape.

    Raises:
        Refusal: The network has no branch for it, or its channels or its size differ.
    """
    if not isinstance(branch, ControlBranch):
        raise Refusal(
            f"a control of {_size(control.shape[1:])} for a network without a branch for one: a "
            "control is read by the file that was trained for it; name that, or leave it out."
        )
    expected = (branch.channels, *shape[2:])
    if tuple(control.shape[1:]) != expected:
        raise Refusal(
            f"a control of {_size(control.shape[1:])} beside a sample of {_size(shape[2:])}: it "
            f"has {branch.channels} channels and the sample's size; give one of "
            f"{_size(expected)}."
        )


def _size(numbers: tuple[int, ...] | torch.Size) -> str:
    return " x ".join(map(str, numbers))
