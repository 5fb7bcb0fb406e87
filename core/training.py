"""The training loop: accelerate around one step, everything random drawn from (seed, step).

A batch, its noise and its order follow from the seed, the step and the process's rank alone.
A checkpoint therefore needs the weights, the optimizer, the average and the step number, and
a run that was killed goes on bit for bit as if it had not been.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.conditioning import Conditioning
from core.ema import WeightAverage
from core.objectives import Objective, draw, loss
from core.optimizers import muon
from core.plan import Plan, Progress, rate, share_done
from core.seeds import generator
from core.unet import SpatioTemporalUNet

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1  # of a training checkpoint

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
    """

    def __init__(
        self,
        network: SpatioTemporalUNet,
        make_batch: MakeBatch,
        objective: Objective,
        plan: Plan,
        folder: Path,
    ) -> None:
        if plan.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer={plan.optimizer!r}: training descends with one of "
                f"{sorted(OPTIMIZERS)}; name one of these."
            )
        self.make_batch, self.objective, self.plan = make_batch, objective, plan
        self.checkpoint = Path(folder) / "checkpoint"
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
        self.step, self.spent_s = 0, 0.0
        self._finish_rename()
        if (self.checkpoint / "state.json").exists():
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
        first, before = self.step, self.spent_s
        while share_done(self.plan, self.step, self.spent_s) < 1:
            loss_, error = self._advance()
            now = time.monotonic()
            due = now - saved > 60 * self.plan.checkpoint_minutes
            self.spent_s, due, stop = self._agreed(before + now - began, due, should_stop())
            on_progress(
                Progress(
                    step=self.step,
                    steps=self.plan.steps,
                    loss=loss_,
                    error=error,
                    learning_rate=self.optimizer.param_groups[0]["lr"],
                    seconds_per_step=(now - began) / (self.step - first),
                    budget_left_s=(60 * self.plan.minutes or math.inf) - self.spent_s,
                )
            )
            if stop:
                break
            if due:
                self.save()
                saved = time.monotonic()
        self.save()
        return share_done(self.plan, self.step, self.spent_s) >= 1

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
            group["lr"] = rate(plan, self.step, self.spent_s)
        total, errors = 0.0, []
        for part in range(parts):
            random = generator(plan.seed, self.step, part, self.accelerator.process_index)
            x, cond = self.make_batch(self.part_size, random)
            device = self.accelerator.device
            x, cond = x.to(device), cond.to(device)
            drawn = draw(self.objective, x, random)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=plan.mixed_precision == "bf16"
            ):
                value, error = loss(self._predict, x, cond, drawn, self.objective)
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
        """Write the checkpoint whole: a new folder, then a rename. One process writes."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        fresh = self.checkpoint.with_name("checkpoint.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(dict(self.network.state_dict()), fresh / "network.safetensors")
        save_file(self.average.state(), fresh / "average.safetensors")
        tensors, numbers = _flatten(self.optimizer.state_dict()["state"])
        save_file(tensors, fresh / "optimizer.safetensors")
        state = {"format_version": FORMAT_VERSION, "step": self.step, "seed": self.plan.seed}
        state["plan"] = self._lasting_plan()
        if self.plan.minutes:  # the clock is the one thing that two equal runs do not share
            state["spent_s"] = self.spent_s
        (fresh / "state.json").write_text(json.dumps(state | {"numbers": numbers}))
        old = self.checkpoint.with_name("checkpoint.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.checkpoint.exists():
            os.replace(self.checkpoint, old)
        os.replace(fresh, self.checkpoint)
        shutil.rmtree(old, ignore_errors=True)
        logger.info("checkpoint written at step %d", self.step)

    def _lasting_plan(self) -> dict[str, float | str]:
        """What a run must not change on the way; how long it lasts may be."""
        free = {"steps", "cooldown", "minutes", "checkpoint_minutes", "seed"}
        return {k: v for k, v in asdict(self.plan).items() if k not in free}

    def _finish_rename(self) -> None:
        """Take the old checkpoint back if a run was killed between the two renames of ``save``."""
        old = self.checkpoint.with_name("checkpoint.old")
        if self.accelerator.is_main_process and old.exists() and not self.checkpoint.exists():
            os.replace(old, self.checkpoint)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        """Take weights, average, optimizer and step back from the checkpoint."""
        state = json.loads((self.checkpoint / "state.json").read_text())
        if state["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{self.checkpoint} has format_version {state['format_version']!r}: this release "
                f"reads {FORMAT_VERSION}; resume with the release that wrote it."
            )
        if state["seed"] != self.plan.seed:
            raise ValueError(
                f"seed={self.plan.seed}: the checkpoint in {self.checkpoint.parent} was made with "
                f"seed {state['seed']}; resume with that seed or choose another folder."
            )
        before, now = state.get("plan", {}), self._lasting_plan()
        changed = [f"{k}={now[k]} (was {v})" for k, v in before.items() if v != now[k]]
        if changed:
            raise ValueError(
                f"{', '.join(changed)}: the run in {self.checkpoint.parent} is under way with "
                "other settings, which must not change half-way; give the old ones or choose "
                "another name."
            )
        weights = load_file(self.checkpoint / "network.safetensors")
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"{self.checkpoint} holds the weights of another network: a run is resumed with "
                "the preset it was started with; choose that preset or another folder."
            ) from error
        self.average.load(load_file(self.checkpoint / "average.safetensors"))
        tensors = load_file(self.checkpoint / "optimizer.safetensors")
        whole = self.optimizer.state_dict()
        whole["state"] = _unflatten(tensors, state["numbers"])
        self.optimizer.load_state_dict(whole)
        self.step, self.spent_s = state["step"], state.get("spent_s", 0.0)
        logger.info("resumed at step %d", self.step)

    def averaged_network(self) -> SpatioTemporalUNet:
        """The network with the average in place of its weights; the run is over after this."""
        self.average.copy_to(self.network)
        return self.network.eval()


def _flatten(state: dict[int, dict[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """An optimizer's state as named tensors and plain numbers."""
    tensors, numbers = {}, {}
    for index, entry in state.items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value.contiguous()
            else:
                numbers[f"{index}.{name}"] = value
    return tensors, numbers


def _unflatten(tensors: dict[str, Tensor], numbers: dict[str, float]) -> dict:
    """The mirror of ``_flatten``."""
    state: dict[int, dict] = {}
    for key, value in {**tensors, **numbers}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return state
