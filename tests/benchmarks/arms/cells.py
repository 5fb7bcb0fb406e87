"""Cells and tables of the page of the experiments."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from tests.benchmarks.arms.measures import Result, Values, gains
from tests.benchmarks.intervals import student, wilson

PICTURES = "pictures/experiments"


def power(result: Result, way: str) -> list[float]:
    """Share of the truth's power by frequency, mean over heads."""
    found = [head["spectra"] for head in result["mri"]["heads"]]
    shares = []
    for head in found:
        ours, truth = np.array(head[way]["power"]), np.array(head["truth"]["power"])
        # a small box has frequencies that no bin of the table holds
        shares.append(np.divide(ours, truth, out=np.zeros_like(ours), where=truth > 0))
    return np.mean(shares, axis=0).tolist()


def between(ours: Result, way: str, theirs: Result, other: str) -> str:
    gaps = [a - b for a, b in zip(gains(way)(ours), gains(other)(theirs), strict=True)]
    low, high = student(gaps) or (gaps[0], gaps[0])
    return f"{fmean(gaps):+.2f} ({low:+.2f} to {high:+.2f})"


def with_interval(result: Result, values: Values) -> str:
    found = values(result)
    low, high = student(found) or (found[0], found[0])
    return f"{fmean(found):.2f} ({low:.2f} to {high:.2f})"


def share(number: int, of: int) -> str:
    low, high = wilson(number, of)
    return f"{100 * number / max(1, of):.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def picture(name: str, caption: str) -> str:
    return f"![{caption.partition('. ')[0].rstrip('.')}]({PICTURES}/{name})\n\n*{caption}*\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)
