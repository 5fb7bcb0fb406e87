"""What is given of clips in training: some frames, all but a moving hole, or a part of each.

A network that is shown such parts learns to go on from frames, to fill holes and to paint around.
A share of the clips comes with nothing given, so that plain prompts stay what they were.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from core.tensors import sent
from core.training.feed import Batch, MakeBatch

PLAIN = 0.3
"""Share of the clips of which nothing is given."""
CHANNELS = 4
"""A clip's three, 0 where nothing is given, and the mask."""
LEAST_HOLE, MOST_HOLE = 0.2, 0.7  # of a side
FASTEST = 0.04  # sides a frame

Masks = Float[Tensor, "B 1 D H W"]
Size = tuple[int, int, int]


def masked(make_batch: MakeBatch) -> MakeBatch:
    """Batches of which a part is given, in ``concat``."""

    def make(batch_size: int, generator: torch.Generator) -> Batch:
        x, cond = make_batch(batch_size, generator)
        depth, height, width = x.shape[2:]
        given = sent(draw_masks(batch_size, (depth, height, width), generator), x.device)
        return x, replace(cond, concat=beside(x, given))

    return make


def beside(x: Float[Tensor, "B 3 D H W"], given: Masks) -> Float[Tensor, "B 4 D H W"]:
    """What a network is shown of clips in [-1, 1] of which a part is given."""
    return torch.cat([x * given, given.expand(len(x), -1, -1, -1, -1)], dim=1)


def draw_masks(count: int, size: Size, generator: torch.Generator) -> Masks:
    """Masks, 1 where something is given; a share of them is 0 all over."""
    kinds = torch.rand(count, generator=generator)
    drawn = []
    for kind in kinds.tolist():
        if kind < PLAIN:
            drawn.append(torch.zeros(size))
        elif kind < PLAIN + (1 - PLAIN) / 2:
            drawn.append(_frames(size, generator))
        else:
            hole = _hole(size, generator)
            outside = bool(torch.rand((), generator=generator) < 0.3)
            drawn.append(hole if outside else 1 - hole)
    return torch.stack(drawn)[:, None]


def _frames(size: Size, generator: torch.Generator) -> Float[Tensor, "D H W"]:
    """The first frames, the last, both, or any: never all of them."""
    depth = size[0]
    told = torch.zeros(depth)
    kind, number = torch.rand(2, generator=generator).tolist()
    some = 1 + int(number * (depth - 1) * 0.75) if depth > 1 else 0
    if kind < 0.4:
        told[:some] = 1
    elif kind < 0.6:
        told[depth - some :] = 1
    elif kind < 0.8:
        told[0] = told[-1] = 1
    else:
        told[torch.randperm(depth, generator=generator)[: max(1, some // 3)]] = 1
    told[depth // 2] *= float(not told.all())
    return told[:, None, None].expand(size).clone()


def _hole(size: Size, generator: torch.Generator) -> Float[Tensor, "D H W"]:
    """1 in a box that moves evenly."""
    depth, height, width = size
    numbers = torch.rand(6, generator=generator).tolist()
    sides = [LEAST_HOLE + (MOST_HOLE - LEAST_HOLE) * n for n in numbers[:2]]
    time = torch.arange(depth)[:, None]
    inside = []
    for length, side, place, pace in zip(
        (height, width), sides, numbers[2:4], numbers[4:], strict=True
    ):
        first = place * (1 - side) + (2 * pace - 1) * FASTEST * (time - depth / 2)
        along = (torch.arange(length) + 0.5)[None] / length
        inside.append((along >= first) & (along < first + side))  # (D, length)
    down, across = inside
    return (down[:, :, None] & across[:, None]).float()
