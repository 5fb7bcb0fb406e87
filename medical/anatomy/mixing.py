"""Blurred tissue maps of nobody: everybody's, mixed with weights that are random fields.

With D_k the deviation of person k from what is expected at their age and sex, a draw is the
expectation plus the sum of z_k D_k / sqrt(P - 1), with independent Gaussian fields z_k of unit
variance: the pool's own covariance, localized (Schur's product, as in ensemble filters; Houtekamer
and Mitchell 2001). One person's weight changes from place to place, and is even in all
(``medical.anatomy.weighing``). The expectation is a weight of the model where people of a model
are mixed, and the pool's own where others are (``medical.anatomy.expected``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import counted
from core.refusal import Refusal
from core.seeds import generator
from medical.anatomy.ages import band_of, middle_of_band, words_of_band
from medical.anatomy.expected import TERMS, apart, at
from medical.anatomy.filters import Floats
from medical.anatomy.folding import CONDITION_MEAN, CONDITION_SCALE
from medical.anatomy.pool import (
    CANONICAL,
    DEEP,
    LEAST_PEOPLE,
    WIDE,
    Pool,
)
from medical.anatomy.weighing import shares_of, weights_of

SHORTEST_MM, LONGEST_MM = 10.0, 200.0
SEXES = ("any", "f", "m")


@dataclass(frozen=True)
class Asked:
    """What is asked of a mixture: length of the fields, age, sex."""

    length_mm: float
    age: tuple[float, float] | None
    sex: str

    def __post_init__(self) -> None:
        if not SHORTEST_MM <= self.length_mm <= LONGEST_MM:
            raise Refusal(
                f"length_mm={self.length_mm:g}: random fields are {SHORTEST_MM:g} to "
                f"{LONGEST_MM:g} mm long; 20 is usual."
            )
        if self.sex not in SEXES:
            raise Refusal(f"sex={self.sex!r}: it is one of {SEXES}; 'any' takes both.")
        if self.age is not None and not 0 <= self.age[0] <= self.age[1]:
            raise Refusal(
                f"age={self.age}: an age range goes from the younger to the older, in years; "
                "give (20, 40), for instance."
            )


@dataclass(frozen=True, eq=False)
class Mixed:
    """A mixture.

    Attributes:
        condition: (7, *CANONICAL.shape): three fractions, depth, three coordinates.
        size: (3,) extent along x, y, z as a share of the space's.
        contributors: Share of each person, mean squared weights; they add up to 1.
        means: Mean weight of each person over the brain, all places alike.
        facts: What was drawn; of the age, which may be one person's, its ten years.
    """

    condition: Floats
    size: NDArray[np.float64]
    contributors: Mapping[str, float]
    means: Mapping[str, float]
    facts: Mapping[str, Any]


def mix(pool: Pool, seed: int, asked: Asked) -> Mixed:
    """Draw a mixture of everybody in the pool.

    Raises:
        Refusal: Fewer than five people of the pool have that age and sex.
    """
    stratum = pool.stratum(asked.age, asked.sex)
    if len(stratum) < LEAST_PEOPLE:
        words = "any age" if asked.age is None else f"ages {asked.age[0]:g} to {asked.age[1]:g}"
        raise Refusal(
            f"{words}, sex {asked.sex}: the pool holds "
            f"{counted(len(stratum), 'person', 'people')} like that, and at "
            f"least {LEAST_PEOPLE} have to stand behind a head; ask for a wider range."
        )
    random = np.random.default_rng(generator(seed, 1).initial_seed())
    someone = stratum[int(random.integers(len(stratum)))]
    age = someone.age if asked.age is None else float(random.uniform(*asked.age))
    expected = pool.expected or pool.own_expected()
    free = max(1, len(pool.people) - (1 if pool.expected else TERMS))
    residuals = apart(pool.told, pool.wide, expected.wide)
    fields = weights_of(pool, residuals, asked.length_mm, random)
    wide = at(expected.wide, age, someone.sex) + _mixed(residuals, fields, free)
    residuals = apart(pool.told, pool.deep, expected.deep)
    deep = at(expected.deep, age, someone.sex)
    deep = deep + _mixed(residuals, WIDE.read(fields, DEEP), free)
    sizes = np.log([p.size for p in pool.people])
    sizes = sizes - np.stack([at(expected.sizes, *told) for told in pool.told])
    drawn = random.standard_normal(len(pool.people)) @ (sizes - sizes.mean(0)) / np.sqrt(free)
    size = np.exp(at(expected.sizes, age, someone.sex) + drawn)
    names, first = [person.hash for person in pool.people], band_of(age)
    shares, means = (map(float, each) for each in shares_of(pool, fields))
    return Mixed(
        condition=condition_of(wide.astype(np.float32), deep.astype(np.float32), pool.depth),
        size=size,
        contributors=dict(zip(names, shares, strict=True)),
        means=dict(zip(names, means, strict=True)),
        facts={
            "age": middle_of_band(first),
            "sex": someone.sex,
            "length_mm": asked.length_mm,
            "size": [round(float(s), 4) for s in size],
            "people": len(pool.people),
            "people_of_the_mean": expected.people,
            "people_in_stratum": len(stratum),
            "age_band": words_of_band(first),
        },
    )


def condition_of(wide: Floats, deep: Floats, depth: NDArray[np.uint8]) -> Floats:
    """What the folding is drawn for: (7, *CANONICAL.shape).

    Args:
        wide: (3, *WIDE.shape) fractions.
        deep: (3, *DEEP.shape) fractions.
        depth: WIDE.shape, 255 where the deep maps count.
    """
    depths: Floats = (depth[None] / 255).astype(np.float32)
    share = WIDE.read(depths, CANONICAL)
    told = WIDE.read(wide, CANONICAL, order=3) * (1 - share)
    told += DEEP.read(deep, CANONICAL, order=3) * share
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in CANONICAL.shape]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    fractions = (np.clip(told, 0, 1) - CONDITION_MEAN) * CONDITION_SCALE
    return np.concatenate([fractions, share, places]).astype(np.float32)


def _mixed(residuals: Floats, fields: Floats, free: int) -> Floats:
    """(3, X, Y, Z) residuals (P, 3, X, Y, Z) mixed with weights that are fields."""
    return (np.einsum("pxyz,pcxyz->cxyz", fields, residuals) / np.sqrt(free)).astype(np.float32)
