"""Blurred tissue maps of nobody: everybody's, mixed with weights that are random fields.

With D_k the deviation of person k from what is expected at their age and sex, a draw is the
expectation plus the sum of z_k D_k / sqrt(P - 1), with independent Gaussian fields z_k of unit
variance: the pool's own covariance, localized (Schur's product, as in ensemble filters; Houtekamer
and Mitchell 2001). One person's share changes from place to place.
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
from medical.anatomy.filters import Floats, blurred, read_at
from medical.anatomy.folding import CONDITION_MEAN, CONDITION_SCALE
from medical.anatomy.pool import (
    CANONICAL,
    DEEP,
    LEAST_PEOPLE,
    WIDE,
    Pool,
)

DEEP_LENGTH_MM = 60.0
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
        contributors: Mean weight of each person.
        facts: What was drawn.
    """

    condition: Floats
    size: NDArray[np.float64]
    contributors: Mapping[str, float]
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
    fields = _fields(pool, asked.length_mm, random)
    told = _Expected(pool)
    wide = told.drawn(pool.wide, age, someone.sex, fields)
    deep = told.drawn(pool.deep, age, someone.sex, WIDE.read(fields, DEEP))
    sizes = np.log([p.size for p in pool.people])
    global_weights = random.standard_normal(len(pool.people))
    size = np.exp(told.of(sizes, age, someone.sex, global_weights))
    weights = 1 / len(pool.people) + _inside(pool, fields)
    return Mixed(
        condition=condition_of(wide, deep, pool.depth),
        size=size,
        contributors={p.hash: float(w) for p, w in zip(pool.people, weights, strict=True)},
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

    def drawn(self, maps: NDArray[np.uint8], age: float, sex: str, fields: Floats) -> Floats:
        """The same for maps (P, 3, X, Y, Z), with weights that are fields (P, X, Y, Z)."""
        people = len(maps)
        values = maps.reshape(people, -1).astype(np.float32) / 255
        slopes = self.solve.astype(np.float32) @ values
        values -= self.design.astype(np.float32) @ slopes
        residuals = values.reshape(maps.shape)
        free = max(1, people - self.design.shape[1])
        mixed = np.einsum("pxyz,pcxyz->cxyz", fields, residuals) / np.sqrt(free)
        expected = np.array(_row(age, sex), np.float32) @ slopes
        return expected.reshape(maps.shape[1:]) + mixed.astype(np.float32)


def _row(age: float, sex: str) -> list[float]:
    return [1.0, (age - 35.0) / 10.0, 0.5 if sex == "f" else -0.5]


def _fields(pool: Pool, length_mm: float, random: np.random.Generator) -> Floats:
    """(P, *WIDE.shape) Gaussian fields of unit variance, longer and mirrored at depth."""
    people = len(pool.people)
    near = _smooth(people, length_mm, random)
    far = _smooth(people, max(length_mm, DEEP_LENGTH_MM), random)
    far = far + far[:, ::-1]
    far /= _mirrored_spread(max(length_mm, DEEP_LENGTH_MM))
    share = pool.depth.astype(np.float32) / 255
    fields: Floats = (np.sqrt(1 - share) * near + np.sqrt(share) * far).astype(np.float32)
    return fields - fields.mean(0)


def _mirrored_spread(length_mm: float) -> Floats:
    """Standard deviation of a field plus its mirror image, by the distance from the middle."""
    x = np.abs(WIDE.corner[0] + np.arange(WIDE.shape[0]) * WIDE.spacing_mm)
    together = np.exp(-((2 * x) ** 2) / (4 * length_mm**2))
    return np.sqrt(2 + 2 * together).astype(np.float32)[:, None, None]


def _smooth(count: int, length_mm: float, random: np.random.Generator) -> Floats:
    """Fields of unit variance with covariance exp(-d^2 / (4 length^2))."""
    sigma = length_mm / WIDE.spacing_mm
    coarse = max(1, int(sigma // 2))
    shape = [-(-n // coarse) + 1 for n in WIDE.shape]
    margin = int(np.ceil(3 * sigma / coarse))
    noise = random.standard_normal((count, *(n + 2 * margin for n in shape)), np.float32)
    drawn = []
    for one in noise:
        smooth = blurred(one, sigma / coarse, truncate=3.0)
        inner = smooth[tuple(slice(margin, margin + n) for n in shape)]
        scale = [1 / coarse] * 3
        drawn.append(read_at(inner, scale, WIDE.shape))
    impulse = np.zeros((12 * margin + 1, 1, 1), np.float32)
    impulse[6 * margin] = 1
    kernel = blurred(impulse, [sigma / coarse, 0, 0], truncate=3.0)
    return (np.stack(drawn) / np.square(kernel).sum() ** 1.5).astype(np.float32)


def _inside(pool: Pool, fields: Floats) -> NDArray[np.float64]:
    """Mean of each field over the brain, as a weight."""
    brain = pool.wide.mean(0, dtype=np.float32).sum(0) > 128
    free = max(1, len(pool.people) - 3)
    return fields[:, brain].mean(1).astype(np.float64) / np.sqrt(free)
