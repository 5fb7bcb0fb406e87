"""Training as flows and commands run it: resumable, watched, and published when done.

Checkpoints stand in the state folder under the model's name, so that a run that was stopped goes
on when the same request is made again; a finished model goes to the operator's models.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from flows._models import publish
from flows._progress import Meter, duration
from flows._settings import Settings
from medical.request import MRITrainingRequest
from video.request import VideoTrainingRequest

if TYPE_CHECKING:
    from core.stages import OnStage

TrainingRequest = VideoTrainingRequest | MRITrainingRequest


def model_folder(request: TrainingRequest, settings: Settings) -> Path:
    """Where the model will stand.

    Raises:
        ValueError: A model of that name stands there already.
    """
    folder = settings.models[0] / request.name
    if folder.exists():
        raise ValueError(
            f"name={request.name}: {folder} exists and a model never replaces another; choose a "
            "new name or move it away."
        )
    return folder


def run_folder(request: TrainingRequest, settings: Settings) -> Path:
    """Where the checkpoints stand."""
    return settings.home / "training" / request.name


def train_model(request: TrainingRequest, settings: Settings, meter: Meter) -> Path:
    """Train and publish the model; its folder.

    The first Ctrl-C or SIGTERM is obeyed after a checkpoint; the same request goes on from there.

    Args:
        request: Of either kind.
        settings: Where checkpoints and models stand.
        meter: Told the step, the number of steps, and the stage with its loss.
    """
    from flows._training_processes import joined, number_of_processes

    target = model_folder(request, settings)
    kind = kind_of(request)
    first, last = request.steps, request.steps + request.jump_steps

    def watch(stage: str, progress: Any) -> None:
        done = progress.step + (first if stage == "jumps" else 0)
        later = request.jump_steps * progress.seconds_per_step if stage == "flow" else 0.0
        left = duration(min(progress.seconds_left + later, 60 * request.minutes or math.inf))
        meter(done, last, f"step {done} of {last}, {stage}, loss {progress.loss:.4f}, {left} left")

    count = number_of_processes(request.batch_size, settings.device)
    others = joined(count, kind, request.model_dump_json(), settings)
    with ends_late() as should_stop, others:
        network = descend(request, settings, watch, should_stop)
    return publish(target, network, request, kind=kind, run=run_folder(request, settings))


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


def kind_of(request: TrainingRequest) -> str:
    """``"video"`` or ``"mri"``."""
    return "video" if isinstance(request, VideoTrainingRequest) else "mri"


def parse(kind: str, text: str) -> TrainingRequest:
    """The request that ``kind`` and its JSON stand for."""
    model = VideoTrainingRequest if kind == "video" else MRITrainingRequest
    return model.model_validate_json(text)


def descend(
    request: TrainingRequest,
    settings: Settings,
    watch: OnStage,
    should_stop: Callable[[], bool] = lambda: False,
) -> Any:
    """The part of training that every process takes; the network as it was left."""
    folder = run_folder(request, settings)
    if isinstance(request, VideoTrainingRequest):
        from video.training import train

        return train(request, folder, on_progress=watch, should_stop=should_stop)[0]
    from medical.training import train as train_mri

    return train_mri(request, folder, on_progress=watch, should_stop=should_stop)[0]
