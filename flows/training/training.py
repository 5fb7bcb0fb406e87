"""Training as flows and commands run it: resumable, watched, and published when done.

Checkpoints stand in the state folder under the model's name, so that a run that was stopped goes
on when the same request is made again; a finished model goes to the operator's models.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from core.progress import Meter, counted, duration
from core.refusal import Refusal
from core.training.request import TrainingRequest
from flows.settings.settings import Settings
from flows.training.publish import publish

if TYPE_CHECKING:
    from core.training.plan import Progress
    from core.training.stages import OnStage
    from core.training.validation import OnValidation

PARTS = 1000
"""Of a run, in which its progress is told."""


def model_folder(request: TrainingRequest, settings: Settings) -> Path:
    """Where the model will stand.

    Raises:
        Refusal: A model of that name stands there already.
    """
    folder = settings.models[0] / request.name
    if folder.exists():
        raise Refusal(
            f"name={request.name}: {folder} exists and a model never replaces another; choose a "
            "new name or move it away."
        )
    return folder


def run_folder(request: TrainingRequest, settings: Settings) -> Path:
    """Where the checkpoints stand."""
    return settings.home / "training" / request.name


def train_model(
    request: TrainingRequest,
    settings: Settings,
    meter: Meter,
    on_validation: OnValidation = lambda stage, step, found: None,
) -> Path:
    """Train and publish the model; its folder.

    The first Ctrl-C or SIGTERM is obeyed after a checkpoint; the same request goes on from there.

    Args:
        request: Of either kind.
        settings: Where checkpoints and models stand.
        meter: Told the share that is done, and in words the step, the stage and its loss.
        on_validation: Told how the averaged weights do, every few minutes.
    """
    from flows.training.launch import joined, number_of_processes

    target = model_folder(request, settings)
    count = number_of_processes(request.batch_size // request.accumulation, settings.device)
    check_training(request, settings, count)

    def watch(stage: str, progress: Progress) -> None:
        meter(int(PARTS * progress.run_share), PARTS, in_words(request, stage, progress))

    others = joined(count, request.kind, request.model_dump_json(), settings)
    with ends_late() as should_stop, others:
        network = descend(
            request, settings, watch, should_stop=should_stop, on_validation=on_validation
        )
    return publish(target, network, request, run=run_folder(request, settings))


def check_training(request: TrainingRequest, settings: Settings, processes: int) -> None:
    """Refuse a training that this host can never do, before anything is read.

    Raises:
        Refusal: Memory or disk would not do.
    """
    from flows.machines.devices import choose_device, gpu_memory_gb
    from flows.machines.resources import check_here, training_needs

    gpus = gpu_memory_gb(choose_device(settings.device)) * processes
    wanted = training_needs(request, processes=processes, gpus=len(gpus))
    check_here(wanted, settings.home, gpus=gpus)


def in_words(request: TrainingRequest, stage: str, progress: Progress) -> str:
    """Where a run stands: ``step 3 of 9, flow, loss 0.1234, 8 s left``.

    How many steps there will be is not known where a time budget may end them.
    """
    step = f"step {progress.steps_before + progress.step}"
    if not request.minutes:
        step += f" of {progress.steps_in_run}"
    left = min(progress.seconds_left + progress.later_s, 60 * request.minutes or math.inf)
    return f"{step}, {stage}, loss {progress.loss:#.4g}, {duration(left)} left"


def summary(request: TrainingRequest, settings: Settings) -> list[str]:
    """What came of a finished run, stage by stage, and where its log is."""
    from core.training.checkpoint import history
    from core.training.log import LOG

    run = run_folder(request, settings)
    lines = []
    for name, facts in history(run).items():
        words = f"{name}: {counted(facts['steps'], 'step')} in {duration(60 * facts['minutes'])}"
        lines.append("; ".join([words, *use_in_words(facts.get("use_of_device", {}))]))
        lines += [f"{name}, step {t['step']}: {t['what']}" for t in facts.get("troubles", ())]
    lines.append(f"checkpoints: {run}")
    look = f"tensorboard --logdir {run / LOG}"
    lines.append(f"log: {run / LOG} (look at it with `{look}`, from `pip install tensorboard`)")
    return lines


def use_in_words(rates: Mapping[str, float]) -> list[str]:
    """How well the device was used, from the record of a stage."""
    if not rates:
        return []
    shares = (
        f"computing {rates['computing_share']:.0%}, waiting for batches {rates['data_share']:.0%}"
    )
    words = [f"{shares} of the time"]
    if "tflops" in rates:
        peak = f", {rates['peak_share']:.2g} of the peak" if "peak_share" in rates else ""
        words.append(f"{1000 * rates['tflops']:.3g} GFLOP/s{peak}")
    return words


@contextmanager
def ends_late() -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C or SIGTERM until the end of the block; whether there was one.

    Training can then write its checkpoint in step with its other processes. A second signal is
    obeyed at once. Outside the main thread nothing is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)

    try:
        for number in numbers:
            signal.signal(number, remember)
        yield lambda: bool(received)
    finally:
        for number in numbers:
            signal.signal(number, before[number] or signal.SIG_DFL)
    if received:
        signal.raise_signal(received[0])


def descend(
    request: TrainingRequest,
    settings: Settings,
    watch: OnStage,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_validation: OnValidation = lambda stage, step, found: None,
) -> Any:
    """The part of training that every process takes; the network as it was left."""
    from flows.training.launch import on_device

    with on_device(settings.device):
        return request.train(
            run_folder(request, settings),
            on_progress=watch,
            should_stop=should_stop,
            on_validation=on_validation,
        )
