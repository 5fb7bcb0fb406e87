"""How a network of some family is walked where nobody asked for another sampler."""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.families.table import family_of
from core.sampling.samplers import SAMPLERS, Walk
from core.sampling.stochastic import STOCHASTIC
from core.seeds import generator
from core.tensors import Levels

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

FRESH = 1
"""Place of a walk's fresh noise among what follows from a seed; the noise it begins with is 0."""


def usual_walk(network: ConditionedNetwork, seed: int) -> Walk:
    """The sampler of the network's family; where it adds noise, that follows from ``seed``."""
    name = family_of(network).sampler
    if name in SAMPLERS:
        return SAMPLERS[name].walk
    walk = STOCHASTIC[name].walk
    return update_wrapper(partial(walk, generator=generator(seed, FRESH, FRESH)), walk)


def reachable(network: ConditionedNetwork, levels: Levels) -> Tensor:
    """The levels, those left out that lie above where the network's answers say something.

    A network that answers with noise alone begins at 0.999 instead of 1.
    """
    highest = family_of(network).highest
    if levels[0] <= highest:
        return levels
    return torch.cat([levels.new_tensor([highest]), levels[levels < highest]])
