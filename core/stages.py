"""A training run in stages: each begins with the averaged weights of the one before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from core.distillation import Distillation
from core.objectives import Objective
from core.plan import Plan, Progress
from core.training import MakeBatch, Trainer
from core.unet import SpatioTemporalUNet


class Stage(NamedTuple):
    """A part of a training run: its name, what is minimized, and for how long."""

    name: str
    objective: Objective | Distillation
    plan: Plan


RESERVE_MINUTES = 0.5
"""Part of a time budget that is kept for loading and for writing the model."""


def flow_then_jumps(
    flow: Objective,
    jumps: Objective | Distillation,
    *,
    steps: int,
    jump_steps: int,
    minutes: float = 0.0,
    **plan: Any,
) -> list[Stage]:
    """Flow matching, then average velocities if any steps are asked of them.

    Args:
        flow: Objective of the first stage.
        jumps: Objective of the second.
        steps: Steps of the first stage.
        jump_steps: Steps of the second; with 0, the learning rate falls in the first.
        minutes: Time budget of both together; 0 for none.
        plan: What both plans share.
    """
    budget = max(minutes - RESERVE_MINUTES, minutes / 2)
    if not jump_steps:
        return [Stage("flow", flow, Plan(steps=steps, minutes=budget, **plan))]
    first = budget * steps / (steps + jumps.cost * jump_steps)
    plateau = Plan(steps=steps, minutes=first, cooldown=0.0, **plan)
    plan["learning_rate"] = plateau.learning_rate * jumps.rate
    fall = Plan(steps=jump_steps, minutes=budget - first, warmup=20, cooldown=0.6, **plan)
    return [Stage("flow", flow, plateau), Stage("jumps", jumps, fall)]


OnStage = Callable[[str, Progress], None]
"""Called after every step with the stage's name and where it stands."""


def train_stages(
    network: SpatioTemporalUNet,
    make_batch: MakeBatch,
    stages: list[Stage],
    folder: Path,
    *,
    on_progress: OnStage = lambda stage, progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[SpatioTemporalUNet, bool]:
    """The averaged network and whether every stage was finished.

    Each stage starts from the weight average of the one before. What ``folder/<stage>`` holds is
    resumed.

    Args:
        network: To be trained.
        make_batch: Where the data comes from.
        stages: In order.
        folder: For the checkpoints.
        on_progress: Called after every step.
        should_stop: Asked after every step; if true, the run ends there, resumable.
    """
    origin = 0
    for name, objective, plan in stages:
        lesson = objective.taught_by(network)
        place = Path(folder) / name
        trainer = Trainer(network, make_batch, lesson, plan, place, origin=origin)
        reached = trainer.run(lambda progress, name=name: on_progress(name, progress), should_stop)
        network, origin = trainer.averaged_network(), trainer.step
        if not reached:
            return network, False
        if objective.jumps:
            network.register_to_config(trained_objective="average_velocity")
        network.train()
    return network.eval(), True
