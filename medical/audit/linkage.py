"""How far heads can be traced to the people of their pools, measured on anatomies at 2 mm.

A head is drawn as datasets draw it, before it is painted, and held against real people by every
attack. It counts where the nearest of all people is its largest contributor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.records import atomic_path
from medical.anatomy.drawn import likeliest
from medical.anatomy.filters import Floats
from medical.anatomy.mixing import Asked, mix
from medical.anatomy.pool import Pool
from medical.audit.attacks import Scores, folds_of
from medical.audit.evidence import interval
from medical.audit.learned import Numbers, evidence, learned_scores, membership_ways
from medical.audit.membership import area
from medical.audit.seen import Seen, box_of, painted
from medical.audit.sources import RealPeople

LENGTH_MM = 20.0
FIRST_SEED = 1000
SETS = (1, 2, 4, 5, 10, 20, 40, 60, 120)
MOST_SETS = 6
LEARNED = "learned"
DRAWS = 400
ALARM_FOR = 20
"""Heads of the dataset whose bar is asked about."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A head and who is behind it.

    Attributes:
        seen: As attacks see it.
        shares: Of each contributor, by hash: mean squared weights.
        means: Mean weights.
    """

    seen: Seen
    shares: dict[str, float]
    means: dict[str, float]


Draw = Callable[[Pool, int], Drawing]


def anatomy(pool: Pool, seed: int) -> Drawing:
    """The anatomy at 2 mm that an image is painted from."""
    mixed = mix(pool, seed, Asked(LENGTH_MM, None, "any"))
    labels = likeliest(pool.fold(mixed.condition, seed))
    seen = Seen("", labels, box_of(painted(labels)))
    return Drawing(seen, dict(mixed.contributors), dict(mixed.means))


def drawings(
    pools: Sequence[Pool], count: int, folder: Path, *, draw: Draw = anatomy, kind: str = "anatomy"
) -> Iterator[Drawing]:
    """Heads drawn in turns from pools, kept in a folder, so that a run can go on.

    Args:
        pools: Of the folds of a dataset.
        count: How many in all.
        folder: Where they are kept.
        draw: Draws one.
        kind: What files are named after.
    """
    for k in range(count):
        kept = folder / f"{kind}-{k:03d}.npz"
        if not kept.is_file():
            drawn = draw(pools[k % len(pools)], FIRST_SEED + k)
            keep(
                kept,
                labels=drawn.seen.labels,
                box=drawn.seen.box,
                names=np.array(list(drawn.means)),
                shares=np.array([drawn.shares[name] for name in drawn.means]),
                means=np.array(list(drawn.means.values())),
            )
        with np.load(kept) as file:
            names = file["names"].tolist()
            yield Drawing(
                Seen(kept.stem, file["labels"], file["box"]),
                dict(zip(names, file["shares"].tolist(), strict=True)),
                dict(zip(names, file["means"].tolist(), strict=True)),
            )


def keep(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays into a file, whole or not at all; the same that another run wrote meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as part:
        np.savez_compressed(part, allow_pickle=False, **arrays)


def measure(drawn: Sequence[Drawing], source: RealPeople, never: set[str]) -> dict[str, Any]:
    """Who is named by which attack, and what sets of heads tell.

    Args:
        drawn: Heads.
        source: All people.
        never: Hashes of those who contributed to nothing.
    """
    heads = [each.seen for each in drawn]
    scores = source.scores(heads)
    folds = np.stack([folds_of(head.labels) for head in heads])
    behind = np.array([[name in each.means for name in source.names] for each in drawn])
    rows = np.arange(len(drawn))
    nearest = {k: round(float(behind[rows, s.argmax(1)].mean()), 3) for k, s in scores.items()}
    contributed = {name for each in drawn for name in each.means}
    members = np.array([name in contributed for name in source.names])
    others = ~members & np.array([name in never for name in source.names])
    findings = source.strangers.findings([h.name for h in heads], scores, bar_for=ALARM_FOR)
    return {
        "heads": len(drawn),
        "people": len(source.names),
        "guessing": round(1 / len(source.names), 4),
        "named": _named(drawn, source, scores, folds),
        "nearest_is_of_the_pool": {**nearest, "guessing": round(float(behind.mean()), 3)},
        "linked_by_the_bar_for_20_heads": sum(each.linked for each in findings),
        "membership": _sets(folds, source, members, others),
        "members": int(members.sum()),
        "others": int(others.sum()),
    }


def _named(
    drawn: Sequence[Drawing], source: RealPeople, scores: dict[str, Scores], folds: Floats
) -> dict[str, Any]:
    """By attack and by what makes a contributor the largest: how often it is the nearest."""
    told = evidence(scores, folds, source.people.folds, source.people.inner)
    largest = {
        "share": [max(each.shares, key=each.shares.__getitem__) for each in drawn],
        "mean weight": [max(each.means, key=each.means.__getitem__) for each in drawn],
    }
    named = {}
    for way, wanted in largest.items():
        pairs = np.array([[name == one for name in source.names] for one in wanted])
        for attack, each in {**scores, LEARNED: learned_scores(told, pairs)}.items():
            hits = int(pairs[np.arange(len(drawn)), each.argmax(1)].sum())
            named[f"{attack}, largest {way}"] = share_of(hits, len(drawn))
    return named


def _sets(
    folds: Floats, source: RealPeople, members: NDArray[np.bool_], others: NDArray[np.bool_]
) -> dict[str, Any]:
    """By size and way: the area under the curve of who was behind sets of heads, and interval."""
    sizes = sorted({*SETS, len(folds)}) if members.any() and others.any() else []
    found = {}
    for size in (size for size in sizes if size <= len(folds)):
        parts = [
            folds[k * size : (k + 1) * size] for k in range(min(MOST_SETS, len(folds) // size))
        ]
        ways = [membership_ways(p, source.people.folds, source.people.inner) for p in parts]
        found[str(size)] = {
            way: _told([each[way] for each in ways], members, others) for way in ways[0]
        }
    return found


def _told(
    scores: Sequence[Numbers], members: NDArray[np.bool_], others: NDArray[np.bool_]
) -> dict[str, Any]:
    """Mean area of sets, members against others; its interval by drawing people anew."""
    inside, outside = np.flatnonzero(members), np.flatnonzero(others)
    random = np.random.default_rng(43)

    def mean(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
        return float(np.mean([area(each[one], each[other]) for each in scores]))

    drawn = [
        mean(random.choice(inside, len(inside)), random.choice(outside, len(outside)))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return {
        "auc": round(mean(inside, outside), 3),
        "interval": [round(low, 3), round(high, 3)],
        "sets": len(scores),
    }


def share_of(hits: int, count: int) -> dict[str, Any]:
    """A count of hits as a share with its interval."""
    low, high = interval(hits, count)
    return {
        "hits": hits,
        "share": round(hits / count, 4),
        "interval": [round(low, 4), round(high, 4)],
    }
