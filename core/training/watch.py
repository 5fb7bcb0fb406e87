"""What is seen of a training run: its pace, its log, and how its averaged weights do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from core.networks.network import Network
from core.training.checkpoint import Clock
from core.training.ema import WeightAverage
from core.training.gradients import is_out_of_memory
from core.training.log import TrainingLog
from core.training.pace import Pace, count_flops, peak_flops
from core.training.plan import Plan, Progress
from core.training.validation import OnValidation, Validate, Validator

RECORD_EVERY_S = 5.0
AVERAGED = ("loss", "error", "gradient_norm")


@dataclass(frozen=True)
class Watch:
    """Who watches a stage.

    >>> Watch(stage="flow").log is None
    True

    Attributes:
        log: Folder of the run's log; None for no log.
        stage: The stage's name.
        validate: Judges the averaged weights; None for no validation.
        on_validation: Told what was found.
    """

    log: Path | None = None
    stage: str = "training"
    validate: Validate | None = None
    on_validation: OnValidation = lambda stage, step, found: None


class Observer:
    """Follows one sitting of a stage; only the first process writes and validates.

    Args:
        watch: Who is told.
        plan: The stage's.
        clock: Where the use of the device is added up.
        device: Of this process.
        step: At which the sitting begins.
        main: Whether this is the first process.
    """

    def __init__(
        self,
        watch: Watch,
        plan: Plan,
        clock: Clock,
        *,
        device: torch.device,
        step: int,
        main: bool,
    ) -> None:
        self.watch, self.plan, self.clock, self.main = watch, plan, clock, main
        self.pace = Pace(device)
        self.log: TrainingLog | None = None
        if main and watch.log is not None:
            self.log = TrainingLog(watch.log, watch.stage, step)
        self.validator: Validator | None = None
        if main and watch.validate is not None:
            self.validator = Validator(watch.validate, plan.validation_minutes)
        self._steps: list[Progress] = []
        self._next = self._looked = -math.inf

    def begin(self) -> None:
        """Start the clocks."""
        self.pace.take()
        self._looked = time.monotonic()

    def after_step(self, progress: Progress) -> None:
        """Take a step down; what is due is written."""
        self._steps.append(progress)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + RECORD_EVERY_S
            self.settle()

    def settle(self) -> None:
        """Write the mean of the steps since the last record."""
        if not self._steps:
            return
        stretch, last = self.pace.take(), self._steps[-1]
        stretch.steps = len(self._steps)
        self.clock.work.add(stretch)
        numbers = {name: _mean([getattr(p, name) for p in self._steps]) for name in AVERAGED}
        numbers["learning_rate"] = last.learning_rate
        numbers |= stretch.rates(self.clock.flops, self.clock.peak)
        self._steps.clear()
        if self.log is not None:
            self.log.record(last.step, numbers)

    def count(self, work: Callable[[], object], *, times: int, processes: int) -> None:
        """Count what a step computes, once, and what the devices could compute.

        Args:
            work: Computes one part of a batch again, with its gradient.
            times: Parts of a batch.
            processes: That share a batch.
        """
        try:
            self.clock.flops = self.clock.flops or times * count_flops(work)
        except (RuntimeError, MemoryError) as error:  # training itself is computed in pieces
            if not is_out_of_memory(error):
                raise
        dtype = torch.bfloat16 if self.plan.mixed_precision == "bf16" else torch.float32
        self.clock.peak = processes * peak_flops(self.pace.device, dtype)

    def look_if_due(
        self, step: int, network: Network, average: WeightAverage, *, family: str
    ) -> None:
        """Validate every few minutes."""
        if self.validator and self.validator.due(time.monotonic() - self._looked):
            self.look(step, network, average, family=family)

    def look(self, step: int, network: Network, average: WeightAverage, *, family: str) -> None:
        """Validate, and tell everyone; arguments as in ``Validator.look``."""
        if self.validator is None:
            return
        self.settle()
        found = self.validator.look(network, average, family=family)
        if found is not None:
            if self.log is not None:
                self.log.validated(step, found, self.validator.cost_s)
            self.validator.tell(self.watch.on_validation, self.watch.stage, step, found)
        self._looked = time.monotonic()

    def go_back(self, step: int) -> None:
        """Take back what was told of the steps after ``step``."""
        self.settle()
        if self.log is not None:
            self.log.go_back(step)

    def end(self) -> None:
        """Write what is left."""
        self.settle()
        if self.log is not None:
            self.log.close()


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
