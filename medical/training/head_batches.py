"""What the two networks behind drawn heads are trained on: patches of real people's maps.

One folds: blurred tissue maps become tissue at 2 mm. One paints: tissue at 2 mm becomes a
T1-weighted image at 1 mm. Both see patches alone, mirrored half of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from core.conditioning import Conditioning
from core.families.flow import FlowMatching
from core.networks.unet import SpatioTemporalUNet
from core.training.feed import Batch, MakeBatch
from core.training.plan import Plan
from medical.anatomy import folding
from medical.anatomy.filters import blurred
from medical.anatomy.painting import MEAN, SPREAD, Look, paint_condition, places_in
from medical.anatomy.tissues import Tissues

PATCH = 32
FILLED = 0.2
"""Least share of a patch that is brain."""
SOFT = 1.2
"""Blur of tissue labels before they are read at 2 mm, in mm."""
MOST_NOISE = 0.08
"""Of the fractions shown in training, as drawn ones are not perfect."""
OBJECTIVE = FlowMatching(
    level_mean=0.4, level_std=1.2, pure_noise_share=0.1, power=0.25, dropout=0.0
)


def network(channels: int) -> SpatioTemporalUNet:
    """1.6 million weights, for ``channels`` beside a condition of seven."""
    return SpatioTemporalUNet(**shape_of(channels))


def shape_of(channels: int) -> dict[str, Any]:
    """Settings of ``network``."""
    return {
        "in_channels": channels,
        "concat_channels": 7,
        "block_out_channels": (48, 96, 128),
        "layers_per_block": 1,
        "patch_size": (2, 2, 2),
        "down_strides": ((2, 2, 2), (2, 2, 2)),
        "attention_levels": (False, False, False),
        "spatial_attention_levels": (False, False, False),
        "rope_periods": (2.0, 64.0),
        "prediction": "sample",
    }


def plan(minutes: float, *, data: str, seed: int = 0) -> Plan:
    """A run of at most so many minutes.

    Args:
        minutes: Over all sittings.
        data: Words for what is trained on.
        seed: Of everything random.
    """
    return Plan(
        steps=20000,
        minutes=minutes,
        batch_size=6,
        learning_rate=2e-3,
        warmup=20,
        cooldown=0.6,
        ema_decay=0.998,
        checkpoint_minutes=3,
        data=data,
        seed=seed,
    )


@dataclass(frozen=True, eq=False)
class PaintedHead:
    """A real head at 1 mm, to be painted from its own tissue.

    Attributes:
        image: (X, Y, Z) intensities without bias, white near 0.75.
        fractions: (3, X / 2, Y / 2, Z / 2) uint8 at 2 mm.
        low: Where the brain's box begins, in voxels of the image.
        high: Where it ends.
        look: Its mean intensities.
    """

    image: Tensor
    fractions: Tensor
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    look: Look

    @classmethod
    def of(cls, found: Tissues) -> PaintedHead:
        """A head of 1 mm with its tissues, cut to even sizes."""
        even = tuple(slice(0, n - n % 2) for n in found.labels.shape)
        labels, image = found.labels[even], found.even[even]
        soft = torch.from_numpy(fractions_of(labels))
        halved = (F.avg_pool3d(soft[None], 2)[0] * 255).round().to(torch.uint8)
        brain = np.argwhere(labels > 0)
        look = Look(*found.means())
        return cls(torch.from_numpy(image).half(), halved, brain.min(0), brain.max(0), look)


def fractions_of(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(3, X, Y, Z) of fluid, gray, white: labels of 1 mm, blurred."""
    kinds = [(labels == k).astype(np.float32) for k in (1, 2, 3)]
    return np.stack([blurred(k, SOFT) for k in kinds])


def painting_batches(heads: Sequence[PaintedHead]) -> MakeBatch:
    """Patches of 1 mm with what is told of them."""

    def one(random: torch.Generator) -> tuple[Tensor, Tensor]:
        while True:
            head = heads[_below(len(heads), random)]
            half = [_below(n - PATCH // 2 - 1, random) for n in head.fractions.shape[1:]]
            coarse = head.fractions[
                (slice(None), *(slice(max(0, a - 1), a + PATCH // 2 + 1) for a in half))
            ]
            if float(coarse.float().sum(0).gt(127).float().mean()) < FILLED:
                continue
            return _painted_patch(head, half, coarse.float() / 255, random)

    return _batches(one, torch.ones(1, 3))


def _painted_patch(
    head: PaintedHead, half: list[int], coarse: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    strength = MOST_NOISE * float(torch.rand((), generator=random))
    coarse = coarse + strength * torch.randn(coarse.shape, generator=random)
    fine = F.interpolate(coarse[None], scale_factor=2, mode="trilinear")[0]
    inner = [slice(2 * min(a, 1), 2 * min(a, 1) + PATCH) for a in half]
    fine = fine[(slice(None), *inner)]
    start = 2 * np.array(half)
    box = tuple(slice(int(a), int(a) + PATCH) for a in start)
    x = (head.image[box].float()[None] - MEAN) / SPREAD
    places = places_in((PATCH,) * 3, head.low - start, head.high - start)
    return _mirrored(x, paint_condition(fine, head.look, places), 4, random)


def folding_batches(maps: NDArray[np.uint8], conditions: NDArray[np.float16]) -> MakeBatch:
    """Patches of tissue at 2 mm with the blurred maps around them.

    Args:
        maps: (P, 3, X, Y, Z) uint8 fractions.
        conditions: (P, 7, X, Y, Z).
    """
    shape = maps.shape[2:]

    def one(random: torch.Generator) -> tuple[Tensor, Tensor]:
        while True:
            k = _below(len(maps), random)
            at = [_below(n - PATCH + 1, random) for n in shape]
            box = (slice(None), *(slice(a, a + PATCH) for a in at))
            x = torch.from_numpy(maps[k][box].astype(np.float32)) / 255
            if float((x.sum(0) > 0.5).float().mean()) < FILLED:
                continue
            cond = torch.from_numpy(conditions[k][box].astype(np.float32))
            return _mirrored((x - folding.MEAN) / folding.SPREAD, cond, 4, random)

    return _batches(one, torch.full((1, 3), 2.0))


def _batches(one: Any, spacing: Tensor) -> MakeBatch:
    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        drawn = [one(generator) for _ in range(batch_size)]
        x, cond = (torch.stack([row[i] for row in drawn]) for i in (0, 1))
        return x, Conditioning(concat=cond, spacing=spacing.expand(batch_size, 3))

    return make_batch


def _mirrored(
    x: Tensor, cond: Tensor, sideways: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Patch and condition, left and right exchanged half of the time.

    Args:
        x: (C, X, Y, Z).
        cond: (7, X, Y, Z).
        sideways: Channel of the condition that says how far to the right.
        random: Decides.
    """
    if _below(2, random) == 0:
        return x, cond
    cond = cond.flip(1)
    cond[sideways] = -cond[sideways]
    return x.flip(1), cond


def _below(end: int, random: torch.Generator) -> int:
    return int(torch.randint(end, (), generator=random))
