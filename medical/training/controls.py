"""What a branch for a control is shown of heads in training: their edges, but for a share."""

from dataclasses import replace

import torch

from core.tensors import align, sent
from core.training.feed import Batch, MakeBatch
from medical.operations.controlled import edges
from medical.operations.residual import RESIDUAL_SCALE

WITHOUT = 0.1
"""Share of the patches whose control is empty, so that little is added where little is known."""


def controlled(make_batch: MakeBatch) -> MakeBatch:
    """Batches of patches with the edges of the sharp head as control."""

    def make(batch_size: int, generator: torch.Generator) -> Batch:
        x, cond = make_batch(batch_size, generator)  # what back-projection leaves out
        assert cond.concat is not None
        told = torch.rand(batch_size, generator=generator) >= WITHOUT
        head = (cond.concat[:, :1] + 1) / 2 + RESIDUAL_SCALE * x  # (B, 1, D, H, W)
        shown = edges(head)
        return x, replace(cond, control=shown * align(sent(told, x.device), shown))

    return make
