"""A look at the averaged weights while they are trained, which changes nothing in training.

What is looked at, and how it is judged, the rooms above say: they hand in a ``Validate``. It is
given a copy of the network, and must draw from generators of its own alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.networks.conditioned import ConditionedNetwork
from core.networks.network import Network
from core.tensors import inference_dtype
from core.training.ema import WeightAverage

logger = logging.getLogger(__name__)

MOST_OF_THE_TIME = 0.03
"""Share of a run's time that validation may take; a slow one is done less often."""


@dataclass(frozen=True)
class Validation:
    """How a network does.

    >>> Validation({"PSNR": 31.0}).numbers["PSNR"]
    31.0

    Attributes:
        numbers: What was measured, by name.
        picture: What it made, (H, W, 3) uint8; None for no picture.
    """

    numbers: Mapping[str, float]
    picture: NDArray[np.uint8] | None = field(default=None, compare=False)


Validate = Callable[[ConditionedNetwork], Validation]
"""Judges a network, which is in evaluation mode, in its fast precision, and its own to keep."""

OnValidation = Callable[[str, int, Validation], None]
"""Called with the stage, the step and what was found."""


class Validator:
    """Validates a stage every few minutes, and less often where that would slow it down.

    >>> Validator(lambda network: Validation({"PSNR": 31.0}), minutes=5.0).pause_s
    300.0

    Args:
        validate: What is looked at.
        minutes: Least time between two looks; 0 looks after every step.
    """

    def __init__(self, validate: Validate, minutes: float) -> None:
        self.validate, self.pause_s = validate, 60 * minutes
        self.cost_s = 0.0
        self._copy: Any = None

    def due(self, seconds: float) -> bool:
        """Whether it is time, so many seconds after the last look."""
        rest = self.cost_s / MOST_OF_THE_TIME if self.pause_s else 0.0
        return seconds > max(self.pause_s, rest)

    def look(self, network: Network, average: WeightAverage, *, family: str) -> Validation | None:
        """How the averaged weights do; None where that could not be found out.

        Args:
            network: As it is trained; left as it is.
            average: Of its weights.
            family: By which it is taught.
        """
        began = time.perf_counter()
        try:
            return self.validate(self._averaged(network, average, family=family))
        except Exception as error:  # a look that fails must not end a run of hours
            logger.warning("validation failed, training goes on: %s", error, exc_info=True)
            return None
        finally:
            self.cost_s = time.perf_counter() - began

    def tell(self, told: OnValidation, stage: str, step: int, found: Validation) -> None:
        """Call ``told``; that it fails must not end a run of hours either."""
        try:
            told(stage, step, found)
        except Exception as error:
            logger.warning("validation could not be shown, training goes on: %s", error)

    def _averaged(self, network: Network, average: WeightAverage, *, family: str) -> Any:
        """The copy, with the average in it."""
        if self._copy is None:
            self._copy = deepcopy(network).eval().requires_grad_(False)
            for parameter in self._copy.parameters():  # not .to(dtype): diffusers' warns
                parameter.data = parameter.data.to(dtype=inference_dtype(parameter.device))
            self._copy.register_to_config(trained_objective=family)
        average.copy_to(self._copy)
        return self._copy
