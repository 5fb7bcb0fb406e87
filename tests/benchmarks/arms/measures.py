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


def levels(domain: str) -> Values:
    """Signal over error of the prediction, item by item: the mean in dB over noise levels."""

    def values(result: Result) -> list[float]:
        found = dict(result[domain]["errors"])
        signal = fmean(found.pop("data"))
        rows = zip(*found.values(), strict=True)
        return [fmean(10 * math.log10(signal / error) for error in row) for row in rows]

    return values


@dataclass(frozen=True)
class Difference:
    """One arm less another, over the same heads or clips.

    Attributes:
        mean: In dB.
        low: 95 % interval over heads or clips, not over runs.
        high: Its upper end.
        noise: Standard deviation of one run, over seeds.
    """

    mean: float
    low: float
    high: float
    noise: float

    @property
    def verdict(self) -> str:
        """Better or worse where neither the items nor the seeds explain the difference."""
        if self.low <= 0 <= self.high or abs(self.mean) < REACH * self.noise:
            return SAME
        return "better" if self.mean > 0 else "worse"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def difference(ours: Result, theirs: Result, values: Values, noise: float) -> Difference:
    """How much better the first is, paired."""
    pairs = zip(values(ours), values(theirs), strict=True)
    gaps = [a - b for a, b in pairs]
    low, high = student(gaps) or (gaps[0], gaps[0])
    return Difference(fmean(gaps), low, high, noise)


def noise(runs: Sequence[Result], values: Values) -> float:
    """Standard deviation over runs that differ in nothing but the seed; 0 of a single one."""
    return stdev(fmean(values(run)) for run in runs) if len(runs) > 1 else 0.0


def hits(result: Result, axis: str) -> tuple[int, int]:
    """Clips that show what was asked on an axis, and how many were asked."""
    found = result["video"]["oracle"].get(axis, [])
    return sum(found), len(found)
