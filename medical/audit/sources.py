"""Whom heads are held against: people whose scans are at hand, or their maps in the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from core.progress import counted
from medical.anatomy.filters import Floats, blurred
from medical.anatomy.folding import CONDITION_MEAN, CONDITION_SCALE
from medical.anatomy.mixing import condition_of
from medical.anatomy.pool import CANONICAL, DEEP, DEEP_BLUR_MM, WIDE, WIDE_BLUR_MM, Lattice, Pool
from medical.audit.attacks import ATTACKS, People, Scores, folds_of
from medical.audit.evidence import Strangers
from medical.audit.seen import Seen, box_of, painted
from medical.audit.warping import Bent

LEAST_PEOPLE = 12
"""Below which it is not known what strangers look like."""

MISSED = "held against maps alone, real scans of only 27 of the 45 people were recognized"
"""What an audit without real heads misses (docs/heads.md)."""


@runtime_checkable
class Source(Protocol):
    """People whom heads are held against.

    Attributes:
        names: Of the people.
        words: What is known of them.
        attacks: How heads are held against them, by name, in words.
        strangers: What people look like who are known to be others.
    """

    names: tuple[str, ...]
    words: str
    attacks: Mapping[str, str]
    strangers: Strangers

    def scores(self, heads: Sequence[Seen]) -> dict[str, Scores]:
        """How alike heads and people are, by attack."""
        ...

    def pattern(self, head: Seen) -> Floats:
        """(N,) what of a head is told apart, for who is among many."""
        ...

    def patterns(self) -> Floats:
        """(people, N) the same of the people."""
        ...


class RealPeople:
    """People whose scans are at hand: their folds can be compared."""

    attacks: Mapping[str, str] = {
        "box": "correlation of intensities in the brain's box",
        "block": "best correlation of folds in blocks of 24 mm moved by up to 8 mm, their mean",
        "hemisphere": "correlation of folds in each half of the brain moved by up to 4 mm",
        "bent": "correlation of folds after both heads were bent onto the mean head (demons)",
    }

    def __init__(self, people: Sequence[Seen]) -> None:
        self.people = People(people)
        self.names = self.people.names
        self.words = f"the scans of {counted(len(people), 'person', 'people')}"
        self._bent = Bent(people, self.people.inner)
        scores = {name: attack(people, self.people) for name, attack in ATTACKS.items()}
        scores["bent"] = self._bent.unit @ self._bent.unit.T
        self.strangers = Strangers.of(self.names, scores)

    def scores(self, heads: Sequence[Seen]) -> dict[str, Scores]:
        """By four attacks."""
        scores = {name: attack(heads, self.people) for name, attack in ATTACKS.items()}
        return scores | {"bent": self._bent.scores(heads)}

    def pattern(self, head: Seen) -> Floats:
        """Its folds where everybody has brain."""
        return folds_of(head.labels)[self.people.inner]

    def patterns(self) -> Floats:
        """Their folds."""
        return self.people.folds[:, self.people.inner]


class MappedPeople:
    """The people in a model's weights: only blurred maps of them are at hand."""

    attacks: Mapping[str, str] = {
        "wide map": "correlation of tissue maps blurred by 6 mm, over the brain",
        "deep map": "the same blurred by 3.5 mm, around the ventricles and the corpus callosum",
    }

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.names = tuple(person.hash for person in pool.people)
        self.words = (
            f"the blurred tissue maps of {counted(len(pool.people), 'person', 'people')} in the "
            "model's weights"
        )
        wide, deep = (as_shares(m) for m in (pool.wide, pool.deep))
        self._maps = {"wide map": _rows(wide), "deep map": _rows(deep)}
        self._means = {name: rows.mean(0) for name, rows in self._maps.items()}
        held = {name: self._unit(rows, name) for name, rows in self._maps.items()}
        among = {name: rows @ rows.T for name, rows in held.items()}
        self.strangers = Strangers.of(self.names, among)

    def scores(self, heads: Sequence[Seen]) -> dict[str, Scores]:
        """By two attacks."""
        maps = [maps_of(head) for head in heads]
        return {
            name: self._unit(_rows(np.stack([pair[k] for pair in maps])), name)
            @ self._unit(rows, name).T
            for k, (name, rows) in enumerate(self._maps.items())
        }

    def pattern(self, head: Seen) -> Floats:
        """Its map blurred by 6 mm."""
        return maps_of(head)[0].reshape(-1)

    def patterns(self) -> Floats:
        """Their maps blurred by 6 mm."""
        return self._maps["wide map"]

    def own_map(self, person: int, seed: int | None) -> Seen:
        """A person's map as it is, or with its folds drawn anew from a seed."""
        return map_of(self.pool, person, seed)

    def _unit(self, rows: Floats, name: str) -> Floats:
        held = rows - self._means[name]
        held = held - held.mean(1, keepdims=True)
        return (held / (np.linalg.norm(held, axis=1, keepdims=True) + 1e-6)).astype(np.float32)


def map_of(pool: Pool, person: int, seed: int | None) -> Seen:
    """A person's map as it is, or with its folds drawn anew from a seed."""
    wide, deep = (as_shares(m[person]) for m in (pool.wide, pool.deep))
    condition = condition_of(wide, deep, pool.depth)
    told = condition[:3] / CONDITION_SCALE + CONDITION_MEAN
    fractions = told if seed is None else pool.fold(condition, seed)
    rest = 1 - fractions.sum(0)
    labels = np.where(rest > fractions.max(0), 0, fractions.argmax(0) + 1).astype(np.uint8)
    return Seen(pool.people[person].hash, labels, box_of(painted(labels)))


def maps_of(head: Seen) -> tuple[Floats, Floats]:
    """A head's fractions as a model holds them: blurred wide, and less so at depth."""
    kinds = np.stack([(head.labels == k).astype(np.float32) for k in (1, 2, 3)])
    return _blurred(kinds, WIDE_BLUR_MM, WIDE), _blurred(kinds, DEEP_BLUR_MM, DEEP)


def as_shares(maps: NDArray[np.uint8]) -> Floats:
    """Stored maps as fractions, 0 to 1."""
    return maps.astype(np.float32) / np.float32(255)


def _blurred(kinds: Floats, blur_mm: float, lattice: Lattice) -> Floats:
    soft = np.stack([blurred(kind, blur_mm / CANONICAL.spacing_mm) for kind in kinds])
    return CANONICAL.read(soft, lattice)


def _rows(maps: Floats) -> Floats:
    return maps.reshape(len(maps), -1)
