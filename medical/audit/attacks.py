"""Attacks: how alike a head is to each of many people, by anatomy alone.

Each attack answers with one number for every pair. What a number means is learned from people who
are known to be others (``medical.audit.evidence``), so scales need not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medical.anatomy.filters import Floats, Mask, blurred, shrunk
from medical.audit.seen import Seen, painted

Scores = NDArray[np.float32]
"""(heads, people)."""
FINE, WIDE = 1.0, 3.5
"""Blurs whose difference shows folds, in voxels of 2 mm."""
BLOCK, REACH, STEP = 6, 2, 5
"""Edge of a block, how far it is moved, and from one block to the next, in voxels of 4 mm."""
WHOLE = 0.95
"""Share of the people who have brain at a voxel that is compared; neck and dura are in few."""


class People:
    """The people that heads are held against: their patterns, worked out once."""

    def __init__(self, people: Sequence[Seen]) -> None:
        self.names = tuple(person.name for person in people)
        boxes = np.stack([person.box for person in people])
        self.mean_box: Floats = boxes.mean(0)
        self.inner_box = shrunk((boxes > 0.15).mean(0) > WHOLE, 2)
        self.boxes = _unit((boxes - self.mean_box)[:, self.inner_box])
        inner = shrunk(np.mean([p.labels > 0 for p in people], 0) > WHOLE, 2)
        self.inner: Mask = _at_4mm(inner.astype(np.float32)) > 0.5
        self.folds = np.stack([folds_of(person.labels) for person in people])
        self.mean_folds: Floats = self.folds.mean(0)

    def __len__(self) -> int:
        return len(self.names)


def folds_of(labels: NDArray[np.uint8]) -> Floats:
    """The pattern of folds of a head: what is between 2 and 7 mm wide, at 4 mm."""
    image = painted(labels)
    return _at_4mm(blurred(image, FINE) - blurred(image, WIDE))


def box_scores(heads: Sequence[Seen], people: People) -> Scores:
    """Correlation of intensities in the brain's box."""
    boxes = np.stack([head.box for head in heads])
    return _unit((boxes - people.mean_box)[:, people.inner_box]) @ people.boxes.T


def hemisphere_scores(heads: Sequence[Seen], people: People) -> Scores:
    """Correlation of folds in each half of the brain, moved by up to 4 mm; the mean of both."""
    ours = torch.from_numpy(np.stack([folds_of(h.labels) for h in heads]) - people.mean_folds)
    theirs = torch.from_numpy(people.folds - people.mean_folds)
    middle = people.inner.shape[0] // 2
    total = torch.zeros(len(heads), len(people))
    for side in (slice(0, middle), slice(middle, None)):
        half = np.zeros_like(people.inner)
        half[side] = people.inner[side]
        where = torch.from_numpy(half)
        shown = _unit_rows(ours[:, where])
        best = torch.full_like(total, -1.0)
        for shift in product((-1, 0, 1), repeat=3):
            held = _unit_rows(torch.roll(theirs, shift, (1, 2, 3))[:, where])
            best = torch.maximum(best, shown @ held.T)
        total += best / 2
    return total.numpy()


def block_scores(heads: Sequence[Seen], people: People) -> Scores:
    """Best correlation of folds in blocks of 24 mm, each moved by up to 8 mm; the mean of all."""
    ours = torch.from_numpy(np.stack([folds_of(head.labels) for head in heads]))
    padded = F.pad(torch.from_numpy(people.folds), (REACH,) * 6)
    total, count = torch.zeros(len(heads), len(people)), 0
    for corner in _blocks(people.inner):
        own = ours[(slice(None), *(slice(c, c + BLOCK) for c in corner))]
        shown = _unit_rows(own.reshape(len(heads), -1))
        wide = BLOCK + 2 * REACH
        near = padded[(slice(None), *(slice(c, c + wide) for c in corner))]
        moved = near.unfold(1, BLOCK, 1).unfold(2, BLOCK, 1).unfold(3, BLOCK, 1)
        places = moved.reshape(len(people), -1, BLOCK**3)
        held = _unit_rows(places.reshape(-1, BLOCK**3))
        best = (shown @ held.T).reshape(len(heads), len(people), -1).amax(2)
        total, count = total + best, count + 1
    return (total / max(1, count)).numpy()


ATTACKS: Mapping[str, Callable[[Sequence[Seen], People], Scores]] = {
    "box": box_scores,
    "block": block_scores,
    "hemisphere": hemisphere_scores,
}


def _blocks(inner: Mask) -> Iterator[tuple[int, ...]]:
    """Corners of the blocks that lie within."""
    ranges = [range(0, n - BLOCK + 1, STEP) for n in inner.shape]
    for corner in product(*ranges):
        if inner[tuple(slice(c, c + BLOCK) for c in corner)].mean() > 0.8:
            yield corner


def _at_4mm(volume: Floats) -> Floats:
    x, y, z = volume.shape
    return volume.reshape(x // 2, 2, y // 2, 2, z // 2, 2).mean((1, 3, 5)).astype(np.float32)


def _unit(rows: Floats) -> Floats:
    centered = rows - rows.mean(1, keepdims=True)
    norms = np.linalg.norm(centered, axis=1, keepdims=True)
    return (centered / (norms + 1e-6)).astype(np.float32)


def _unit_rows(rows: Tensor) -> Tensor:
    centered = rows - rows.mean(1, keepdim=True)
    return centered / (centered.norm(dim=1, keepdim=True) + 1e-3)
