"""Labels as fine as the scan: the network says what may be where, the scan's intensities decide.

Each structure has one mean and spread of intensity in a scan, found in turns with the labels
(expectation maximization under a smooth bias, Wells et al. 1996), with the network's shares,
softened, as what is expected before looking. So contrast need not be known, and borders follow the
scan and not the network's 2 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.filters import Floats, blurred

SOFT_VOXELS = 0.8
FLOOR = 0.002
"""Least share of a structure where its softened share is not negligible."""
ROUNDS = 6
LEAST_SPREAD, LEAST_VOXELS = 0.04, 20.0
BIAS_VOXELS = 10.0
SEEN = 0.02
BACKGROUND = 0
UNEVEN = (BACKGROUND, 15)
"""Background and all that is outside the brain have no one intensity; they decide no bias."""


@dataclass(frozen=True, eq=False)
class Look:
    """What structures look like in one scan.

    Attributes:
        prior: (structures, X, Y, Z) softened shares at 2 mm.
        means: (structures,).
        spreads: (structures,).
        bias: (X, Y, Z) smooth factor on intensities.
    """

    prior: Floats
    means: NDArray[np.float64]
    spreads: NDArray[np.float64]
    bias: Floats

    def likelihood(self, even: Floats, structure: int) -> Floats:
        """How well intensities without bias fit a structure."""
        mean, spread = self.means[structure], self.spreads[structure]
        fit = np.exp(-0.5 * np.square((even - np.float32(mean)) / np.float32(spread)))
        return (fit / np.float32(spread)).astype(np.float32)


def learn_look(image: Floats, shares: Floats) -> Look:
    """Means, spreads and bias of a scan.

    Args:
        image: (X, Y, Z) at 2 mm.
        shares: (structures, X, Y, Z) of the network.
    """
    prior = np.stack([blurred(share, SOFT_VOXELS) for share in shares])
    prior = np.where(prior > FLOOR / 4, prior + FLOOR, 0.0).astype(np.float32)
    seen = image > SEEN
    belief, bias = prior[:, seen], np.ones(image.shape, np.float32)
    belief = belief / belief.sum(0).clip(1e-6)
    means, spreads = np.zeros(len(prior)), np.ones(len(prior))
    outside = image[shares[BACKGROUND] > 0.9] if bool((shares[BACKGROUND] > 0.9).any()) else [0.0]
    empty = float(np.median(outside)), LEAST_SPREAD  # not of what is left of it in the head
    for turn in range(ROUNDS):
        even = image[seen] / bias[seen]
        weight = belief.sum(1, dtype=np.float64) + 1e-6
        means = (belief @ even) / weight
        square = (belief @ np.square(even)) / weight - np.square(means)
        spreads = np.sqrt(np.maximum(square, LEAST_SPREAD**2))
        rare = weight < LEAST_VOXELS
        means[rare], spreads[rare] = np.median(even), float(even.std()) + LEAST_SPREAD
        means[BACKGROUND], spreads[BACKGROUND] = empty
        look = Look(prior, means, spreads, bias)
        belief = np.stack([p * look.likelihood(even, k) for k, p in enumerate(prior[:, seen])])
        belief = belief / belief.sum(0).clip(1e-9)
        if turn < ROUNDS - 1:
            bias = _bias(image, seen, belief, look)
    return Look(prior, means, spreads, bias)


def _bias(image: Floats, seen: NDArray[np.bool_], belief: Floats, look: Look) -> Floats:
    """The smooth factor by which intensities differ from those of their structures."""
    told, weight = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
    inner = np.ones(len(belief), np.float32)
    inner[list(UNEVEN)] = 0.0
    precision = inner / np.square(look.spreads).astype(np.float32)
    expected = (belief * (precision * look.means.astype(np.float32))[:, None]).sum(0)
    certain = (belief * precision[:, None]).sum(0)
    mean = expected / certain.clip(1e-6)
    usable = mean > 0.1
    ratio = np.log((image[seen] / mean.clip(0.1)).clip(0.3, 3.0)) * usable
    told[seen], weight[seen] = ratio * certain * usable, certain * usable
    least = 0.02 * float(certain.mean())
    smooth = blurred(told, BIAS_VOXELS) / (blurred(weight, BIAS_VOXELS) + least)
    return np.exp(smooth).astype(np.float32)
