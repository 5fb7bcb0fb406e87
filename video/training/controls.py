"""What a branch for a control is shown of clips in training: their edges, but for a share."""

from dataclasses import replace

import torch

from core.tensors import align, sent
from core.training.feed import Batch, MakeBatch
from video.engines.edges import edges

WITHOUT = 0.1
"""Share of the clips whose control is empty, so that little is added where little is known."""


def controlled(make_batch: MakeBatch) -> MakeBatch:
    """Batches with the clips' edges as control; what a clip shows is not told by a sketch."""

    def make(batch_size: int, generator: torch.Generator) -> Batch:
        x, cond = make_batch(batch_size, generator)
        told = torch.rand(batch_size, generator=generator) >= WITHOUT
        shown = edges(x)
        return x, replace(cond, sketch=None, control=shown * align(sent(told, x.device), shown))

    return make
