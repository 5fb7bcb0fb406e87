"""Numbers of the families' arms, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tests.benchmarks.families.scores import EVALUATIONS, SAMPLES
from tests.benchmarks.intervals import student

Result = Mapping[str, Any]
LEVELS_READ = ("0.9", "0.75", "0.5", "0.25")
"""Levels whose errors are compared: at 1 some families say nothing."""
NEAR_DB, NEAR_SHARE = 0.1, 0.03
AXES = ("color", "shape", "motion")


def errors_db(result: Result) -> list[float]:
    """Signal over error of each held-out item, mean over levels, in dB."""
    found = result["errors"]
    return [
        fmean(10 * math.log10(found["data"][i] / found[level][i]) for level in LEVELS_READ)
        for i in range(len(found["data"]))
    ]


def gain(result: Result, evaluations: int, way: str = "mean") -> float:
    """Of all patches together: signal that back-projection left out, over what error is left."""
    drawn = result["drawn"]
    return _db(fmean(drawn["nothing"]), fmean(drawn[str(evaluations)][way]))


def patch_gains(result: Result, evaluations: int) -> list[float]:
    """The same patch by patch."""
    drawn = result["drawn"]
    pairs = zip(drawn["nothing"], drawn[str(evaluations)]["mean"], strict=True)
    return [_db(nothing, left) for nothing, left in pairs]


def calibration(result: Result, evaluations: int) -> float:
    """Error that the spread of the samples predicts for their mean, over the actual one."""
    found = result["drawn"][str(evaluations)]
    return math.sqrt((1 + 1 / SAMPLES) * fmean(found["spread"]) / fmean(found["mean"]))


def share(result: Result, evaluations: int, axis: str = "color") -> float:
    """Clips that show what was asked on an axis, of those that were asked."""
    hits = result["drawn"][str(evaluations)].get(axis, [])
    return sum(hits) / max(1, len(hits))


def score(result: Result, evaluations: int) -> float:
    """What the curve of the domain shows: colors that are right, or dB."""
    clips = result["arm"]["domain"] == "video"
    return share(result, evaluations) if clips else gain(result, evaluations)


def best(result: Result) -> int:
    """Evaluations of the highest score, the fewest of these."""
    return max(EVALUATIONS, key=lambda e: (round(score(result, e), 4), -e))


def enough(result: Result) -> int:
    """The fewest evaluations whose score is near the best."""
    clips = result["arm"]["domain"] == "video"
    least = score(result, best(result)) - (NEAR_SHARE if clips else NEAR_DB)
    return next(e for e in EVALUATIONS if score(result, e) >= least)


@dataclass(frozen=True)
class Beside:
    """An arm less the reference, over the same clips or patches.

    Attributes:
        mean: In dB.
        low: 95 % interval over the items.
        high: Its upper end.
        chance: What another seed of the reference made of it; None where that was not measured.
    """

    mean: float
    low: float
    high: float
    chance: float | None

    @property
    def word(self) -> str:
        """What follows."""
        if self.low <= 0 <= self.high or abs(self.mean) <= abs(self.chance or 0.0):
            return "no different"
        return "better" if self.mean > 0 else "worse"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} dB ({self.low:+.2f} to {self.high:+.2f})"


def beside(ours: Result, theirs: Result, chance: float | None) -> Beside:
    """Held-out errors of the estimates, which every family gives alike."""
    return _paired(errors_db(ours), errors_db(theirs), chance)


def drawn_beside(ours: Result, theirs: Result, chance: float | None) -> Beside:
    """Patches drawn by the number of evaluations that is best for each on other patches."""
    gains = [_chosen_elsewhere(r) for r in (ours, theirs)]
    return _paired(gains[0], gains[1], chance)


def _chosen_elsewhere(result: Result) -> list[float]:
    """Gain of each patch by the evaluations that are best on the other half of the patches."""
    by = {e: patch_gains(result, e) for e in EVALUATIONS}
    chosen = [max(EVALUATIONS, key=lambda e: (round(sum(by[e][half::2]), 4), -e))
              for half in (1, 0)]  # fmt: skip
    return [by[chosen[i % 2]][i] for i in range(len(by[EVALUATIONS[0]]))]


def _paired(ours: list[float], theirs: list[float], chance: float | None) -> Beside:
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    low, high = student(gaps) or (-math.inf, math.inf)
    return Beside(fmean(gaps), low, high, chance)


def _db(signal: float, error: float) -> float:
    return 10 * math.log10(max(signal, 1e-12) / max(error, 1e-12))
