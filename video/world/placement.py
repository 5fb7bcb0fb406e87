"""Known scenes in new places: all that the words of a scene leave open, drawn anew as tensors.

Words say what is seen; sizes within their ranges, speeds, phases and rest points are free. They
are drawn for many scenes at once on the device of the table, by the rules of `video.world.world`.
"""

import math
from functools import cache
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.tensors import sent
from video.world.scene_table import (
    ANYWHERE,
    EMPTY,
    GROUP,
    MOTION,
    RADIUS,
    SHAPE,
    SIZE,
    SLOTS,
    SPEED,
    UNPLACED,
    SceneTable,
    Tracks,
    moves,
)
from video.world.scenes import (
    CLEAR,
    FRAME_SIZE,
    GROWTH,
    MOTIONS,
    PLACES,
    RATES,
    REACH,
    SHAPES,
    SIZES,
    SLANT,
    SPEEDS,
    rate_kind,
)
from video.world.world import GAP, HOPS, MARGIN, ORBITS, SPREAD

TRIES: Final = 48
"""Places that are tried at once; a scene for which none is free stays where it was."""
PAIRS: Final = ((0, 1), (0, 2), (1, 2))


def redraw(table: SceneTable, generator: torch.Generator) -> tuple[SceneTable, Bool[Tensor, "B"]]:
    """The scenes with the same words in new places, and which of them found one.

    Args:
        table: The scenes.
        generator: A CPU generator; it alone decides.
    """
    shape = len(table), SLOTS
    chance = torch.rand(*shape, 5, generator=generator, dtype=torch.float64)
    spots = torch.rand(len(table), TRIES, SLOTS, 2, generator=generator, dtype=torch.float64)
    device = table.numbers.device
    chance, spots = sent(chance, device), sent(spots, device)
    group = table.words[..., GROUP, None].long().expand(-1, -1, 5)
    numbers = _numbers(table.words, chance.gather(1, group))
    paths, reach = moves(table.words, numbers), _reach(table.words, numbers)
    spots = _within(spots, paths, reach)  # (B, tries, 3, 2)
    free = _fits(paths, reach, table)[:, None] & _apart(spots, paths, reach, table)
    free &= _as_said(spots, paths, table)
    found = free.any(1)
    first = free.byte().argmax(1)
    numbers[..., :2] = spots[torch.arange(len(table), device=device), first]
    kept = torch.where(found[:, None, None], numbers, table.numbers)
    return SceneTable(table.ground, table.place, table.words, kept), found


def _numbers(words: Int[Tensor, "B 3 6"], chance: Float[Tensor, "B 3 5"]) -> Tensor:
    """Radius, rate, span, phase and sense from numbers in [0, 1); x and y are left 0."""
    device = words.device
    motion, pace = words[..., MOTION].long(), words[..., SPEED].long()
    size, rates, _ = _ranges(device)
    low, high = rates[motion, pace].unbind(-1)
    rate = low + (high - low) * chance[..., 1]
    radius = size[words[..., SIZE].long()] * _between(SPREAD, chance[..., 0])
    bounce, orbit = (motion == MOTIONS.index(name) for name in ("bounce", "orbit"))
    none = torch.zeros_like(rate)
    hop = _between(HOPS, chance[..., 2]) + 4.0 * rate - 4.0
    span = torch.where(orbit, _between(ORBITS, chance[..., 2]), torch.where(bounce, hop, none))
    phase = torch.where(orbit, 2 * math.pi * chance[..., 3], none)
    sense = torch.where(chance[..., 4] < 0.5, -1.0, 1.0).double()
    return torch.stack([none, none, radius, rate, span, phase, sense], dim=-1)


def _between(bounds: tuple[float, float], chance: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * chance


def _reach(words: Int[Tensor, "B 3 6"], numbers: Float[Tensor, "B 3 7"]) -> Float[Tensor, "B 3"]:
    """`SceneObject.reach` of each slot."""
    motion = words[..., MOTION].long()
    swells = (motion == MOTIONS.index("grow")) | (motion == MOTIONS.index("shrink"))
    swell = torch.where(swells, 2 * GROWTH / (1 + GROWTH), 1.0)
    farthest = _ranges(words.device)[2]
    return numbers[..., RADIUS] * farthest[words[..., SHAPE].long().clamp_min(0)] * swell


def _box(paths: Tracks, reach: Float[Tensor, "B 3"]) -> tuple[Tensor, Tensor]:
    """Lowest and highest rest points, (B, 3, 2) each, at which a thing stays in the frame."""
    edge = (reach + MARGIN)[..., None]
    return edge - paths[..., :2].amin(2), FRAME_SIZE - edge - paths[..., :2].amax(2)


def _within(spots: Tensor, paths: Tracks, reach: Float[Tensor, "B 3"]) -> Tensor:
    low, high = _box(paths, reach)
    return low[:, None] + (high - low)[:, None] * spots


def _fits(paths: Tracks, reach: Float[Tensor, "B 3"], table: SceneTable) -> Bool[Tensor, "B"]:
    """Whether there is room in the frame for every thing."""
    low, high = _box(paths, reach)
    return ((low <= high).all(-1) | (table.words[..., SHAPE] == EMPTY)).all(1)


def _apart(
    spots: Float[Tensor, "B T 3 2"], paths: Tracks, reach: Float[Tensor, "B 3"], table: SceneTable
) -> Bool[Tensor, "B T"]:
    """Whether no two things come near each other in any frame."""
    empty = table.words[..., SHAPE] == EMPTY
    free = torch.ones(spots.shape[:2], dtype=torch.bool, device=spots.device)
    for one, other in PAIRS:
        step = paths[:, one, :, :2] - paths[:, other, :, :2]  # (B, 16, 2)
        gap = (spots[:, :, one] - spots[:, :, other])[:, :, None] + step[:, None]
        room = (reach[:, one] + reach[:, other] + GAP)[:, None]
        clear = gap.square().sum(-1).amin(-1) >= room.square()
        free &= clear | (empty[:, one] | empty[:, other])[:, None]
    return free


def _as_said(
    spots: Float[Tensor, "B T 3 2"], paths: Tracks, table: SceneTable
) -> Bool[Tensor, "B T"]:
    """Whether the first of two things stands to the second as it did; see `Scene.place`."""
    drift = paths[:, 0, :, :2].mean(1) - paths[:, 1, :, :2].mean(1)
    dx, dy = (spots[:, :, 0] - spots[:, :, 1] + drift[:, None]).unbind(-1)
    beside = dx.abs() >= (SLANT * dy.abs()).clamp_min(CLEAR)
    above = dy.abs() >= (SLANT * dx.abs()).clamp_min(CLEAR)
    left, up = (PLACES.index(place) for place in ("left of", "above"))
    place = torch.where(above, torch.where(dy < 0, up, up + 1), UNPLACED)
    place = torch.where(beside, torch.where(dx < 0, left, left + 1), place)
    wanted = table.place[:, None].long()
    return (place == wanted) | (wanted == ANYWHERE)


@cache
def _ranges(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Radius of each size, lowest and highest rate of each motion and speed, reach of each shape.

    (3,), (motions, 3, 2) and (shapes,), float64.
    """
    rows = [RATES.get(rate_kind(motion) or "", {}) for motion in MOTIONS]
    rates = [[row.get(speed, (0.0, 0.0)) for speed in SPEEDS] for row in rows]
    tables = [*SIZES.values()], rates, [REACH[shape] for shape in SHAPES]
    size, rate, reach = (torch.tensor(t, dtype=torch.float64, device=device) for t in tables)
    return size, rate, reach
