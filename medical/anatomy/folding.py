"""The folding of a drawn brain: tissue at 2 mm for maps that say where it lies on the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from core.networks.conditioned import ConditionedNetwork
from medical.anatomy.filters import Floats
from medical.anatomy.windows import sample

Fold = Callable[[Floats, int], Floats]
"""(condition (7, X, Y, Z), seed) -> (3, X, Y, Z) fractions of CSF, gray, white."""

CONDITION_MEAN, CONDITION_SCALE = 0.3, 3.75
"""How fractions are told to the network: minus the mean, times the scale."""
MEAN, SPREAD = 0.3, 0.4
"""Of the fractions that it answers with."""
STEPS = 5
PRESENT = 0.02
"""Told fraction of tissue from which there may be brain."""


def unfolded(condition: Floats, seed: int = 0) -> Floats:
    """The fractions that a condition of folding says, and no more."""
    del seed
    return (condition[:3] / CONDITION_SCALE + CONDITION_MEAN).astype(np.float32)


def folder(network: ConditionedNetwork, *, steps: int = STEPS) -> Fold:
    """The network as a function from blurred maps to tissue.

    Args:
        network: Trained to fold.
        steps: Evaluations.
    """

    def fold(condition: Floats, seed: int) -> Floats:
        present = unfolded(condition).sum(0) > PRESENT
        drawn = sample(
            network,
            torch.from_numpy(condition),
            torch.from_numpy(present),
            seed,
            steps=steps,
            channels=3,
            spacing_mm=2.0,
        )
        fractions = (drawn.numpy() * SPREAD + MEAN).clip(0.0, 1.0)
        return np.where(present, fractions, 0.0).astype(np.float32)

    return fold
