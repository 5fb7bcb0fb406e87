"""How far heads of people's pools can be traced to them, and whether it was measured well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medical.anatomy.pool import CANONICAL, Pool
from medical.audit.controls import FOUND, bent_labels
from medical.audit.linkage import drawings, measure
from medical.audit.seen import Seen, box_of, painted
from medical.audit.sources import RealPeople, map_of

CONTROL_HEADS = 20
POINTS = 0.05
"""Most that the upper end of an attack's interval may lie above guessing."""
MOST_TOLD = 0.70
"""Most area under the curve of who was behind a dataset."""
FEWEST = 120
"""Anatomies without which the bounds are not held to be met."""
PERSON_S, ANATOMY_S = 0.7, 6.0
"""One core of a server CPU: attacks for each person, drawing and attacks for each anatomy."""
OnHead = Callable[[int, int], None]
Facts = dict[str, Any]


def seconds(people: int, count: int) -> float:
    """What ``trace`` takes of one core."""
    return people * PERSON_S + (count + min(CONTROL_HEADS, people)) * ANATOMY_S


def trace(
    everyone: tuple[Pool, Sequence[Seen]],
    pools: Sequence[Sequence[str]],
    count: int,
    folder: Path,
    on_head: OnHead = lambda done, total: None,
) -> Facts:
    """Draw anatomies from pools and hold them against everyone, those in no pool too.

    Args:
        everyone: All people, by maps and as attacks see them, called by hash in both.
        pools: Hashes of the people of each fold.
        count: Anatomies.
        folder: Where drawn ones are kept, so that a run can go on.
        on_head: Told how many of how many are drawn.
    """
    pool, seen = everyone
    total = count + min(CONTROL_HEADS, len(seen))
    drawn = []
    for each in drawings([pool.only(hashes) for hashes in pools], count, folder):
        drawn.append(each)
        on_head(len(drawn), total)
    source = RealPeople(seen)
    inside = {name for hashes in pools for name in hashes}
    facts = measure(drawn, source, set(source.names) - inside)
    controls = _controls(everyone, lambda done: on_head(count + done, total))
    facts["controls"] = {name: _named(source, made) for name, made in controls.items()}
    facts["pools"] = [len(hashes) for hashes in pools]
    return facts


def beyond(facts: Mapping[str, Any], heads: int) -> list[str]:
    """Why a dataset of so many heads is not held to hide its people; empty where it is.

    Args:
        facts: What ``trace`` found.
        heads: Of the dataset.
    """
    reasons = []
    if facts["heads"] < FEWEST:
        reasons.append(f"{facts['heads']} anatomies were drawn, fewer than {FEWEST}")
    most = facts["guessing"] + POINTS
    if worst(facts)[1]["interval"][1] > most:
        reasons.append(f"the upper end of that interval is above {100 * most:.1f} %")
    told = told_of(facts, heads)
    if told is None:
        reasons.append(f"who is behind {heads} heads was not measured")
    elif told["auc"] > MOST_TOLD:
        reasons.append(f"that area is above {MOST_TOLD:.2f}")
    reasons += [
        f"of {each['made']} {name} {each['named']} were named, so others may be missed"
        for name, each in facts["controls"].items()
        if each["named"] < FOUND * each["made"]
    ]
    return reasons


def worst(facts: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The attack that named most of the largest contributors, and how many."""
    return max(facts["named"].items(), key=lambda each: each[1]["hits"])


def told_of(facts: Mapping[str, Any], heads: int) -> Mapping[str, Any] | None:
    """What the best way tells of who is behind so many heads, or the next larger set measured."""
    sizes = [size for size in map(int, facts["membership"]) if size >= heads]
    if not sizes:
        return None
    ways = facts["membership"][str(min(sizes))].values()
    return {**max(ways, key=lambda each: each["auc"]), "heads": min(sizes)}


def _controls(
    everyone: tuple[Pool, Sequence[Seen]], on_control: Callable[[int], None]
) -> dict[str, list[Seen]]:
    """Heads of one person each, which must be named, called by whom they are of."""
    pool, seen = everyone
    count = min(CONTROL_HEADS, len(seen))
    spacing = np.full(3, CANONICAL.spacing_mm)
    maps, bent = list[Seen](), list[Seen]()
    for place in range(count):
        person = place * len(seen) // count
        maps.append(map_of(pool, person, place))
        random = np.random.default_rng([34, place])
        labels = bent_labels(seen[person].labels, spacing, random)
        bent.append(Seen(seen[person].name, labels, box_of(painted(labels))))
        on_control(place + 1)
    return {"maps with folds drawn anew": maps, "bent label maps": bent}


def _named(source: RealPeople, made: Sequence[Seen]) -> Facts:
    """How many of a control the attack that finds most of them names."""
    wanted = [head.name for head in made]
    hits = {
        attack: sum(
            source.names[who] == name for who, name in zip(s.argmax(1), wanted, strict=True)
        )
        for attack, s in source.scores(made).items()
    }
    best = max(hits, key=hits.__getitem__)
    return {"made": len(made), "named": hits[best], "attack": best}
