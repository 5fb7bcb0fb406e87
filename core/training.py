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
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from torch import Tensor, nn

from core.conditioning import Conditioning
from core.distillation import Distillation
from core.ema import WeightAverage
from core.objectives import Objective
from core.optimizers import muon
from core.plan import Plan, Progress, rate, share_done
from core.seeds import generator
from core.training_checkpoint import STATE, Clock, finish_rename, read, write
from core.unet import SpatioTemporalUNet

logger = logging.getLogger(__name__)

Batch = tuple[Tensor, Conditioning]
MakeBatch = Callable[[int, torch.Generator], Batch]
"""(batch size, generator) -> (data, conditioning), a pure function of the generator."""


def _adamw(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW with b2 = 0.95; no decay on vectors."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.95))


def _muon(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """Muon inside, AdamW at the edges."""
    return muon(network, lr=plan.learning_rate, weight_decay=plan.weight_decay)


OPTIMIZERS = {"muon": _muon, "adamw": _adamw}


class Trainer:
    """One run: the network, its optimizer and average, and the folder it is kept in.

    Args:
        network: To be trained, in float32.
        make_batch: Where the data comes from.
        objective: What is minimized.
        plan: How long and how fast.
        folder: For checkpoints; an existing one is resumed.
        origin: Step at which the stage before had ended, whose network this run began from.
    """

    def __init__(
        self,
        network: SpatioTemporalUNet,
        make_batch: MakeBatch,
        objective: Objective | Distillation,
        plan: Plan,
        folder: Path,
        *,
        origin: int = 0,
    ) -> None:
        if plan.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer={plan.optimizer!r}: training descends with one of "
                f"{sorted(OPTIMIZERS)}; name one of these."
            )
        self.make_batch, self.objective, self.plan = make_batch, objective, plan
        self.checkpoint, self.origin = Path(folder) / "checkpoint", origin
        cpu = not torch.cuda.is_available()
        # Precision is ours: accelerate's would also wrap the float32 finite differences.
        # A batch need not reach every weight: no prompt, no guidance, or a single frame.
        partial = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[partial])
        self.part_size = self._part_size()
        self.network = network.to(self.accelerator.device).train()
        optimizer = OPTIMIZERS[plan.optimizer](self.network, plan)
        self.wrapped, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        # After ``prepare``: it gives every process the weights of the first.
        self.average = WeightAverage(self.network, plan.ema_decay)
        self.step, self.clock = 0, Clock()
        self._resume()

    def run(
        self,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the last step or to the end of the time budget; whether that was reached.

        Args:
            on_progress: Called after every step.
            should_stop: Asked after every step; if true, the run ends there, resumable.
        """
        began = saved = time.monotonic()
        first, before = self.step, self.clock.spent_s
        if share_done(self.plan, first, before) < 1:
            self.clock.sittings.append({"from_step": first, "goal": self.plan.steps})
        while share_done(self.plan, self.step, self.clock.spent_s) < 1:
            loss_, error = self._advance()
            now = time.monotonic()
            due = now - saved > 60 * self.plan.checkpoint_minutes
            self.clock.spent_s, due, stop = self._agreed(before + now - began, due, should_stop())
            on_progress(
                Progress(
                    step=self.step,
                    steps=self.plan.steps,
                    loss=loss_,
                    error=error,
                    learning_rate=self.optimizer.param_groups[0]["lr"],
                    seconds_per_step=(now - began) / (self.step - first),
                    budget_left_s=(60 * self.plan.minutes or math.inf) - self.clock.spent_s,
                )
            )
            if stop:
                break
            if due:
                self.save()
                saved = time.monotonic()
        self.save()
        return share_done(self.plan, self.step, self.clock.spent_s) >= 1

    def _part_size(self) -> int:
        """Samples that one process computes at a time."""
        plan, processes = self.plan, self.accelerator.num_processes
        if plan.batch_size % (plan.accumulation * processes):
            raise ValueError(
                f"batch_size={plan.batch_size}, accumulation={plan.accumulation}: {processes} "
                "processes take equal parts of a batch; let the product of both divide it."
            )
        return plan.batch_size // (plan.accumulation * processes)

    def _agreed(self, *told: float) -> list[float]:
        """What the first process says: clocks differ, and all must stop and save together."""
        if self.accelerator.num_processes == 1:
            return list(told)
        said = torch.tensor(told, dtype=torch.float64, device=self.accelerator.device)
        return broadcast(said).tolist()

    def _advance(self) -> tuple[float, float]:
        """One optimizer step; (loss, plain error). A step that is not finite changes nothing."""
        plan, parts = self.plan, self.plan.accumulation
        for group in self.optimizer.param_groups:
            group["lr"] = rate(plan, self.step, self.clock.spent_s)
        total, errors = 0.0, []
        for part in range(parts):
            random = generator(plan.seed, self.step, part, self.accelerator.process_index)
            x, cond = self.make_batch(self.part_size, random)
            device = self.accelerator.device
            x, cond = x.to(device), cond.to(device)
            drawn = self.objective.draw(x, random)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=plan.mixed_precision == "bf16"
            ):
                value, error = self.objective.loss(self._predict, x, cond, drawn)
            with warnings.catch_warnings():
                # Of a kernel of one voxel, both layouts are the same bytes.
                warnings.filterwarnings("ignore", "Grad strides do not match")
                self.accelerator.backward(value / parts)
            total, errors = total + value.item() / parts, [*errors, error.mean().item()]
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), plan.clip)
        assert norm is not None  # it is where gradients are clipped by accelerate's own hooks
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.network, self.step)
        else:
            logger.warning("step %d: gradient is not finite; the step was skipped", self.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total, sum(errors) / len(errors)

    def _predict(self, z: Tensor, t: Tensor, r: Tensor, cond: Conditioning) -> Tensor:
        """The wrapped network where gradients are wanted (DDP listens there), or the bare one."""
        network = self.wrapped if torch.is_grad_enabled() else self.network
        return network(z, t, r, cond)

    def save(self) -> None:
        """Write the checkpoint, when all have come here. One process does."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            parts = self.network, self.average, self.optimizer
            facts = {"step": self.step, "origin": self.origin}
            write(self.checkpoint, *parts, **facts, plan=self.plan, clock=self.clock)
            logger.info("checkpoint written at step %d", self.step)

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
            logger.info("resumed at step %d", self.step)

    def averaged_network(self) -> SpatioTemporalUNet:
        """The network with the average in place of its weights; the run is over after this."""
        self.average.copy_to(self.network)
        return self.network.eval()
