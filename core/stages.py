"""A training run in stages: each begins with the averaged weights of the one before."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from core.objectives import Objective
from core.plan import Plan, Progress
from core.training import MakeBatch, Trainer
from core.unet import SpatioTemporalUNet


class Stage(NamedTuple):
    """A part of a training run: its name, what is minimized, and for how long."""

    name: str
    objective: Objective
    plan: Plan


OnStage = Callable[[str, Progress], None]
"""Called after every step with the stage's name and where it stands."""


def train_stages(
    network: SpatioTemporalUNet,
    make_batch: MakeBatch,
    stages: list[Stage],
    folder: Path,
    *,
    on_progress: OnStage = lambda stage, progress: None,
) -> tuple[SpatioTemporalUNet, bool]:
    """The averaged network and whether every stage was finished.

    Each stage starts from the weight average of the one before. What ``folder/<stage>`` holds is
    resumed. A plan's time limit counts from the start of the first stage.
    """
    began = time.monotonic()
    for name, objective, asked in stages:
        passed = (time.monotonic() - began) / 60
        if asked.minutes and passed >= asked.minutes:
            return network, False
        plan = replace(asked, minutes=asked.minutes - passed if asked.minutes else 0.0)
        trainer = Trainer(network, make_batch, objective, plan, Path(folder) / name)
        reached = trainer.run(lambda progress, name=name: on_progress(name, progress))
        network = trainer.averaged_network()
        if reached < plan.steps:
            return network, False
        if objective.jump_share > 0:
            network.register_to_config(trained_objective="average_velocity")
        network.train()
    return network.eval(), True
