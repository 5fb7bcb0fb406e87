"""The table of whether drawn heads help: arms against real data alone, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.progress import counted
from medical.evaluation.downstream import ARMS, MOST_DRAWN, interval

Rows = Sequence[dict[str, Any]]


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
    """Which arms gain on every person, as far as the intervals tell."""
    people = sorted({row["left_out"] for row in rows})
    better = []
    for arm in list(ARMS)[1:]:
        lows = [interval(differences(rows, arm, name))[1] for name in people
                if differences(rows, arm, name)]  # fmt: skip
        if len(lows) == len(people) and all(low > 0 for low in lows):
            better.append(arm)
    if not better:
        return "No arm gains on every person left out, as far as these intervals tell: no gain."
    return f"Better than real data alone on every person left out: {', '.join(better)}."


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
    mean, low, high = interval(dice)
    off = differences(rows, arm, person)
    if arm == "real" or not off:
        return f"{mean:.3f} ({low:.3f} to {high:.3f})", ""
    gain, least, most = interval(off)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})", f"{gain:+.3f} ({least:+.3f} to {most:+.3f})"
