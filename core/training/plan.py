"""What a training run does, step by step, and where it stands."""

import math
from dataclasses import dataclass

from core.refusal import Refusal

PRECISIONS = ("bf16", "no")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one training run does.

    >>> Plan(steps=100, batch_size=8, accumulation=2).optimizer
    'muon'

    Attributes:
        steps: Optimizer steps in all.
        batch_size: Samples per step, over all processes and accumulated parts.
        accumulation: Parts a step is computed in.
        optimizer: ``"muon"`` or ``"adamw"``.
        learning_rate: Peak rate; the two optimizers take steps of about the same size.
        warmup: Steps of linear rise.
        cooldown: Share of the steps, at the end, over which the rate falls to 0 (1 - sqrt).
        weight_decay: Decoupled, on matrices.
        clip: Largest gradient norm.
        ema_decay: Of the weight average.
        seed: Everything random follows from it.
        data: Words for how the data is drawn, which a run does not change on the way.
        mixed_precision: ``"bf16"`` or ``"no"``.
        checkpoint_minutes: Time between checkpoints.
        validation_minutes: Time between two looks at how the averaged weights do.
        compile: Whether the network is compiled, which takes minutes at the start.
        minutes: Time budget over all sittings; the schedule ends with it where the steps would
            take longer. 0 for none.
    """

    steps: int
    batch_size: int = 32
    accumulation: int = 1
    optimizer: str = "muon"
    learning_rate: float = 1e-3
    warmup: int = 100
    cooldown: float = 0.3
    weight_decay: float = 0.01
    clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    data: str = ""
    mixed_precision: str = "bf16"
    checkpoint_minutes: float = 5.0
    validation_minutes: float = 5.0
    compile: bool = False
    minutes: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.accumulation < 1:
            raise Refusal(
                f"steps={self.steps}, batch_size={self.batch_size}, accumulation="
                f"{self.accumulation}: each counts something done at least once; give 1 or more."
            )
        check_parts(self.batch_size, self.accumulation)
        if self.mixed_precision not in PRECISIONS:
            raise Refusal(
                f"mixed_precision={self.mixed_precision!r}: training runs in one of {PRECISIONS}; "
                "'no' is float32."
            )


def check_lora(rank: int, start: str) -> None:
    """Raise a ``Refusal`` where low-rank changes of no finished weights are asked for."""
    if rank and not start:
        raise Refusal(
            f"lora={rank} without start: what is learned is a small change of a finished model; "
            "name one in start, as `lamina models list` shows them."
        )


def check_control(control: str, start: str, network: str, family: str) -> None:
    """Raise a ``Refusal`` where a branch is asked for that has nothing to stand beside."""
    if control and (not start or network != "unet" or family != "usual"):
        raise Refusal(
            f"control={control} with start={start!r}, network={network}, family={family}: a "
            "branch is learned beside a finished U-Net by flow matching; name one in start, and "
            "leave network and family out."
        )


def check_space(space: str, **others: object) -> None:
    """Raise a ``Refusal`` where latents are asked for beside what is defined on voxels alone.

    Args:
        space: ``pixels`` or ``latents``.
        others: By their names; those that are set are refused.
    """
    said = [f"{name}={value}" for name, value in others.items() if value]
    if space == "latents" and said:
        raise Refusal(
            f"space=latents with {', '.join(said)}: what a network on latents draws are whole "
            "samples, of which no single voxel is told or changed; leave these out, or space."
        )


def check_parts(batch_size: int, accumulation: int) -> None:
    """Raise a ``Refusal`` unless a batch falls into so many equal parts."""
    if batch_size % accumulation:
        raise Refusal(
            f"batch_size={batch_size}, accumulation={accumulation}: a batch is computed in equal "
            "parts; let accumulation divide batch_size."
        )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands after a step.

    >>> told = {"loss": 0.5, "error": 0.5, "learning_rate": 1e-3}
    >>> Progress(step=25, steps=100, seconds_per_step=2.0, **told).step
    25

    Attributes:
        step: Steps taken in this stage.
        steps: Steps planned in this stage.
        loss: What is descended.
        error: Plain mean squared error.
        learning_rate: Of this step.
        seconds_per_step: On the mean of this sitting.
        budget_left_s: Time left to the stage; infinite without a budget.
        gradient_norm: Before it was clipped.
        share: Which part of the stage lies behind, from 0 to 1.
        steps_before: Steps that the stages before have taken.
        steps_in_run: Steps planned in all stages.
        run_share: Which part of all stages lies behind, from 0 to 1.
        later_s: Time that the stages after this one will take at the present pace.
    """

    step: int
    steps: int
    loss: float
    error: float
    learning_rate: float
    seconds_per_step: float
    budget_left_s: float = math.inf
    gradient_norm: float = 0.0
    share: float = 0.0
    steps_before: int = 0
    steps_in_run: int = 0
    run_share: float = 0.0
    later_s: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Time to the last step at the present pace, or to the end of the time budget."""
        steps = (self.steps - self.step) * self.seconds_per_step
        return max(0.0, min(steps, self.budget_left_s))


def share_done(plan: Plan, step: int, spent_s: float) -> float:
    """Which part of the run lies behind: of its steps or of its time, whichever is more."""
    of_time = spent_s / (60 * plan.minutes) if plan.minutes else 0.0
    return min(1.0, max(step / plan.steps, of_time))


def rate(plan: Plan, step: int, spent_s: float = 0.0) -> float:
    """Learning rate at ``step``: rise, plateau, fall (1 - sqrt). Haegele et al. 2024.

    Args:
        plan: The run.
        step: Steps taken.
        spent_s: Seconds spent, which count where the plan has a time budget.
    """
    rise = min(1.0, (step + 1) / max(1, plan.warmup))
    fallen = share_done(plan, step, spent_s) - (1 - plan.cooldown)
    if fallen <= 0 or not plan.cooldown:
        return plan.learning_rate * rise
    return plan.learning_rate * rise * (1 - math.sqrt(fallen / plan.cooldown))
