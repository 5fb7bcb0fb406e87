"""Which combinations training never sees, by one fixed rule.

A thing is held out by its (shape, color, motion); two things in one scene are held out by their
(color, shape) pairs, whatever their order. One tenth of each is held out: those whose SHA-256,
read as a whole number, is divisible by ten. The rule needs no list, file or seed, so anyone can
tell from a scene alone on which side it stands.
"""

import hashlib
from functools import cache
from itertools import combinations
from typing import Final

from video.world.scenes import COLORS, MOTIONS, SHAPES, SYMMETRY, Scene

HELD_OUT_SHARE: Final = 10
SPLITS: Final = ("train", "held_out")


@cache
def _marked(key: str) -> bool:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()) % HELD_OUT_SHARE == 0


def thing_held_out(shape: str, color: str, motion: str) -> bool:
    """True where training never shows this shape in this color doing this motion."""
    return _marked(f"{color} {shape} {motion}")


def pair_held_out(first: tuple[str, str], second: tuple[str, str]) -> bool:
    """True where training never shows these two (color, shape) things together."""
    one, other = sorted((first, second))
    return _marked(f"{one[0]} {one[1]} with {other[0]} {other[1]}")


def held_out(kinds: list[tuple[str, str, str]]) -> bool:
    """True where any thing (shape, color, motion), or any two of them together, is held out."""
    if any(thing_held_out(*kind) for kind in kinds):
        return True
    return any(pair_held_out((a[1], a[0]), (b[1], b[0])) for a, b in combinations(kinds, 2))


def split_of(scene: Scene) -> str:
    """The side of the fixed rule on which a scene stands: `train` or `held_out`."""
    kinds = [(thing.shape, thing.color, thing.motion) for thing in scene.objects]
    return "held_out" if held_out(kinds) else "train"


@cache
def all_kinds() -> tuple[tuple[str, str, str], ...]:
    """Every (shape, color, motion) of the world; spin only where it can be seen."""
    return tuple(
        (shape, color, motion)
        for shape in SHAPES
        for color in COLORS
        for motion in MOTIONS
        if motion != "spin" or shape in SYMMETRY
    )


@cache
def kinds_by_motion(split: str) -> dict[str, tuple[tuple[str, str, str], ...]]:
    """The (shape, color, motion) of one side of the split rule, by motion."""
    side = split == "held_out"
    kinds = [kind for kind in all_kinds() if thing_held_out(*kind) == side]
    table = {motion: tuple(kind for kind in kinds if kind[2] == motion) for motion in MOTIONS}
    return {motion: found for motion, found in table.items() if found}
