"""Blurred tissue maps of nobody: everybody's, mixed with weights that are random fields.

With D_k the deviation of person k from what is expected at their age and sex, a draw is the
expectation plus the sum of z_k D_k / sqrt(P - 1), with independent Gaussian fields z_k of unit
variance: the pool's own covariance, localized (Schur's product, as in ensemble filters; Houtekamer
and Mitchell 2001). One person's share changes from place to place, and is balanced
(``medical.anatomy.weighing``).
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
        facts: What was drawn.
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
    told = _Expected(pool)
    apart = told.residuals(pool.wide)
    fields = weights_of(pool, apart, asked.length_mm, random)
    wide = told.mean(pool.wide, age, someone.sex) + told.mixed(apart, fields)
    apart = told.residuals(pool.deep)
    deep = told.mean(pool.deep, age, someone.sex) + told.mixed(apart, WIDE.read(fields, DEEP))
    sizes = np.log([p.size for p in pool.people])
    global_weights = random.standard_normal(len(pool.people))
    size = np.exp(told.of(sizes, age, someone.sex, global_weights))
    names = [person.hash for person in pool.people]
    shares, means = (map(float, each) for each in shares_of(pool, fields))
    return Mixed(
        condition=condition_of(wide, deep, pool.depth),
        size=size,
        contributors=dict(zip(names, shares, strict=True)),
        means=dict(zip(names, means, strict=True)),
        facts={
            "age": round(age, 1),
            "sex": someone.sex,
            "length_mm": asked.length_mm,
            "size": [round(float(s), 4) for s in size],
            "people": len(pool.people),
            "people_in_stratum": len(stratum),
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


class _Expected:
    """Least squares on age and sex, over the people of a pool."""

    def __init__(self, pool: Pool) -> None:
        self.design = np.array([_row(p.age, p.sex) for p in pool.people])
        self.solve = np.linalg.pinv(self.design)

    def of(
        self, values: NDArray[np.floating], age: float, sex: str, weights: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Expectation at an age and sex plus the residuals of (P, N) values, mixed by (P,)."""
        slopes = self.solve @ values
        residuals = values - self.design @ slopes
        free = max(1, len(values) - self.design.shape[1])
        return np.array(_row(age, sex)) @ slopes + weights @ residuals / np.sqrt(free)

    def mean(self, maps: NDArray[np.uint8], age: float, sex: str) -> Floats:
        """(3, X, Y, Z) what maps (P, 3, X, Y, Z) are expected to be at an age and sex."""
        expected = np.array(_row(age, sex), np.float32) @ self._slopes(maps)
        return expected.reshape(maps.shape[1:])

    def residuals(self, maps: NDArray[np.uint8]) -> Floats:
        """(P, 3, X, Y, Z) what sets each person apart from what is expected of them."""
        expected = self.design.astype(np.float32) @ self._slopes(maps)
        return (_fractions(maps) - expected).reshape(maps.shape).astype(np.float32)

    def mixed(self, residuals: Floats, fields: Floats) -> Floats:
        """(3, X, Y, Z) residuals (P, 3, X, Y, Z) mixed with weights that are fields."""
        free = max(1, len(residuals) - self.design.shape[1])
        mixed = np.einsum("pxyz,pcxyz->cxyz", fields, residuals) / np.sqrt(free)
        return mixed.astype(np.float32)

    def _slopes(self, maps: NDArray[np.uint8]) -> Floats:
        return self.solve.astype(np.float32) @ _fractions(maps)


def _fractions(maps: NDArray[np.uint8]) -> Floats:
    """(P, N) stored maps, 0 to 1."""
    return maps.reshape(len(maps), -1).astype(np.float32) / np.float32(255)


def _row(age: float, sex: str) -> list[float]:
    return [1.0, (age - 35.0) / 10.0, 0.5 if sex == "f" else -0.5]
