"""Weights of people made even: nobody stands out over a part of a head, nor by their share.

What weights are to hold nothing of is linear in them, so the nearest weights without it follow
from least squares. That is done for each person's windows, for the mean over people and for the
likeness of the mixture in turns, and shares are made the same in every turn: alternating
projections, which come to weights that are all of this at once (Halperin 1962).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.filters import Floats

TURNS = 24
"""After which a fiftieth at most is left of what windows hold of a person by chance."""
TOLD = 1e-6
"""Part of the largest singular value below which a row says nothing that others do not."""


@dataclass(frozen=True, eq=False)
class Held:
    """What is looked at in the weights of P people at N places.

    Attributes:
        windows: (R, N) what each place counts in each window.
        core: (N,) 1 where places count by weight alone, and 0 elsewhere.
        eighths: (E, N) what each place counts in parts where the mixture is like nobody.
        patterns: (C, P, N) what each person looks like, in C ways.
        scale: (N,) what weights are multiplied by afterwards; it is then that all of this holds.
    """

    windows: Floats
    core: Floats
    eighths: Floats
    patterns: Floats
    scale: Floats


def evened(fields: Floats, held: Held) -> Floats:
    """Fields near those given whose mean is 0 and of which windows hold nothing, shares the same.

    Args:
        fields: (P, N), of people.
        held: What is looked at.
    """
    windows, likeness = Windows(held), Likeness(held)
    for _ in range(TURNS):
        shares = np.square(fields * held.scale) @ held.core
        fields = fields * np.sqrt(shares.mean() / (shares + 1e-12))[:, None]
        fields = windows.without(fields)
        fields = fields - fields.mean(0)
        fields = likeness.without(fields)
    return fields


class Windows:
    """What windows hold of each person: by weight, and by what shows of the person there."""

    def __init__(self, held: Held) -> None:
        self.scale = held.scale
        shown = np.square(held.patterns).sum(0)
        weight = _unit(held.windows * held.core)
        self.rows = [np.concatenate([weight, _unit(held.windows * one)]) for one in shown]
        self.rows = [rows * held.scale for rows in self.rows]
        self.solve = [_inverse(rows @ rows.T) for rows in self.rows]

    def held(self, fields: Floats) -> Floats:
        """(P, 2 R) what they hold of fields (P, N)."""
        return np.stack([rows @ one for rows, one in zip(self.rows, fields, strict=True)])

    def without(self, fields: Floats) -> Floats:
        """The nearest fields (P, N) of which they hold nothing."""
        parts = zip(self.solve, self.held(fields), self.rows, strict=True)
        return fields - np.stack([(solve @ told) @ rows for solve, told, rows in parts])


class Likeness:
    """How the mixture is like each person in each eighth, for fields whose mean is 0."""

    def __init__(self, held: Held) -> None:
        places = held.windows.shape[1]
        self.patterns = held.patterns * held.scale
        self.apart = self.patterns - self.patterns.mean(1, keepdims=True)
        rows = held.eighths[:, None, None] * held.patterns  # (E, C, P, N)
        self.rows = _unit(rows.swapaxes(0, 1).reshape(len(held.patterns), -1, places))
        ways = list(zip(self.rows, self.patterns, self.apart, strict=True))
        self.solve = _inverse(
            np.block(
                [[(one * (own * of).sum(0)) @ b.T for b, _, of in ways] for one, own, _ in ways]
            )
        )

    def held(self, fields: Floats) -> Floats:
        """(C E P,) how alike they are."""
        mixtures = (self.patterns * fields).sum(1)
        return np.concatenate([r @ one for r, one in zip(self.rows, mixtures, strict=True)])

    def without(self, fields: Floats) -> Floats:
        """The nearest fields (P, N) whose mixture is like nobody, changed by people's patterns."""
        told = (self.solve @ self.held(fields)).reshape(len(self.rows), -1)
        changes = [one @ r for one, r in zip(told, self.rows, strict=True)]
        every = zip(self.apart, changes, strict=True)
        return fields - sum((apart * change for apart, change in every), np.zeros_like(fields))


def _unit(rows: Floats) -> Floats:
    """Rows of unit length."""
    return rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-9)


def _inverse(gram: NDArray[np.floating[Any]]) -> Floats:
    """Pseudoinverse of rows' products, found in double precision."""
    exact = np.linalg.pinv(gram.astype(np.float64), rcond=TOLD, hermitian=True)
    return exact.astype(np.float32)
