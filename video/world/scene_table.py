"""Scenes as tensors: many at once, on any device, for what must not go through Python.

A scene has three slots, one for each thing that is seen, members of groups one by one. A slot
holds words (their places in the tables of `video.world.scenes`) and numbers (in pixels and
radians).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from video.world.scenes import (
    BACKGROUNDS,
    COLORS,
    DIRECTIONS,
    GROWTH,
    MOTIONS,
    NUM_FRAMES,
    PLACES,
    SHAPES,
    SIZES,
    SPEEDS,
    Scene,
)

SLOTS: Final = 3
SHAPE, COLOR, SIZE, MOTION, SPEED, GROUP = range(6)
X, Y, RADIUS, RATE, SPAN, PHASE, SENSE = range(7)
EMPTY: Final = -1
"""Shape of a slot that holds nothing."""
UNPLACED: Final = -1
"""Place of two single things of which none is clearly on one side of the other."""
ANYWHERE: Final = -2
"""Place of all other scenes."""

Tracks = Float[Tensor, "B 3 16 4"]


@dataclass(frozen=True)
class SceneTable:
    """B scenes.

    Attributes:
        ground: (B,) place in `BACKGROUNDS`.
        place: (B,) place in `PLACES` of the first of two single things, seen from the second;
            or `UNPLACED`, or `ANYWHERE`.
        words: (B, 3, 6) shape, color, size, motion, speed, and which of the scene's things it is.
        numbers: (B, 3, 7) float64: x, y, radius, rate, span, phase, sense.
    """

    ground: Int[Tensor, "B"]
    place: Int[Tensor, "B"]
    words: Int[Tensor, "B 3 6"]
    numbers: Float[Tensor, "B 3 7"]

    def __len__(self) -> int:
        return len(self.ground)

    def take(self, rows: Int[Tensor, "R"]) -> "SceneTable":
        """Some of the scenes."""
        return SceneTable(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def put(self, rows: slice, scenes: "SceneTable") -> None:
        """Write scenes in the place of some rows."""
        for f in fields(self):
            getattr(self, f.name)[rows] = getattr(scenes, f.name)

    def to(self, device: torch.device | str) -> "SceneTable":
        """The same on another device."""
        return SceneTable(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def blank(size: int) -> SceneTable:
    """Scenes of nothing on the first background, to be written over."""
    words = torch.zeros(size, SLOTS, GROUP + 1, dtype=torch.int8)
    words[..., SHAPE] = EMPTY
    none = torch.zeros(size, dtype=torch.int8)
    numbers = torch.zeros(size, SLOTS, SENSE + 1, dtype=torch.float64)
    return SceneTable(none, torch.full_like(none, ANYWHERE), words, numbers)


def tabulate(scenes: Sequence[Scene]) -> SceneTable:
    """The scenes, in their order."""
    table, grounds = blank(len(scenes)), tuple(BACKGROUNDS)
    rows, words, numbers, places = [], [], [], []
    for number, scene in enumerate(scenes):
        slot = number * SLOTS
        for group, thing in enumerate(scene.objects):
            said = _words(thing.shape, thing.color, thing.size, thing.motion, thing.speed)
            shared = thing.radius, thing.rate, thing.span, thing.phase, thing.sense
            for center in thing.centers:
                rows.append(slot)
                words.append((*said, group))
                numbers.append((*center, *shared))
                slot += 1
        places.append(_place(scene))
    found = torch.tensor(rows, dtype=torch.long)
    table.words.view(-1, GROUP + 1)[found] = torch.tensor(words, dtype=torch.int8)
    table.numbers.view(-1, SENSE + 1)[found] = torch.tensor(numbers, dtype=torch.float64)
    table.place.copy_(torch.tensor(places, dtype=torch.int8))
    table.ground.copy_(torch.tensor([grounds.index(s.background) for s in scenes]))
    return table


@cache
def _words(shape: str, color: str, size: str, motion: str, speed: str | None) -> tuple[int, ...]:
    """Places in the tables; a motion without speed counts as slow, at a rate of 0."""
    pace = SPEEDS.index(speed) if speed else 0
    looks = SHAPES.index(shape), tuple(COLORS).index(color), tuple(SIZES).index(size)
    return *looks, MOTIONS.index(motion), pace


def _place(scene: Scene) -> int:
    if [thing.count for thing in scene.objects] != [1, 1]:
        return ANYWHERE
    place = scene.place(0, 1)
    return PLACES.index(place) if place else UNPLACED


def moves(words: Int[Tensor, "B 3 6"], numbers: Float[Tensor, "B 3 7"]) -> Tracks:
    """What `video.world.scenes.path` says of each slot: x, y, scale, angle in each frame."""
    motion = words[..., MOTION].long()
    along = _steps(numbers.device)[motion] * numbers[..., RATE, None]  # (B, 3, 2)
    rate, span, phase, sense = (numbers[..., n, None] for n in (RATE, SPAN, PHASE, SENSE))
    frame = torch.arange(NUM_FRAMES, dtype=torch.float64, device=numbers.device)
    middle = frame - (NUM_FRAMES - 1) / 2
    bounce, orbit, spin, grow, shrink = (
        (motion == MOTIONS.index(name))[..., None]
        for name in ("bounce", "orbit", "spin", "grow", "shrink")
    )
    height = 2 * span.clamp_min(1e-9)  # of what does not bounce, nothing is asked
    climb = (torch.remainder(frame * rate + span, height) - span).abs()
    turn = sense * rate * frame
    x = torch.where(orbit, span * (phase + turn).cos(), middle * along[..., :1])
    y = torch.where(orbit, span * (phase + turn).sin(), middle * along[..., 1:])
    y = torch.where(bounce, sense * (climb - span / 2), y)
    half = (GROWTH - 1) / (GROWTH + 1)
    way = grow.double() - shrink.double()
    scale = 1.0 + way * half * middle * 2 / (NUM_FRAMES - 1)
    return torch.stack([x, y, scale, torch.where(spin, turn, torch.zeros_like(turn))], dim=-1)


def tracks(table: SceneTable) -> Tracks:
    """x, y, radius and angle of each slot in each frame."""
    found = moves(table.words, table.numbers)
    found[..., :2] += table.numbers[..., None, :2]
    found[..., 2] *= table.numbers[..., None, RADIUS]
    return found


@cache
def _steps(device: torch.device) -> Tensor:
    """(motions, 2) pixels along x and y per pixel of rate; 0 where a motion has no direction."""
    ways = [DIRECTIONS.get(motion, (0, 0)) for motion in MOTIONS]
    steps = [[part / (math.hypot(*way) or 1.0) for part in way] for way in ways]
    return torch.tensor(steps, dtype=torch.float64, device=device)
