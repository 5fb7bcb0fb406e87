"""The table of whether drawn heads help: arms against real data alone, with intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from core.progress import counted
from medical.evaluation.downstream import ARMS, MOST_DRAWN, interval

Rows = Sequence[dict[str, Any]]
SURE, ROUNDING = 0.05, 1e-9


def table(rows: Rows, drawn: int) -> str:
    """Markdown: Dice of each arm, its paired difference to real data, and what may be said.

    Args:
        rows: finished trainings.
        drawn: how many heads were drawn.
    """
    people = sorted({row["left_out"] for row in rows})
    seeds = sorted({row["seed"] for row in rows})
    seconds = sorted(row["seconds"] for row in rows)[len(rows) // 2]
    lines = [
        f"Protocol: lesions segmented from FLAIR by a U-Net of {rows[0]['steps']} steps; "
        f"{counted(len(people), 'person', 'people')}, each left out once and tested on; "
        f"{counted(drawn, 'drawn head')}; up to {counted(len(seeds), 'paired seed')}; "
        f"about {seconds / 60:.1f} minutes an arm; Dice at a half. "
        "Intervals of 95 in 100 are over seeds of one person and say nothing of other people.",
        "",
        "| arm | " + " | ".join(f"{name}: Dice | less real alone" for name in people) + " |",
        "|---|" + "---|---|" * len(people),
    ]
    for arm in ARMS:
        cells = [cell for name in people for cell in _cells(rows, arm, name)]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    lines += ["", verdict(rows)]
    if any(share > MOST_DRAWN for share in ARMS.values()):
        lines += ["", warning()]
    return "\n".join(lines) + "\n"


def differences(rows: Rows, arm: str, person: str) -> list[float]:
    """Dice of an arm less that of real data alone, of the seeds that have both."""
    found = {(row["seed"], row["arm"]): row["dice"] for row in rows if row["left_out"] == person}
    return [
        dice - found[seed, "real"]
        for (seed, name), dice in sorted(found.items())
        if name == arm and (seed, "real") in found
    ]


def verdict(rows: Rows) -> str:
    """Which arms gain on every person, held to 5 % over all arms together."""
    chances = {arm: chance_of_none(rows, arm) for arm in list(ARMS)[1:]}
    better = rejected({arm: p for arm, p in chances.items() if p is not None})
    told = f"{SURE:.0%} over all arms together (Holm)"
    if not any(p is not None for p in chances.values()):
        return "No arm has two seeds of every person yet: nothing is told."
    if not better:
        return f"No arm gains on every person left out, at {told}: no gain."
    return f"Better than real data alone on every person left out, at {told}: {', '.join(better)}."


def chance_of_none(rows: Rows, arm: str) -> float | None:
    """How likely an arm that gains nothing on some person shows so much; None where it lacks.

    The largest over people of the one-sided p of a paired t-test over seeds.
    """
    found = []
    for name in sorted({row["left_out"] for row in rows}):
        off = differences(rows, arm, name)
        if len(off) < 2:
            return None
        found.append(_chance(off))
    return max(found, default=None)


def _chance(off: Sequence[float]) -> float:
    mean, spread = statistics.fmean(off), statistics.stdev(off)
    if spread < ROUNDING:
        return 0.0 if mean > ROUNDING else 1.0
    from scipy.stats import t  # noqa: PLC0415  slow to import

    return float(t.sf(mean / spread * math.sqrt(len(off)), len(off) - 1))


def rejected(chances: Mapping[str, float]) -> list[str]:
    """Arms of which no gain is refuted, in their own order (Holm 1979)."""
    kept = set[str]()
    for place, (arm, p) in enumerate(sorted(chances.items(), key=lambda row: row[1])):
        if p > SURE / (len(chances) - place):
            break
        kept.add(arm)
    return [arm for arm in chances if arm in kept]


def warning() -> str:
    """What is said of more than half."""
    return (
        f"Above {100 * MOST_DRAWN:.0f} % drawn data segmenters have become worse elsewhere: keep "
        "real data at half or more unless a test on people of your own says otherwise."
    )


def _cells(rows: Rows, arm: str, person: str) -> tuple[str, str]:
    dice = [r["dice"] for r in rows if r["arm"] == arm and r["left_out"] == person]
    if not dice:
        return "", ""
    off = differences(rows, arm, person)
    return _mean(dice, ".3f"), _mean(off, "+.3f") if arm != "real" and off else ""


def _mean(values: Sequence[float], form: str) -> str:
    """A mean with its interval, which a single seed does not have."""
    mean, low, high = interval(values)
    if len(values) < 2:
        return f"{mean:{form}} (one seed)"
    return f"{mean:{form}} ({low:{form}} to {high:{form}})"
