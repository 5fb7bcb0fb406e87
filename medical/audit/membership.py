"""Whether a whole dataset tells who was among its people: each is explained by the heads or not.

A person's pattern is predicted from the released heads by ridge regression on half of the places
and held against the other half. Who contributed should be predicted better than who did not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.filters import Floats

RIDGE = 0.3
DRAWS = 400
RUN = 64
"""Places in a row that are on the same side of the two halves."""


@dataclass(frozen=True)
class Membership:
    """How well contributors are told from others.

    Attributes:
        auc: Area under the curve; 0.5 is guessing.
        low: Of its interval, 95 in 100.
        high: Likewise.
        members: Who contributed, by number.
        others: Who did not.
    """

    auc: float
    low: float
    high: float
    members: int
    others: int


def membership(
    heads: Floats, people: Floats, members: NDArray[np.bool_], seed: int = 0
) -> Membership | None:
    """What a set of heads tells about who was among its people; None where all or none were.

    Args:
        heads: (heads, N) patterns.
        people: (people, N) patterns.
        members: (people,) who contributed.
        seed: Of the interval's draws.
    """
    if members.all() or not members.any():
        return None
    told = explained(heads, people)
    inside, outside = told[members], told[~members]
    random = np.random.default_rng([41, seed])
    drawn = [
        area(random.choice(inside, len(inside)), random.choice(outside, len(outside)))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Membership(area(inside, outside), float(low), float(high), len(inside), len(outside))


def explained(heads: Floats, people: Floats) -> NDArray[np.float64]:
    """(people,) share of each pattern that the heads predict where they were not fitted."""
    mean = people.mean(0)
    shown = (heads - mean).astype(np.float64)
    shown -= shown.mean(0) if len(shown) > 1 else 0.0
    asked = (people - mean).astype(np.float64)
    fitted = np.arange(people.shape[1]) // RUN % 2 == 0
    own, theirs = shown[:, fitted], asked[:, fitted]
    gram = own @ own.T
    gram += np.eye(len(gram)) * (RIDGE * np.trace(gram) / len(gram) + 1e-9)
    weights = np.linalg.solve(gram, own @ theirs.T)
    rest = asked[:, ~fitted]
    missed = np.square(rest - weights.T @ shown[:, ~fitted]).sum(1)
    return 1 - missed / (np.square(rest).sum(1) + 1e-9)


def area(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """How often one inside has more than one outside, ties by half.

    >>> area(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    gap = inside[:, None] - outside[None]
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())
