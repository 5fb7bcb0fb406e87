"""Trains an arm within its budget of processor time, keeps its curve, and judges it."""

from __future__ import annotations

import fcntl
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from core.networks.unet import SpatioTemporalUNet
from core.records import atomic_path
from core.training.plan import Plan, Progress
from core.training.trainer import Trainer
from core.training.watch import Watch
from tests.benchmarks.arms import networks, scores
from tests.benchmarks.arms.arm import ALL_HEADS, ARMS, Arm, Domain, Form
from tests.benchmarks.arms.averages import LAST, Kept, take
from tests.benchmarks.arms.data import Data

LEARNING_RATE, WARMUP = 3e-3, 40
TRIAL_STEPS, TRIAL_FIRST, TRIAL_ROUNDS = 9, 3, 2
LOOKS = (1 / 3, 2 / 3, 1.0)
RESULT, CURVE, WEIGHTS = "result.json", "curve.jsonl", "weights-{}.safetensors"


@dataclass
class Laboratory:
    """Where arms are trained.

    Attributes:
        data: What from.
        state: Folder of everything that is kept.
        budget_s: Processor seconds of one unit.
        steps: If not 0, steps of every arm, whatever they cost: a quick run.
    """

    data: Data
    state: Path
    budget_s: float
    steps: int = 0

    def folder(self, arm: Arm) -> Path:
        """Where an arm is kept."""
        return self.state / arm.folder(self.budget_s)

    def result(self, arm: Arm) -> dict[str, Any] | None:
        """What came of an arm; None if it was not finished."""
        path = self.folder(arm) / RESULT
        return json.loads(path.read_text()) if path.is_file() else None

    def costs(self) -> dict[str, float]:
        """Processor seconds of a step by form, as far as known."""
        path = self.state / "costs.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def measure_costs(self, forms: set[Form]) -> None:
        """Measure the forms that are not known yet, in turns, and keep the lesser medians."""
        known = self.costs()
        new = {form.key: form for form in sorted(forms, key=str) if form.key not in known}
        for _ in range(TRIAL_ROUNDS):
            for key, form in new.items():
                known[key] = min(known.get(key, float("inf")), _cost(form, self.data))
                _say(f"{key}: {known[key]:.3f} s a step")
        if new:
            _write(self.state / "costs.json", known)

    def planned(self, arm: Arm) -> list[int]:
        """Steps of each of its forms."""
        if self.steps:
            return [self.steps for _ in arm.forms]
        return [round(arm.units * self.budget_s / self.costs()[f.key]) for f in arm.forms]

    def run(self, arm: Arm) -> dict[str, Any]:
        """Train and judge an arm, or go on where that was cut."""
        folder = self.folder(arm)
        folder.mkdir(parents=True, exist_ok=True)
        nets = self._networks(arm)
        model = networks.TwoDomains(nets) if len(nets) > 1 else nets[0]
        steps = self.planned(arm)
        trainer = _trainer(arm, model, self.data, steps, folder)
        curve = _Curve(folder / CURVE, trainer, nets, arm, self.data)
        kept = Kept(folder / "kept", sum(steps))
        trainer.run(partial(curve.follow, kept=kept if arm.averages else None))
        curve.close()
        last = {n: p.detach().clone() for n, p in trainer.network.named_parameters()}
        trainer.average.copy_to(trainer.network)
        for domain, net in zip(arm.domains, nets, strict=True):
            save_file(dict(net.state_dict()), folder / WEIGHTS.format(domain))
        found = {
            "arm": arm.told(self.budget_s),
            "steps": dict(zip(arm.domains, steps, strict=True)),
            "cpu_s": round(curve.cost_s * sum(steps), 1),
            "weights": sum(p.numel() for p in nets[0].parameters()),
            "commit": commit(),
            "finished": datetime.now(UTC).isoformat(timespec="minutes"),
            "curve": curve.lines(),
            **judged(arm, nets, self.data),
        }
        if arm.averages:
            (domain,) = arm.domains
            found[domain]["averages"] = {}
            for name, weights in [(LAST, last), *kept.averages()]:
                take(nets[0], weights)
                found[domain]["averages"][name] = self._scored(nets[0], domain)
        _write(folder / RESULT, found)
        kept.forget()
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        return found

    def _scored(self, net: SpatioTemporalUNet, domain: Domain) -> dict[str, Any]:
        """What an average of the weights is judged by."""
        network = scores.fast(net)
        found: dict[str, Any] = {"errors": scores.errors(network, self.data, domain)}
        if domain == "mri":
            found["heads"] = scores.restored(network, self.data, [scores.ONE_STEP])
        return found

    def _networks(self, arm: Arm) -> list[SpatioTemporalUNet]:
        of = {"seed": arm.seed, "regression": arm.regression}
        nets = [networks.network(form, **of) for form in arm.forms]
        if arm.begins_with:
            before = next(a for a in ARMS if a.name == arm.begins_with)
            kept = self.folder(before) / WEIGHTS.format(before.domains[0])
            networks.take_trunk(nets[0], load_file(kept))
        return nets


def judged(arm: Arm, nets: list[SpatioTemporalUNet], data: Data) -> dict[str, Any]:
    """All scores of a trained arm."""
    found: dict[str, Any] = {}
    for domain, net in zip(arm.domains, nets, strict=True):
        network = scores.fast(net)
        levels = scores.LEVELS[:1] if arm.regression else scores.LEVELS
        found[domain] = {"errors": scores.errors(network, data, domain, levels)}
        if domain == "video":
            found[domain]["oracle"] = scores.drawn(network, data)
        else:
            found[domain]["of"] = data.heads_of_patches
            sampled = arm.full and not arm.regression
            ways = list(scores.WAYS) if sampled else [scores.ONE_STEP]
            found[domain]["heads"] = scores.restored(network, data, ways, detail=arm.full)
    return found


class _Curve:
    """Held-out errors of the averaged weights at some shares of the steps, outside the budget."""

    def __init__(
        self,
        path: Path,
        trainer: Trainer,
        nets: list[SpatioTemporalUNet],
        arm: Arm,
        data: Data,
    ) -> None:
        self.trainer, self.nets, self.arm, self.data = trainer, nets, arm, data
        self.path, self.spent_s, self.taken = path, 0.0, 0
        self.due = {max(1, round(share * trainer.plan.steps)) for share in LOOKS}
        self.began = time.process_time()

    @property
    def cost_s(self) -> float:
        """Processor seconds of a step, on the mean of this sitting."""
        return self.spent_s / max(1, self.taken)

    def follow(self, progress: Progress, kept: Kept | None = None) -> None:
        """After a step: count its time, keep the weights if asked, and look where it is due."""
        self.spent_s += time.process_time() - self.began
        self.taken += 1
        if kept:
            kept.keep(self.trainer.network, progress.step)
        if progress.step in self.due:
            line = {"step": progress.step, "cpu_s": round(self.cost_s * progress.step, 1)}
            self._keep(line | {"loss": progress.loss, **self._look()})
        self.began = time.process_time()

    def close(self) -> None:
        """Say how it ended."""
        _say(f"{self.arm.name}: {self.taken} steps, {self.spent_s:.0f} s of processor time")

    def lines(self) -> list[dict[str, Any]]:
        """What was kept, the last line of each step."""
        kept = map(json.loads, self.path.read_text().splitlines())
        return list({line["step"]: line for line in kept}.values())

    def _look(self) -> dict[str, dict[str, float]]:
        network, now = self.trainer.network, {}
        for name, parameter in network.named_parameters():
            now[name] = parameter.detach().clone()
        self.trainer.average.copy_to(network)
        found = {d: self._means(d, n) for d, n in zip(self.arm.domains, self.nets, strict=True)}
        for name, parameter in network.named_parameters():
            parameter.data.copy_(now[name])
        return found

    def _means(self, domain: Domain, net: SpatioTemporalUNet) -> dict[str, float]:
        levels = scores.LEVELS[:1] if self.arm.regression else scores.LEVELS
        found = scores.errors(scores.fast(net), self.data, domain, levels)
        return {level: statistics.fmean(values) for level, values in found.items()}

    def _keep(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        _say(f"{self.arm.name}: {json.dumps(line)}")


def _trainer(
    arm: Arm,
    model: SpatioTemporalUNet,
    data: Data,
    steps: list[int],
    folder: Path,
    name: str = "training",
) -> Trainer:
    total = sum(steps)
    plan = Plan(
        steps=total,
        batch_size=arm.forms[0].batch,
        learning_rate=LEARNING_RATE,
        warmup=min(WARMUP, total // 4),
        seed=arm.seed,
        checkpoint_minutes=1.0,
    )
    batches = data.batches(arm, [n / total for n in steps])
    watch = Watch(folder / "log")
    goal = networks.objective(arm)
    return Trainer(model, batches, goal, plan, folder, watch=watch)


def _cost(form: Form, data: Data) -> float:
    """Processor seconds of a step, the median of a few."""
    arm = Arm(name="trial", forms=(form,), heads=ALL_HEADS if form.domain == "mri" else 0)
    ticks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(arm, networks.network(form), data, [TRIAL_STEPS], Path(folder))
        trainer.run(lambda progress: ticks.append(time.process_time()))
    steps = [b - a for a, b in zip(ticks[TRIAL_FIRST - 1 :], ticks[TRIAL_FIRST:], strict=False)]
    return statistics.median(steps)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether this process may work on an arm: another one may be at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "claim").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def commit() -> str:
    """The commit of the code that runs; empty outside a checkout."""
    told = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip()


def _write(path: Path, found: dict[str, Any]) -> None:
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(found))


def _say(text: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stdout.flush()
