"""Training as flows and commands run it: resumable, watched, and published when done.

Checkpoints stand in the state folder under the model's name, so that a run that was stopped goes
on when the same request is made again; a finished model goes to the operator's models.
"""

from __future__ import annotations

from pathlib import Path
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


def train_model(request: TrainingRequest, settings: Settings, meter: Meter) -> Path | None:
    """Train, and publish the model if every stage reached its end.

    Args:
        request: Of either kind.
        settings: Where checkpoints and models stand.
        meter: Told the step, the number of steps, and the stage with its loss.

    Returns:
        The model's folder, or None if the time limit came first; the same request goes on then.
    """
    from flows._training_processes import joined, number_of_processes

    target = model_folder(request, settings)
    kind = kind_of(request)
    first, last = request.steps, request.steps + request.jump_steps

    def watch(stage: str, progress: Any) -> None:
        done = progress.step + (first if stage == "jumps" else 0)
        left = duration((last - done) * progress.seconds_per_step)
        meter(done, last, f"step {done} of {last}, {stage}, loss {progress.loss:.4f}, {left} left")

    count = number_of_processes(request.batch_size, settings.device)
    with joined(count, kind, request.model_dump_json(), settings):
        network, finished = descend(request, settings, watch)
    if not finished:
        return None
    return publish(target, network, request, kind=kind, finished=finished)


def kind_of(request: TrainingRequest) -> str:
    """``"video"`` or ``"mri"``."""
    return "video" if isinstance(request, VideoTrainingRequest) else "mri"


def parse(kind: str, text: str) -> TrainingRequest:
    """The request that ``kind`` and its JSON stand for."""
    model = VideoTrainingRequest if kind == "video" else MRITrainingRequest
    return model.model_validate_json(text)


def descend(request: TrainingRequest, settings: Settings, watch: OnStage) -> tuple[Any, bool]:
    """The part of training that every process takes: the network, and whether it was finished."""
    folder = settings.home / "training" / request.name
    if isinstance(request, VideoTrainingRequest):
        from video.training import train

        return train(request, folder, on_progress=watch)
    from medical.training import train as train_mri

    return train_mri(request, folder, on_progress=watch)
