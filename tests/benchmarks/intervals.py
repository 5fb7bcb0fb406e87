"""How far a number can be trusted: 95 % intervals of shares and of means."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy import stats

Interval = tuple[float, float]


def wilson(hits: int, number: int, z: float = 1.96) -> Interval:
    """95 % interval of a share. Wilson 1927."""
    if number == 0:
        return 0.0, 1.0
    share, weight = hits / number, z * z / number
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / number + weight / (4 * number)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def student(values: Sequence[float]) -> Interval | None:
    """95 % interval of a mean by Student's t; None for a single value, which has none."""
    if len(values) < 2:
        return None
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - reach, fmean(values) + reach
