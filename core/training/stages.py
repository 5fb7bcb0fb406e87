"""A training run in stages: each begins with the averaged weights of those before."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from core.families.consistency import Consistency
from core.families.family import THROUGH_SAMPLE, Family
from core.families.table import FAMILIES
from core.networks.network import Network
from core.refusal import Refusal
from core.training.checkpoint import remember_stages
from core.training.feed import MakeBatch
from core.training.log import LOG
from core.training.plan import Plan, Progress
from core.training.trainer import Trainer
from core.training.validation import OnValidation, Validate
from core.training.watch import Watch


class Stage(NamedTuple):
    """A part of a training run.

    >>> from core.families.flow import FlowMatching
    >>> Stage("flow", FlowMatching(), Plan(steps=10)).part
    ''

    Attributes:
        name: Of its folder and in its log.
        objective: What is minimized.
        plan: For how long.
        part: The network inside of the network that is trained; empty for the whole.
        make_batch: Where the batches of a part come from; ``None`` for those of the run.
        validate: Judges a part; ``None`` where nobody does.
        work: Time of one sample, in samples of the run's own network.
    """

    name: str
    objective: Family
    plan: Plan
    part: str = ""
    make_batch: MakeBatch | None = None
    validate: Validate | None = None
    work: float = 1.0

    @property
    def cost(self) -> float:
        """Time of all its steps, in samples of flow matching."""
        return self.plan.steps * self.plan.batch_size * self.objective.cost * self.work


RESERVE_MINUTES = 0.5
"""Part of a time budget that is kept for loading and for writing the model."""


def flow_then_jumps(
    flow: Family,
    jumps: Family,
    *,
    steps: int,
    jump_steps: int,
    minutes: float = 0.0,
    **plan: Any,
) -> list[Stage]:
    """Flow matching, then average velocities if any steps are asked of them.

    Args:
        flow: Taught in the first stage.
        jumps: Taught in the second.
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


HALVINGS = 6
"""Stages of consistency training: its two points lie 1, 1/2, ... 1/32 of a level apart."""


def taught(family: str, usual: Callable[[], list[Stage]], **plan: Any) -> list[Stage]:
    """The stages of one family, or the usual ones.

    Args:
        family: Name in ``core.families.table``; ``usual`` for the domain's own stages.
        usual: Makes those.
        plan: ``steps``, ``minutes`` and what else the plans of all stages take.
    """
    if family == "usual":
        return usual()
    if family != "consistency":
        return [Stage(family, FAMILIES[family].teach(), Plan(**plan))]
    steps, minutes = max(1, plan.pop("steps") // HALVINGS), plan.pop("minutes", 0.0) / HALVINGS
    return [
        Stage(
            f"consistency-{k + 1}",
            Consistency(gap=0.5**k),
            Plan(steps=steps, minutes=minutes, cooldown=0.0 if k + 1 < HALVINGS else 0.6, **plan),
        )
        for k in range(HALVINGS)
    ]


Trained = TypeVar("Trained", bound=Network)
OnStage = Callable[[str, Progress], None]
"""Called after every step with the stage's name and where it stands."""


def train_stages(
    network: Trained,
    make_batch: MakeBatch,
    stages: list[Stage],
    folder: Path,
    *,
    on_progress: OnStage = lambda stage, progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    validate: Validate | None = None,
    on_validation: OnValidation = lambda stage, step, found: None,
) -> tuple[Trained, bool]:
    """The averaged network and whether every stage was finished.

    Each stage starts from the average of those before, and has the time that they left. What
    ``folder/<stage>`` holds is resumed, and the log is written to ``folder/log``.

    Args:
        network: To be trained.
        make_batch: Where the data comes from.
        stages: In order.
        folder: For the checkpoints and the log.
        on_progress: Called after every step.
        should_stop: Asked after every step; if true, the run ends there, resumable.
        validate: Judges the averaged weights every few minutes and at the end of each stage;
            those of a part of the network, the stage's own does.
        on_validation: Called with what was found.
    """
    _check_order(folder, [stage.name for stage in stages])
    origin, before, spare = 0, 0, 0.0
    for place, stage in enumerate(stages):
        name = stage.name
        trained = cast("Any", network.get_submodule(stage.part))
        objective = stage.objective.taught_by(trained)
        plan = _with_spare(_read_alike(stage.plan, trained, objective), spare)
        judge = stage.validate if stage.part else validate
        trainer = Trainer(
            trained,
            stage.make_batch or make_batch,
            objective,
            plan,
            folder / name,
            origin=origin,
            watch=Watch(folder / LOG, name, judge, on_validation),
        )
        if trainer.accelerator.is_main_process:
            remember_stages(folder, [stage.name for stage in stages])
        in_run = partial(_in_run, stages=stages, place=place, steps_before=before)
        reached = trainer.run(
            lambda progress, name=name, in_run=in_run: on_progress(name, in_run(progress)),
            should_stop,
        )
        trainer.averaged_network()
        origin = trainer.step
        spare = max(0.0, plan.minutes - trainer.clock.spent_s / 60)
        before += origin
        if not reached:
            return network, False
        trained.register_to_config(trained_objective=objective.name)
        network.train()
    return network.eval(), True


def _read_alike(plan: Plan, network: Network, objective: Family) -> Plan:
    """Note in the network whether it is taught through its sample; a run does not change that."""
    through = bool(getattr(objective, THROUGH_SAMPLE, False))
    if through or network.config.get(THROUGH_SAMPLE):
        network.register_to_config(**{THROUGH_SAMPLE: through})
    return replace(plan, data=f"{plan.data}, through the sample") if through else plan


def _with_spare(plan: Plan, minutes: float) -> Plan:
    """The plan with that much more time, where its time is bounded."""
    return replace(plan, minutes=plan.minutes + minutes) if plan.minutes else plan


def _check_order(folder: Path, names: list[str]) -> None:
    """Refuse a folder in which a stage was begun and one that comes before it was not."""
    begun = [(folder / name / "checkpoint").exists() for name in names]
    for (name, here), (later, there) in pairwise(zip(names, begun, strict=True)):
        if there and not here:
            raise Refusal(
                f"{folder} holds the stage {later} and not {name}: stages are trained in their "
                f"order, {', '.join(names)}; ask for what was asked before, or move the folder "
                "away to begin anew."
            )


def _in_run(progress: Progress, *, stages: list[Stage], place: int, steps_before: int) -> Progress:
    """The progress of one stage with its place in the whole run, by the cost of the stages."""
    works = [stage.cost for stage in stages]
    share = (sum(works[:place]) + progress.share * works[place]) / sum(works)
    second = progress.seconds_per_step * stages[place].plan.steps / works[place]
    later = [
        min(work * second, 60 * stage.plan.minutes or math.inf)
        for work, stage in zip(works[place + 1 :], stages[place + 1 :], strict=True)
    ]
    return replace(
        progress,
        steps_before=steps_before,
        steps_in_run=sum(stage.plan.steps for stage in stages),
        run_share=share,
        later_s=sum(later),
    )
