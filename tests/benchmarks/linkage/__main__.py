"""Measures of record: ``python -m tests.benchmarks.linkage FOLDER --heads BIDS``.

Draws heads as datasets draw them into a folder, holds them against real people by the listed
attacks and a learned one, and prints a table. Goes on where it was stopped. 120 anatomies take
eight minutes of a core, each finished image (``--images``) half a minute more.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from medical.anatomy.head_model import find_pool
from medical.audit.attacks import folds_of
from medical.audit.evidence import interval
from medical.audit.sources import RealPeople
from tests.benchmarks.linkage.drawings import Drawing, drawings, pools_of, real_people
from tests.benchmarks.linkage.learned import (
    evidence,
    learned_scores,
    membership_ways,
    told_apart,
)

SETS = (4, 5, 10, 20, 40, 60, 120)
MOST_SETS = 6


def main() -> int:
    """Draw what lacks, attack, print."""
    asked = _arguments()
    torch.set_num_threads(1)
    pool = find_pool()
    people = real_people(asked.heads, asked.folder / "people")
    pools = [pool.only(pool_names(pool))] if asked.whole else pools_of(pool)
    count, image = (asked.images, True) if asked.images else (asked.drawings, False)
    drawn = list(drawings(pools, count, asked.folder / "drawn", image=image))
    never = {seen.name for seen in people} - {person.hash for person in pool.people}
    facts = measure(drawn, RealPeople(people), never)
    facts["pools"] = [len(each.people) for each in pools]
    facts["what"] = "finished images at 1 mm" if image else "anatomies at 2 mm"
    text = json.dumps(facts, indent=1)
    (asked.folder / f"{'images' if image else 'anatomies'}.json").write_text(text, "utf-8")
    sys.stdout.write(text + os.linesep)
    return 0


def measure(drawn: list[Drawing], source: RealPeople, never: set[str]) -> dict[str, object]:
    """Who is named by which attack, and what sets of heads tell.

    Args:
        drawn: Heads.
        source: All people.
        never: Hashes of those who contributed to nothing.
    """
    heads = [each.seen for each in drawn]
    scores: dict[str, np.ndarray] = dict(source.scores(heads))
    folds = np.stack([folds_of(head.labels) for head in heads])
    people, inside = source.people.folds, source.people.inner
    told = evidence(scores, folds, people, inside)
    largest = {
        "share": [max(each.shares, key=each.shares.__getitem__) for each in drawn],
        "mean weight": [max(each.means, key=each.means.__getitem__) for each in drawn],
    }
    named: dict[str, object] = {}
    for way, wanted in largest.items():
        pairs = np.array([[name == one for name in source.names] for one in wanted])
        every = {**scores, "learned": learned_scores(told, pairs)}
        for attack, each in every.items():
            hits = int(pairs[np.arange(len(drawn)), each.argmax(1)].sum())
            named[f"{attack}, largest {way}"] = _share(hits, len(drawn))
    behind = np.array([[name in each.means for name in source.names] for each in drawn])
    rows = np.arange(len(drawn))
    nearest = {k: round(float(behind[rows, s.argmax(1)].mean()), 3) for k, s in scores.items()}
    contributed = {name for each in drawn for name in each.means}
    members = np.array([name in contributed for name in source.names])
    kept = members | np.array([name in never for name in source.names])
    sets = {}
    for size in (size for size in SETS if size <= len(drawn)):
        parts = [
            folds[k * size : (k + 1) * size] for k in range(min(MOST_SETS, len(drawn) // size))
        ]
        ways = [membership_ways(part, people, inside) for part in parts]
        sets[size] = {
            way: round(told_apart([each[way] for each in ways], members, kept), 3)
            for way in ways[0]
        }
    findings = source.strangers.findings([h.name for h in heads], dict(scores), bar_for=20)
    return {
        "heads": len(drawn),
        "people": len(source.names),
        "guessing": round(1 / len(source.names), 4),
        "named": named,
        "nearest_is_of_the_pool": {**nearest, "guessing": round(float(behind.mean()), 3)},
        "linked_by_the_bar_for_20_heads": sum(each.linked for each in findings),
        "membership": sets,
        "members": int(members.sum()),
        "others": int((kept & ~members).sum()),
    }


def pool_names(pool) -> list[str]:
    """Who of a model may contribute, all in one pool."""
    return [person.hash for part in pools_of(pool) for person in part.people]


def _share(hits: int, count: int) -> dict[str, object]:
    low, high = interval(hits, count)
    return {
        "hits": hits,
        "share": round(hits / count, 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.linkage", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="drawings are kept here; run again to go on")
    parser.add_argument("--heads", type=Path, required=True, help="BIDS folder of ds002748")
    parser.add_argument("--drawings", type=int, default=120, help="anatomies at 2 mm")
    parser.add_argument("--images", type=int, default=0, help="finished images in their place")
    parser.add_argument("--whole", action="store_true", help="one pool in place of folds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
