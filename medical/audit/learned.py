"""A learned attack, and what sets of heads tell about who contributed, by three ways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.filters import Floats, Mask
from medical.audit.attacks import Scores
from medical.audit.membership import explained

Numbers = NDArray[np.float64]
PARTS, RIDGE = 5, 1.0


def octants(inside: Mask) -> list[Mask]:
    """A mask in eight parts: each half along each axis."""
    parts = []
    for place in np.ndindex(2, 2, 2):
        half = np.zeros_like(inside)
        size = [n // 2 for n in inside.shape]
        half[tuple(slice(p * n, (p + 1) * n) for p, n in zip(place, size, strict=True))] = True
        parts.append(inside & half)
    return parts


def evidence(scores: Mapping[str, Scores], heads: Floats, people: Floats, inside: Mask) -> Numbers:
    """(heads, people, N) what the learned attack is told of each pair.

    Args:
        scores: Of the listed attacks.
        heads: (heads, X, Y, Z) folds.
        people: (people, X, Y, Z) folds.
        inside: (X, Y, Z) where everybody has brain.
    """
    mean = people.mean(0)
    told = [np.asarray(each, np.float64) for each in scores.values()]
    local = [_alike((heads - mean)[:, part], (people - mean)[:, part]) for part in octants(inside)]
    told += local
    told += [np.sort(np.stack(local), 0)[k] for k in (0, -2, -1)]
    each = [_standard(_standard(one, 0), 1) for one in told]
    return np.stack([*each, *(np.square(one) for one in each)], -1)


def learned_scores(told: Numbers, wanted: NDArray[np.bool_]) -> Numbers:
    """(heads, people) by ridge regression on the heads of the other parts.

    Args:
        told: (heads, people, N).
        wanted: (heads, people) which pairs were to be found.
    """
    part = np.arange(len(told)) % PARTS
    found = np.zeros(wanted.shape)
    for held in range(PARTS):
        rows = told[part != held].reshape(-1, told.shape[-1])
        rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
        target = wanted[part != held].reshape(-1).astype(np.float64)
        gram = rows.T @ rows + RIDGE * len(told) * np.eye(rows.shape[1])
        fit = np.linalg.solve(gram, rows.T @ (target - target.mean()))
        found[part == held] = told[part == held] @ fit[:-1]
    return found


def membership_ways(heads: Floats, people: Floats, inside: Mask) -> dict[str, Numbers]:
    """(people,) by way: how much a set of heads tells of each person.

    Args:
        heads: (heads, X, Y, Z) folds of a set.
        people: (people, X, Y, Z).
        inside: (X, Y, Z) where everybody has brain.
    """
    parts = [explained(heads[:, each], people[:, each]) for each in octants(inside)]
    apart = (people - people.mean(0))[:, inside]
    mean = (heads.mean(0) - people.mean(0))[inside]
    return {
        "ridge": explained(heads[:, inside], people[:, inside]),
        "ridge by parts": np.mean(parts, 0),
        "mean head": ((apart @ mean) / (np.linalg.norm(apart, axis=1) + 1e-9)).astype(np.float64),
    }


def _alike(ours: Floats, theirs: Floats) -> Numbers:
    def unit(rows: Floats) -> Numbers:
        centered = (rows - rows.mean(1, keepdims=True)).astype(np.float64)
        return centered / (np.linalg.norm(centered, axis=1, keepdims=True) + 1e-9)

    return unit(ours) @ unit(theirs).T


def _standard(scores: Numbers, axis: int) -> Numbers:
    spread = scores.std(axis, keepdims=True) + 1e-9
    return (scores - scores.mean(axis, keepdims=True)) / spread
