"""Trains an arm by its work, keeps what every step took, and judges it; goes on where cut."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.autograd.graph import saved_tensors_hooks

from core.networks.conditioned import ConditionedNetwork
from core.records import atomic_path
from core.seeds import generator
from core.training.checkpoint import CLOCK
from core.training.plan import Progress
from core.training.stages import Stage, train_stages
from tests.benchmarks.arms.arm import Domain
from tests.benchmarks.arms.data import Data
from tests.benchmarks.arms.training import claimed, commit
from tests.benchmarks.families.arm import Arm
from tests.benchmarks.families.networks import network
from tests.benchmarks.families.scores import Pictures, judged

RESULT, STEPS, WEIGHTS, PICTURES = "result.json", "steps.jsonl", "weights.safetensors", "drawn.npz"
HEADS = 24


@dataclass
class Laboratory:
    """Where arms are trained.

    Attributes:
        data: What from.
        state: Folder of everything that is kept.
        work: Of each arm of a domain, in steps of flow matching.
        heads: How many heads are trained on.
    """

    data: Data
    state: Path
    work: Mapping[Domain, int]
    heads: int = HEADS

    def folder(self, arm: Arm) -> Path:
        """Where an arm is kept."""
        return self.state / arm.folder(self.work[arm.domain])

    def result(self, arm: Arm) -> dict[str, Any] | None:
        """What came of an arm; None if it was not finished."""
        path = self.folder(arm) / RESULT
        return json.loads(path.read_text()) if path.is_file() else None

    def pictures(self, arm: Arm) -> Pictures:
        """What a finished arm drew."""
        with np.load(self.folder(arm) / PICTURES) as kept:
            return dict(kept)

    def run(self, arm: Arm) -> bool:
        """Train and judge an arm, or go on where that was cut; false if another process does."""
        folder = self.folder(arm)
        with claimed(folder) as free:
            if not free:
                return False
            if not self.result(arm):
                self._run(arm, folder)
        return True

    def _run(self, arm: Arm, folder: Path) -> None:
        net, stages = network(arm), arm.stages(self.work[arm.domain])
        data = self.data
        batches = data.world if arm.domain == "video" else data.patches(self.heads)
        memory = _kept_for_gradients(network(arm), stages[-1], batches(stages[0].plan.batch_size,
                                                                       generator(0)))  # fmt: skip
        watch = _Steps(folder / STEPS)
        trained, _ = train_stages(net, batches, stages, folder, on_progress=watch.follow)
        save_file(dict(trained.state_dict()), folder / WEIGHTS)
        found, pictures = judged(trained, data, arm.domain)
        with (
            atomic_path(folder / PICTURES, overwrite=True) as temporary,
            temporary.open("wb") as file,
        ):
            np.savez_compressed(file, **pictures)  # pyright: ignore[reportArgumentType]
        told = {
            "arm": arm.told(self.work[arm.domain]),
            "stages": {
                stage.name: {
                    "steps": stage.plan.steps,
                    "arithmetic": stage.objective.cost,
                    "gflop": _gflop(folder / stage.name),
                }
                for stage in stages
            },
            "weights": sum(p.numel() for p in trained.parameters()),
            "memory_mb": round(memory / 1e6, 1),
            **watch.told(),
            "commit": commit(),
            "finished": datetime.now(UTC).isoformat(timespec="minutes"),
            **found,
        }
        with atomic_path(folder / RESULT, overwrite=True) as temporary:
            temporary.write_text(json.dumps(told))
        for stage in stages:
            shutil.rmtree(folder / stage.name / "checkpoint", ignore_errors=True)


class _Steps:
    """One line a step: stage, step, loss, error, and the processor time since the last one."""

    def __init__(self, path: Path) -> None:
        self.path, self.before = path, time.process_time()

    def follow(self, stage: str, progress: Progress) -> None:
        """After a step."""
        now = time.process_time()
        line = [stage, progress.step, progress.loss, progress.error, now - self.before]
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.before = time.process_time()

    def told(self) -> dict[str, Any]:
        """The curve of each stage's loss, in pieces, and the processor time of a step."""
        kept: dict[tuple[str, int], list[Any]] = {}
        for line in map(json.loads, self.path.read_text().splitlines()):
            kept[line[0], line[1]] = line
        by_stage: dict[str, list[list[Any]]] = {}
        for line in kept.values():
            by_stage.setdefault(line[0], []).append(line)
        curve = {name: _pieces(lines) for name, lines in by_stage.items()}
        medians = {
            name: round(1000 * statistics.median(line[4] for line in lines), 1)
            for name, lines in by_stage.items()
        }
        total = sum(medians[name] * len(lines) for name, lines in by_stage.items()) / 1000
        return {"curve": curve, "ms_per_step": medians, "cpu_s": round(total, 1)}


def _pieces(lines: list[list[Any]], most: int = 20) -> list[list[float]]:
    """Step, mean loss and mean error of at most so many stretches."""
    size = max(1, -(-len(lines) // most))
    parts = [lines[i : i + size] for i in range(0, len(lines), size)]
    return [
        [
            part[-1][1],
            *(float(f"{statistics.fmean(line[k] for line in part):.5g}") for k in (2, 3)),
        ]
        for part in parts
    ]


def _gflop(folder: Path) -> float:
    """Arithmetic of a step, as the run's own clock counted it."""
    path = folder / "checkpoint" / CLOCK
    return round(json.loads(path.read_text())["flops"] / 1e9, 2) if path.is_file() else 0.0


def _kept_for_gradients(net: ConditionedNetwork, stage: Stage, batch: Any) -> int:
    """Bytes that one step keeps for its backward pass; each tensor's storage counts once."""
    x, cond = batch
    lesson = stage.objective.taught_by(net)
    drawn = lesson.draw(x, generator(0, 1))
    seen: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        lesson.loss(net.train(), x, cond, drawn)
    return sum(seen.values())
