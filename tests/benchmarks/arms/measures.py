"""Numbers of arms and how they differ, with the spread that chance alone makes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

from scipy import stats

from tests.benchmarks.intervals import student

Result = Mapping[str, Any]
Results = Mapping[str, Result]
Runs = Sequence[Result]
"""Of one arm, which differ in nothing but the seed."""
Values = Callable[[Result], list[float]]
"""One value for each head or clip, in dB."""
BASE = "back-projection"
SAME = "inside the noise"


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
    """Signal over error of the prediction: the mean in dB over noise levels; 0 predicts nothing.

    One value for each clip, or for each head that there are patches of.
    """

    def values(result: Result) -> list[float]:
        found = dict(result[domain]["errors"])
        signals = found.pop("data")
        rows = zip(*(v for k, v in found.items() if not only or k in only), strict=True)
        items = [
            fmean(10 * math.log10(signal / error) for error in row)
            for signal, row in zip(signals, rows, strict=True)
        ]
        of = result[domain].get("of", range(len(items)))
        groups: dict[int, list[float]] = {}
        for whose, value in zip(of, items, strict=True):
            groups.setdefault(whose, []).append(value)
        return [fmean(groups[whose]) for whose in sorted(groups)]

    return values


@dataclass(frozen=True)
class Noise:
    """By how much a run deviates by chance.

    Attributes:
        deviation: Standard deviation of one run, in dB.
        freedom: Degrees of freedom it is known by.
    """

    deviation: float
    freedom: int

    def reach(self, counts: Sequence[int]) -> float:
        """What two means of so many runs differ by at most, 19 times in 20, by Student's t."""
        factor = float(stats.t.ppf(0.975, self.freedom))
        return factor * self.deviation * math.sqrt(sum(1 / n for n in counts))


@dataclass(frozen=True)
class Difference:
    """One arm less another, over the same heads or clips.

    Attributes:
        mean: In dB.
        low: 95 % interval over heads or clips, not over runs.
        high: Its upper end.
        reach: What chance alone may make of it over runs; None where that is not known.
    """

    mean: float
    low: float
    high: float
    reach: float | None

    @property
    def verdict(self) -> str:
        """Better or worse where neither the items nor the seeds explain the difference."""
        if self.low <= 0 <= self.high or abs(self.mean) < (self.reach or 0.0):
            return SAME
        word = "better" if self.mean > 0 else "worse"
        return word if self.reach is not None else f"{word}, by one seed"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def difference(ours: Runs, theirs: Runs, values: Values, noise: Noise | None) -> Difference:
    """How much better the first arm is, paired, each by the mean over its runs."""
    sides = [[fmean(of) for of in zip(*map(values, runs), strict=True)] for runs in (ours, theirs)]
    gaps = [a - b for a, b in zip(*sides, strict=True)]
    low, high = student(gaps) or (gaps[0], gaps[0])
    reach = noise and noise.reach([len(ours), len(theirs)])
    return Difference(fmean(gaps), low, high, reach)


def runs(results: Results, name: str) -> list[Result]:
    """The runs of an arm, the first seed's before the others'."""
    return [r for n, r in results.items() if arm_of(n) == name]


def arm_of(name: str) -> str:
    """Name of the arm that a run is of."""
    return re.sub(r"-seed-\d+$", "", name)


def noise(results: Results, domain: str, values: Values) -> Noise | None:
    """Deviation within arms of several seeds, of all of them together; None where there is none.

    Args:
        results: Of all runs.
        domain: What the runs must have learned; plain regression does not count.
        values: What deviates.
    """
    squares, freedom = 0.0, 0
    for name in {arm_of(name) for name in results}:
        of = [r for r in runs(results, name) if domain in r and not r["arm"]["regression"]]
        if len(of) > 1:
            squares += variance(fmean(values(r)) for r in of) * (len(of) - 1)
            freedom += len(of) - 1
    return Noise(math.sqrt(squares / freedom), freedom) if freedom else None


def strangers(results: Results, references: Mapping[str, str]) -> list[str]:
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


def hits(result: Result, axis: str) -> tuple[int, int]:
    """Clips that show what was asked on an axis, and how many were asked."""
    found = result["video"]["oracle"].get(axis, [])
    return sum(found), len(found)
