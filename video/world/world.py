"""Draws the procedural world: captioned clips of one to three moving things.

Everything follows from the generator that is passed: it gives one whole number per scene, and
that number alone decides the scene and its caption. Equal generators give equal batches, bit for
bit, and no global random state is read or changed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final

import numpy as np
import torch
from torch import Tensor

from core.refusal import Refusal
from video.world import splits
from video.world.captions import caption
from video.world.rendering import render
from video.world.scenes import (
    BACKGROUNDS,
    COLORS,
    FRAME_SIZE,
    MOTIONS,
    RATES,
    SHAPES,
    SIZES,
    SPEEDS,
    SYMMETRY,
    Scene,
    SceneObject,
    path,
    rate_kind,
)

COUNT_SHARES: Final = (0.7, 0.2, 0.1)
"""Share of scenes with one, two and three things."""
GAP: Final = 3.0
"""Least number of pixels between two things, in every frame."""
MARGIN: Final = 1.0
"""Least number of pixels between a thing and the border, in every frame."""
SPREAD: Final = (0.96, 1.04)
"""Radius of a thing, as a share of its size's."""
HOPS: Final = (8.0, 9.0)
"""Height of a bounce in pixels, at a rate of one pixel per frame."""
ORBITS: Final = (9.0, 12.0)
"""Radius of an orbit in pixels."""
PLACEMENTS: Final = 12
"""Tries for one member before the whole scene is drawn again."""
GROUPINGS: Final[dict[int, tuple[tuple[tuple[int, ...], float], ...]]] = {
    1: (((1,), 1.0),),
    2: (((2,), 0.4), ((1, 1), 0.6)),
    3: (((3,), 0.5), ((2, 1), 0.25), ((1, 1, 1), 0.25)),
}
"""How many things are shared out to groups, with the share of each way."""
EVENLY: Final[Mapping[str, float]] = {}
"""Every motion of a single thing as often as any other."""


def draw_batch(
    batch_size: int,
    generator: torch.Generator,
    *,
    split: str = "train",
    device: str | torch.device = "cpu",
    count_shares: Sequence[float] = COUNT_SHARES,
    motion_weights: Mapping[str, float] = EVENLY,
) -> tuple[Tensor, list[str], list[Scene]]:
    """Clips, captions and scenes: float32 (B, 3, 16, 64, 64) in [-1, 1], B strings, B records.

    Args:
        batch_size: how many scenes to draw.
        generator: a CPU generator; it alone decides the batch.
        split: `train` or `held_out`, see `video.world.splits`.
        device: where the clips are rendered and stay.
        count_shares: share of scenes with one, two and three things.
        motion_weights: how often a single thing has each motion; 1 for those not named.

    Raises:
        Refusal: for an unknown split, or shares that are not three weights.
    """
    seeds = torch.randint(2**62, (batch_size,), generator=generator).tolist()
    captions, scenes = [], []
    for seed in seeds:
        dice = Random(seed)
        scene = draw_scene(
            dice, split=split, count_shares=count_shares, motion_weights=motion_weights
        )
        scenes.append(scene)
        captions.append(caption(scene, dice))
    return render(scenes, device=device), captions, scenes


def draw_scene(
    dice: Random,
    *,
    split: str = "train",
    count_shares: Sequence[float] = COUNT_SHARES,
    motion_weights: Mapping[str, float] = EVENLY,
) -> Scene:
    """One scene of a split.

    Raises:
        Refusal: for an unknown split, or shares that are not three weights.
    """
    if split not in splits.SPLITS:
        raise Refusal(
            f"split={split!r}: a scene is drawn from 'train' or 'held_out'; pass one of them."
        )
    if len(count_shares) != 3 or min(count_shares) < 0 or sum(count_shares) <= 0:
        raise Refusal(
            f"count_shares={tuple(count_shares)}: three weights, none negative, are needed for "
            "scenes of one, two and three things; try (0.7, 0.2, 0.1)."
        )
    count = dice.choices((1, 2, 3), count_shares)[0]
    while True:
        ways, shares = zip(*GROUPINGS[count], strict=True)
        groups = dice.choices(ways, shares)[0]
        kinds = _draw_kinds(len(groups), split, motion_weights, dice)
        drafts = [_draw_thing(kind, count, dice) for kind in kinds]
        objects = _place(drafts, groups, dice)
        if objects is not None:
            return Scene(background=dice.choice(tuple(BACKGROUNDS)), objects=objects)


def _draw_kinds(
    number: int, split: str, motion_weights: Mapping[str, float], dice: Random
) -> list[tuple[str, str, str]]:
    """(shape, color, motion) of each group: colors differ, half of the scenes share one motion."""
    if number == 1:
        table = splits.kinds_by_motion(split)
        motions = tuple(table)
        weights = [motion_weights.get(motion, 1.0) for motion in motions]
        # even draws keep the way they were always made, so that a seed keeps its prompts
        chosen = dice.choices(motions, weights)[0] if motion_weights else dice.choice(motions)
        return [dice.choice(table[chosen])]
    while True:
        colors = dice.sample(tuple(COLORS), number)
        shared = dice.choice(MOTIONS) if dice.random() < 0.5 else ""
        motions = [shared or dice.choice(MOTIONS) for _ in colors]
        shapes = [dice.choice(tuple(SYMMETRY) if m == "spin" else SHAPES) for m in motions]
        kinds = list(zip(shapes, colors, motions, strict=True))
        if splits.held_out(kinds) == (split == "held_out"):
            return kinds


def _draw_thing(kind: tuple[str, str, str], count: int, dice: Random) -> SceneObject:
    """A thing of that (shape, color, motion) without members; smaller where there are more."""
    shape, color, motion = kind
    size = dice.choices(tuple(SIZES), {1: (1, 1, 1), 2: (2, 2, 1), 3: (3, 2, 0)}[count])[0]
    size = "medium" if motion in ("grow", "shrink") else size
    row = rate_kind(motion)
    speed = dice.choice(SPEEDS) if row else None
    rate = dice.uniform(*RATES[row][speed]) if row and speed else 0.0
    span = {"bounce": dice.uniform(*HOPS) + 4.0 * rate - 4.0, "orbit": dice.uniform(*ORBITS)}
    return SceneObject(
        shape=shape,
        color=color,
        size=size,
        motion=motion,
        speed=speed,
        centers=(),
        radius=SIZES[size] * dice.uniform(*SPREAD),
        rate=rate,
        span=span.get(motion, 0.0),
        phase=dice.uniform(0, 2 * math.pi) if motion == "orbit" else 0.0,
        sense=dice.choice((-1, 1)),
    )


def _place(
    drafts: list[SceneObject], groups: Sequence[int], dice: Random
) -> tuple[SceneObject, ...] | None:
    """The drafts with rest points that keep all members apart and in the frame, or None."""
    taken: list[tuple[np.ndarray, float]] = []
    placed = []
    for draft, members in zip(drafts, groups, strict=True):
        moves, centers = path(draft)[:, :2], []
        edge = draft.reach + MARGIN
        low, high = edge - moves.min(axis=0), FRAME_SIZE - edge - moves.max(axis=0)
        if (low > high).any():
            return None
        for _ in range(members):
            spot = _free_spot(moves, draft.reach, (low, high), taken, dice)
            if spot is None:
                return None
            centers.append((float(spot[0]), float(spot[1])))
            taken.append((moves + spot, draft.reach))
        placed.append(replace(draft, centers=tuple(centers)))
    return tuple(placed)


def _free_spot(
    moves: np.ndarray,
    reach: float,
    box: tuple[np.ndarray, np.ndarray],
    taken: list[tuple[np.ndarray, float]],
    dice: Random,
) -> np.ndarray | None:
    """A rest point in the box from which the moves never come near those already placed."""
    low, high = box
    for _ in range(PLACEMENTS):
        spot = np.array([dice.uniform(low[0], high[0]), dice.uniform(low[1], high[1])])
        track = moves + spot
        if all(np.hypot(*(track - other).T).min() >= reach + room + GAP for other, room in taken):
            return spot
    return None
