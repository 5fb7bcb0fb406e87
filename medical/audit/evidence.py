"""What counts as found: a person to whom a head is nearer than strangers ever are.

A score says little by itself. So each head is asked how far its nearest person stands out from
the others, in spreads of these others, and the same is asked of every real person with themselves
left out: that is what strangers look like. The bar lies where a whole dataset of strangers would
cross it once in a hundred audits (Gumbel's distribution of largest values, by moments).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medical.audit.attacks import Scores

ALARMS = 0.01
"""Chance that an audit of strangers finds anybody, over all heads and attacks."""
EULER = 0.5772156649
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """A head and the person it is nearest to by one attack.

    Attributes:
        head: Its name.
        person: Their name.
        attack: Which.
        out: How far the person stands out from the others, in their spreads.
        bar: Above which this is no chance.
    """

    head: str
    person: str
    attack: str
    out: float
    bar: float

    @property
    def linked(self) -> bool:
        """Whether the head shows this person."""
        return self.out > self.bar


@dataclass(frozen=True, eq=False)
class Strangers:
    """How far real people stand out among others, by attack.

    Attributes:
        names: Of the people, in the order of the scores' columns.
        out: By attack, (people,).
    """

    names: tuple[str, ...]
    out: Mapping[str, Numbers]

    @classmethod
    def of(cls, names: Sequence[str], scores: Mapping[str, Scores]) -> Strangers:
        """Learn from people held against each other, (people, people) by attack."""
        own = np.arange(len(names))
        out = {attack: standing_out(each, own)[0] for attack, each in scores.items()}
        return cls(tuple(names), out)

    def bar(self, attack: str, heads: int, *, without: int | None = None) -> float:
        """Above which no stranger is expected.

        Args:
            attack: Of which.
            heads: How many are asked about.
            without: A person whom nothing is learned from.
        """
        known = self.out[attack]
        if without is not None:
            known = np.delete(known, without)
        chance = ALARMS / max(1, heads) / len(self.out)
        spread = float(known.std(ddof=1)) * np.sqrt(6) / np.pi
        middle = float(known.mean()) - EULER * spread
        return float(middle - spread * np.log(-np.log1p(-chance)))

    def findings(
        self, heads: Sequence[str], scores: Mapping[str, Scores], *, bar_for: int = 0
    ) -> list[Finding]:
        """For each head, the attack that goes farthest beyond its bar.

        Args:
            heads: Their names.
            scores: (heads, people) by attack.
            bar_for: Size of the dataset whose bar is used; that of these heads if 0.
        """
        bars = {attack: self.bar(attack, bar_for or len(heads)) for attack in scores}
        told = {attack: standing_out(each) for attack, each in scores.items()}
        findings = []
        for place, head in enumerate(heads):
            each = [
                Finding(head, self.names[who[place]], attack, float(out[place]), bars[attack])
                for attack, (out, who) in told.items()
            ]
            findings.append(max(each, key=lambda found: found.out - found.bar))
        return findings

    def false_alarms(self) -> tuple[int, int]:
        """How many people are taken for others by a bar learned without them, and of how many."""
        count = len(self.names)
        wrong = 0
        for person in range(count):
            wrong += any(
                out[person] > self.bar(attack, 1, without=person)
                for attack, out in self.out.items()
            )
        return wrong, count


def standing_out(
    scores: Scores, own: NDArray[np.intp] | None = None
) -> tuple[Numbers, NDArray[np.intp]]:
    """How far the nearest person stands out from the others, and who it is, for each head.

    Args:
        scores: (heads, people).
        own: Column of each head's own person, which is left out.
    """
    held = scores.astype(np.float64)
    if own is not None:
        held[np.arange(len(held)), own] = np.nan
    who = np.nanargmax(held, 1)
    rows = np.arange(len(held))
    top = held[rows, who]
    held[rows, who] = np.nan
    return (top - np.nanmean(held, 1)) / (np.nanstd(held, 1) + 1e-9), who


def interval(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share in which it lies in 95 of 100 cases (Wilson 1927).

    >>> [round(v, 3) for v in interval(2, 120)]
    [0.005, 0.059]
    """
    if not count:
        return 0.0, 1.0
    share = hits / count
    middle = (share + z * z / 2 / count) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / 4 / count**2) / (1 + z * z / count)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
