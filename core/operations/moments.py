"""What K samples say together: their mean and their spread, from one sample at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.arrays import Tensor, namespace


@dataclass(frozen=True, eq=False)
class Moments:
    """What K samples say together.

    >>> import numpy as np
    >>> Moments(np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2))).mean.shape
    (1, 2, 2, 2)

    Attributes:
        mean: (C, D, H, W), on the CPU; of one sample the sample itself, bit for bit.
        std: (C, D, H, W) standard deviation over the samples; 0 of one.
    """

    mean: Tensor
    std: Tensor


def folded(drawn: Iterable[Tensor], samples: int) -> Moments:
    """Mean and standard deviation of samples, each second one the opposite of its neighbor.

    Memory does not grow with their number (Welford's update).

    Args:
        drawn: (C, D, H, W) each, on the CPU.
        samples: How many they are.
    """
    mean: Any = None
    spread: Any = None  # no memory before something is added
    library: Any = None
    for k, x in enumerate(drawn):
        if mean is None:
            library = namespace(x)
            spread = library.zeros(tuple(x.shape), dtype=x.dtype)
            if samples == 1:  # a long clip: half the memory
                return Moments(x, spread)
            mean = library.zeros(tuple(x.shape), dtype=x.dtype)
        delta = x - mean
        mean += delta / (k + 1)
        delta *= x - mean
        spread += delta
    # Pairs of opposite noise leave no chance in the mean: nothing is lost to estimating it.
    count = samples if samples % 2 == 0 else max(1, samples - 1)
    spread /= count
    return Moments(mean, library.sqrt(spread, out=spread))
