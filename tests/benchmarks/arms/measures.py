"""Numbers of arms and how they differ, with the spread that chance alone makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from tests.benchmarks.intervals import student

Result = Mapping[str, Any]
Values = Callable[[Result], list[float]]
"""One value for each head or clip, in dB."""
BASE = "back-projection"
SAME = "inside the noise"
REACH = 2.8
"""Differences of two runs stay within so many deviations of one run, 19 times in 20: 2 sqrt 2."""


def gains(way: str = "one step") -> Values:
    """PSNR of a way beyond that of back-projection, head by head."""

    def values(result: Result) -> list[float]:
        scores = [head["scores"] for head in result["mri"]["heads"]]
        return [s[way]["psnr"] - s[BASE]["psnr"] for s in scores]

    return values


def similarity(way: str = "one step") -> Values:
    """SSIM of a way beyond that of back-projection, head by head."""

    def values(result: Result) -> list[float]:
        scores = [head["scores"] for head in result["mri"]["heads"]]
        return [s[way]["ssim"] - s[BASE]["ssim"] for s in scores]

    return values


def levels(domain: str, only: Sequence[str] = ()) -> Values:
    """Signal over error of the prediction: the mean in dB over noise levels.

    One value for each clip, or for each head that there are patches of.
    """

    def values(result: Result) -> list[float]:
        found = dict(result[domain]["errors"])
        signal = fmean(found.pop("data"))
        rows = zip(*(v for k, v in found.items() if not only or k in only), strict=True)
        items = [fmean(10 * math.log10(signal / error) for error in row) for row in rows]
        of = result[domain].get("of", range(len(items)))
        groups: dict[int, list[float]] = {}
        for whose, value in zip(of, items, strict=True):
            groups.setdefault(whose, []).append(value)
        return [fmean(groups[whose]) for whose in sorted(groups)]

    return values


@dataclass(frozen=True)
class Difference:
    """One arm less another, over the same heads or clips.

    Attributes:
        mean: In dB.
        low: 95 % interval over heads or clips, not over runs.
        high: Its upper end.
        noise: Standard deviation of one run, over seeds; None where there is one seed.
    """

    mean: float
    low: float
    high: float
    noise: float | None

    @property
    def verdict(self) -> str:
        """Better or worse where neither the items nor the seeds explain the difference."""
        if self.low <= 0 <= self.high or abs(self.mean) < REACH * (self.noise or 0.0):
            return SAME
        word = "better" if self.mean > 0 else "worse"
        return word if self.noise is not None else f"{word}, by one seed"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def difference(ours: Result, theirs: Result, values: Values, noise: float | None) -> Difference:
    """How much better the first is, paired."""
    pairs = zip(values(ours), values(theirs), strict=True)
    gaps = [a - b for a, b in pairs]
    low, high = student(gaps) or (gaps[0], gaps[0])
    return Difference(fmean(gaps), low, high, noise)


def strangers(results: Mapping[str, Result], references: Mapping[str, str]) -> list[str]:
    """Arms that were judged on other items than the references, so that nothing can be paired.

    Args:
        results: Arms by name.
        references: Name of the reference of each domain.
    """
    return [
        name
        for name, result in results.items()
        for domain, reference in references.items()
        if domain in result and _items(result, domain) != _items(results[reference], domain)
    ]


def _items(result: Result, domain: str) -> list[float]:
    return result[domain]["errors"]["data"]


def noise(runs: Sequence[Result], values: Values) -> float | None:
    """Standard deviation over runs that differ in nothing but the seed; None of a single one."""
    return stdev(fmean(values(run)) for run in runs) if len(runs) > 1 else None


def hits(result: Result, axis: str) -> tuple[int, int]:
    """Clips that show what was asked on an axis, and how many were asked."""
    found = result["video"]["oracle"].get(axis, [])
    return sum(found), len(found)
