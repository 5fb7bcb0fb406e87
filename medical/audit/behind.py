"""Who is behind heads by their records, and how well the heads tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from medical.anatomy.filters import Floats
from medical.audit.evidence import Finding, interval
from medical.audit.membership import membership

Given = Mapping[str, Mapping[str, float]]
Facts = dict[str, Any]


def largest_named(
    given: Given, findings: Sequence[Finding], called: Mapping[str, str]
) -> Facts | None:
    """How often the nearest person is the largest contributor, of heads whose one is held.

    Args:
        given: By head, the weight of each contributor by hash.
        findings: For each head, whom it is nearest to.
        called: The hash of each person held.
    """
    held = set(called.values())
    largest = {head: max(each, key=each.__getitem__) for head, each in given.items() if each}
    known = [f for f in findings if largest.get(f.head) in held]
    if not known:
        return None
    hits = sum(called[f.person] == largest[f.head] for f in known)
    low, high = interval(hits, len(known))
    return {
        "heads": len(known),
        "largest_named": hits,
        "interval": [round(low, 3), round(high, 3)],
        "guessing": round(1 / len(called), 4),
    }


def members_told(
    given: Given,
    shown: tuple[Sequence[str], Floats],
    held: tuple[Sequence[str], Floats],
    seed: int,
) -> Facts | None:
    """How well the heads that were read tell who contributed to them, where records say so.

    Args:
        given: By head, the weight of each contributor by hash.
        shown: Names of the heads that were read, (heads, N) their patterns.
        held: Hashes of the people, (people, N) their patterns.
        seed: Of the interval's draws.
    """
    people = {person for head in shown[0] for person in given.get(head, ())}
    members = np.array([person in people for person in held[0]])
    told = membership(shown[1], held[1], members, seed)
    if told is None:
        return None
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(told).items()}
    return {"heads": len(shown[0]), **rounded}
