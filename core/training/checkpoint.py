"""A training run on disk, so that it can go on: weights, average, optimizer, step and clock.

A checkpoint is a folder that is written whole and renamed. Two runs of equal seed and plan leave
equal bytes in every file of it but the clock.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.refusal import Refusal
from core.training.ema import WeightAverage
from core.training.pace import Spent
from core.training.plan import Plan

STAGES = "stages.json"
"""File that lists the stages of a run, in their order."""
FORMAT_VERSION = 1
STATE, CLOCK = "state.json", "clock.json"
FREE = {
    "steps", "cooldown", "minutes", "checkpoint_minutes", "validation_minutes", "compile", "seed",
}  # fmt: skip
"""Parts of a plan that may change on the way; the seed has a sentence of its own."""


@dataclass
class Clock:
    """What a run took, and what went wrong on the way.

    >>> clock = Clock(spent_s=60.0)
    >>> clock.pieces, clock.troubles
    (1, [])

    Attributes:
        spent_s: Seconds of training over all sittings.
        sittings: Of each, the step it began ``from_step`` and the step that was its ``goal``.
        work: Where the time of the steps went.
        flops: Floating point operations of a step; 0 until they are counted.
        peak: FLOP/s that the devices could reach; 0 where it is not known.
        pieces: In how many a process computes each part of a batch, for want of memory.
        rate_share: Share of the planned learning rate that is left after gradients blew up.
        troubles: What went wrong, each with the step it happened at.
    """

    spent_s: float = 0.0
    sittings: list[dict[str, int]] = field(default_factory=list)
    work: Spent = field(default_factory=Spent)
    flops: float = 0.0
    peak: float = 0.0
    pieces: int = 1
    rate_share: float = 1.0
    troubles: list[dict[str, Any]] = field(default_factory=list)

    def rates(self) -> dict[str, float]:
        """How well the devices were used, over all sittings."""
        found = self.work.rates(self.flops, self.peak)
        return {name: float(f"{value:.3g}") for name, value in found.items()}


def write(
    checkpoint: Path,
    network: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    origin: int,
    plan: Plan,
    clock: Clock,
) -> None:
    """Write the checkpoint whole: a new folder, then a rename."""
    fresh = checkpoint.with_name("checkpoint.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(dict(network.state_dict()), fresh / "network.safetensors")
    save_file(average.state(), fresh / "average.safetensors")
    tensors, numbers = _flatten(optimizer.state_dict()["state"])
    save_file(tensors, fresh / "optimizer.safetensors")
    state = {"format_version": FORMAT_VERSION, "step": step, "origin": origin, "seed": plan.seed}
    state |= {"plan": _lasting(plan), "numbers": numbers}
    (fresh / STATE).write_text(json.dumps(state))
    (fresh / CLOCK).write_text(json.dumps(asdict(clock)))
    old = checkpoint.with_name("checkpoint.old")
    shutil.rmtree(old, ignore_errors=True)
    if checkpoint.exists():
        os.replace(checkpoint, old)
    os.replace(fresh, checkpoint)
    shutil.rmtree(old, ignore_errors=True)


def finish_rename(checkpoint: Path) -> None:
    """Take the old checkpoint back if a run was killed between the two renames of ``write``."""
    old = checkpoint.with_name("checkpoint.old")
    if old.exists() and not checkpoint.exists():
        os.replace(old, checkpoint)


def read(
    checkpoint: Path,
    network: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    *,
    plan: Plan,
    origin: int,
) -> tuple[int, Clock]:
    """Fill network, average and optimizer; the step and the clock.

    Raises:
        Refusal: The checkpoint is of another format, seed, plan, network or beginning.
    """
    state = json.loads((checkpoint / STATE).read_text())
    _check(checkpoint, state, plan, origin)
    try:
        network.load_state_dict(load_file(checkpoint / "network.safetensors"))
    except RuntimeError as error:
        raise Refusal(
            f"{checkpoint} holds the weights of another network: a run is resumed with "
            "the preset it was started with; choose that preset or another folder."
        ) from error
    average.load(load_file(checkpoint / "average.safetensors"))
    tensors = load_file(checkpoint / "optimizer.safetensors")
    whole = optimizer.state_dict()
    whole["state"] = _unflatten(tensors, state["numbers"])
    optimizer.load_state_dict(whole)
    return state["step"], _clock(checkpoint)


def remember_stages(run: Path, names: list[str]) -> None:
    """Keep the names of a run's stages beside their checkpoints."""
    fresh = Path(run) / f"{STAGES}.part"
    fresh.write_text(json.dumps(names))
    fresh.replace(Path(run) / STAGES)


def history(run: Path) -> dict[str, dict[str, Any]]:
    """Of each stage of a run: steps, minutes, sittings, use of the device, troubles."""
    found = {}
    for name in json.loads((Path(run) / STAGES).read_text()):
        checkpoint = Path(run) / name / "checkpoint"
        clock = _clock(checkpoint)
        found[name] = {
            "steps": json.loads((checkpoint / STATE).read_text())["step"],
            "minutes": round(clock.spent_s / 60, 1),
            "sittings": clock.sittings,
        }
        if rates := clock.rates():
            found[name]["use_of_device"] = rates
        if clock.troubles:
            found[name]["troubles"] = clock.troubles
    return found


def _check(checkpoint: Path, state: dict[str, Any], plan: Plan, origin: int) -> None:
    if state["format_version"] != FORMAT_VERSION:
        raise Refusal(
            f"{checkpoint} has format_version {state['format_version']!r}: this release "
            f"reads {FORMAT_VERSION}; resume with the release that wrote it."
        )
    if state["seed"] != plan.seed:
        raise Refusal(
            f"seed={plan.seed}: the checkpoint in {checkpoint.parent} was made with "
            f"seed {state['seed']}; resume with that seed or choose another folder."
        )
    if (began := state.get("origin", origin)) != origin:
        raise Refusal(
            f"{checkpoint.parent} began when the stage before was at step {began}, which has "
            f"since gone on to {origin}: a stage is trained on from where it began; ask for "
            f"steps={began} again, choose another name, or move that folder away."
        )
    before, now = state.get("plan", {}), _lasting(plan)
    changed = [f"{k}={now[k]} (was {v})" for k, v in before.items() if v != now[k]]
    if changed:
        raise Refusal(
            f"{', '.join(changed)}: the run in {checkpoint.parent} is under way with "
            "other settings, which must not change half-way; give the old ones or choose "
            "another name."
        )


def _lasting(plan: Plan) -> dict[str, float | str]:
    """What a run must not change on the way; how long it lasts may be."""
    return {k: v for k, v in asdict(plan).items() if k not in FREE}


def _clock(checkpoint: Path) -> Clock:
    path = checkpoint / CLOCK
    if path.exists():
        told = json.loads(path.read_text())
        return Clock(**{**told, "work": Spent(**told.get("work", {}))})
    state = json.loads((checkpoint / STATE).read_text())  # until 2026-11-22 the time stood there
    return Clock(spent_s=state.get("spent_s", 0.0))


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
