"""The training loop: accelerate around one step, everything random drawn from (seed, step).

A batch, its noise and its order follow from the seed, the step and the process's rank alone.
A checkpoint therefore needs the weights, the optimizer, the average and the step number, and
a run that was killed goes on bit for bit as if it had not been.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from core.families.family import Family, Predict
from core.networks.compilation import compiled
from core.networks.network import Network
from core.refusal import Refusal
from core.training.checkpoint import STATE, Clock, finish_rename, read, write
from core.training.ema import WeightAverage
from core.training.faults import MOST_SKIPPED, never_finite, out_of_memory, went_back
from core.training.feed import Feeder, MakeBatch, part_size, training_device
from core.training.gradients import Rows, Splitter, share_weights
from core.training.optimizers import OPTIMIZERS
from core.training.plan import Plan, Progress, rate, share_done
from core.training.watch import Observer, Watch

logger = logging.getLogger(__name__)


class _Step(NamedTuple):
    """What came of a step: loss, plain error, norm of the gradient."""

    loss: float
    error: float
    gradient_norm: float


class Trainer:
    """One run: the network, its optimizer and average, and the folder it is kept in.

    Args:
        network: To be trained, in float32.
        make_batch: Where the data comes from.
        objective: What is minimized.
        plan: How long and how fast.
        folder: For checkpoints; an existing one is resumed.
        origin: Step at which the stage before had ended, whose network this run began from.
        watch: Who follows the run.
    """

    def __init__(
        self,
        network: Network,
        make_batch: MakeBatch,
        objective: Family,
        plan: Plan,
        folder: Path,
        *,
        origin: int = 0,
        watch: Watch | None = None,
    ) -> None:
        if plan.optimizer not in OPTIMIZERS:
            raise Refusal(
                f"optimizer={plan.optimizer!r}: training descends with one of "
                f"{sorted(OPTIMIZERS)}; name one of these."
            )
        self.objective, self.plan = objective, plan
        self.checkpoint, self.origin = Path(folder) / "checkpoint", origin
        # Precision is ours: accelerate's would also wrap the float32 finite differences.
        on_cpu = training_device().type == "cpu"
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
        self.part_size = part_size(plan, self.accelerator.num_processes)
        self.network = network.to(self.accelerator.device).train()
        share_weights(self.network, self.accelerator)
        self.predict: Predict = compiled(self.network) if plan.compile else self.network
        self.optimizer = self.accelerator.prepare(OPTIMIZERS[plan.optimizer](self.network, plan))
        self.average = WeightAverage(self.network, plan.ema_decay)
        self.step, self.skipped, self.clock = 0, 0, Clock()
        self.rows: Rows | None = None
        self._resume()
        self.splitter = Splitter(
            self.network, self.accelerator, rows=self.part_size, pieces=self.clock.pieces
        )
        self.observer = Observer(
            watch or Watch(),
            plan,
            self.clock,
            device=self.accelerator.device,
            step=self.step,
            main=self.accelerator.is_main_process,
        )
        self.feed = Feeder(
            make_batch,
            objective,
            plan,
            self.accelerator,
            rows=self.part_size,
            pace=self.observer.pace,
        )

    def run(
        self,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the last step or to the end of the time budget; whether that was reached.

        Args:
            on_progress: Called after every step.
            should_stop: Asked after every step; if true, the run ends there, resumable.

        Raises:
            Refusal: Gradients were not finite for too long a second time, or one sample
                does not fit the memory.
        """
        try:
            return self._run(on_progress, should_stop)
        finally:
            self.observer.end()

    def _run(
        self, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]
    ) -> bool:
        began = saved = time.monotonic()
        taken, before, stop = 0, self.clock.spent_s, False
        if not self._done():
            self.clock.sittings.append({"from_step": self.step, "goal": self.plan.steps})
            self.observer.begin()
            if not self.checkpoint.exists():
                self.save()  # so that there is something to go back to
        while not (self._done() or stop):
            if self.skipped >= MOST_SKIPPED:
                self._go_back()
            found = self._advance(first=not taken)
            taken, now = taken + 1, time.monotonic()
            due = now - saved > 60 * self.plan.checkpoint_minutes and not self.skipped
            self.clock.spent_s, due, stop = self._agreed(before + now - began, due, should_stop())
            progress = self._progress(found, (now - began) / taken)
            on_progress(progress)
            self.observer.after_step(progress)
            if due and not (stop or self._done()):
                self.save()
                saved = time.monotonic()
            self.observer.look_if_due(self.step, **self._judged)
        if not self.skipped or self._done():  # or else the checkpoint before is the sound one
            self.save()
        if taken and self._done():
            self.observer.look(self.step, **self._judged)
        return self._done()

    def _done(self) -> bool:
        return share_done(self.plan, self.step, self.clock.spent_s) >= 1

    @property
    def _judged(self) -> dict:
        """What a validation looks at."""
        parts = {"network": self.network, "average": self.average}
        return {**parts, "family": self.objective.name}

    def _progress(self, found: _Step, seconds_per_step: float) -> Progress:
        plan, spent_s = self.plan, self.clock.spent_s
        return Progress(
            step=self.step,
            steps=plan.steps,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            seconds_per_step=seconds_per_step,
            budget_left_s=(60 * plan.minutes or math.inf) - spent_s,
            share=share_done(plan, self.step, spent_s),
            **found._asdict(),
        )

    def _agreed(self, *told: float) -> list[float]:
        """What the first process says: clocks differ, and all must stop and save together."""
        if self.accelerator.num_processes == 1:
            return list(told)
        said = torch.tensor(told, dtype=torch.float64, device=self.accelerator.device)
        torch.distributed.broadcast(said, src=0)
        return said.tolist()

    def _advance(self, *, first: bool) -> _Step:
        """One optimizer step. A step whose gradient is not finite changes nothing."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.clock.rate_share * rate(self.plan, self.step, self.clock.spent_s)
        loss, error = self.splitter.descend(
            self._draw,
            partial(self._gradient, self.predict),
            meanwhile=partial(self.feed.prepare, self.step + 1),
        )
        self._remember_pieces()
        with self.observer.pace.computing():
            norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.plan.clip)
            assert norm is not None  # it is where gradients are clipped by accelerate's own hooks
            finite = bool(torch.isfinite(norm))
            if finite:
                self.optimizer.step()
                self.average.update(self.network, self.step)
            self.optimizer.zero_grad(set_to_none=True)
        if not finite:
            logger.warning("step %d: gradient is not finite; the step was skipped", self.step)
        self.skipped = 0 if finite else self.skipped + 1
        self.step += 1
        if first and self.observer.main:
            self._count()
        self.rows = None
        return _Step(float(loss), float(error), float(norm))

    def _draw(self) -> list[Rows]:
        """This process's parts of the batch."""
        parts = self.feed.parts(self.step)
        self.rows = parts[0]
        return parts

    def _gradient(self, predict: Predict, rows: Rows, share: float) -> tuple[Tensor, Tensor]:
        """Loss and plain error of some rows; a ``share``-th of the loss's gradient is added."""
        device, precision = self.accelerator.device.type, self.plan.mixed_precision
        with self.observer.pace.computing():
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                value, error = self.objective.loss(predict, rows.x, rows.cond, rows.drawn)
            with warnings.catch_warnings():
                # Of a kernel of one voxel, both layouts are the same bytes.
                warnings.filterwarnings("ignore", "Grad strides do not match")
                self.accelerator.backward(value / share)
        return value.detach(), error.mean().detach()

    def _count(self) -> None:
        """Count the arithmetic of a step on the rows that were drawn last."""
        assert self.rows is not None
        pieces, processes = self.rows.pieces(self.splitter.pieces), self.accelerator.num_processes
        self.observer.count(
            lambda: [self._gradient(self.network, piece, 1.0) for piece in pieces],
            times=self.plan.accumulation * processes,
            processes=processes,
        )
        self.optimizer.zero_grad(set_to_none=True)

    def _remember_pieces(self) -> None:
        """Say and keep it where memory ran out in this step."""
        if self.splitter.pieces != self.clock.pieces:
            self.clock.pieces = self.splitter.pieces
            trouble = out_of_memory(self.step, self.part_size, self.clock.pieces)
            self.clock.troubles.append(trouble)

    def _go_back(self) -> None:
        """Go on from the last checkpoint at a lower rate; a second time is the end."""
        steps, clock = range(self.step - self.skipped, self.step), self.clock
        if clock.rate_share < 1:
            raise never_finite(steps, clock.rate_share)
        self._resume()
        self.clock, self.skipped = clock, 0
        clock.troubles.append(went_back(steps, self.step))
        clock.rate_share = clock.troubles[-1]["rate_share"]
        self.observer.go_back(self.step)
        self.save()

    def save(self) -> None:
        """Write the checkpoint, when all have come here. One process does."""
        self.observer.settle()
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            parts = self.network, self.average, self.optimizer
            facts = {"step": self.step, "origin": self.origin}
            write(self.checkpoint, *parts, **facts, plan=self.plan, clock=self.clock)
            logger.info("step %d: checkpoint written to %s", self.step, self.checkpoint)

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.accelerator.is_main_process:
            finish_rename(self.checkpoint)
        self.accelerator.wait_for_everyone()
        if (self.checkpoint / STATE).exists():
            parts = self.network, self.average, self.optimizer
            self.step, self.clock = read(
                self.checkpoint, *parts, plan=self.plan, origin=self.origin
            )
            logger.info("resumed at step %d from %s", self.step, self.checkpoint)

    def averaged_network(self) -> Any:
        """The network with the average in place of its weights; the run is over after this."""
        self.average.copy_to(self.network)
        return self.network.eval()
