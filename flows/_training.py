"""Training as flows and commands run it: resumable, watched, and published when done.

Checkpoints stand in the state folder under the model's name, so that a run that was stopped goes
on when the same request is made again; a finished model goes to the operator's models.
"""

from pathlib import Path
from typing import Any

from flows._models import publish
from flows._progress import Meter, duration
from flows._settings import Settings
from medical.request import MRITrainingRequest
from video.request import VideoTrainingRequest

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
    target = model_folder(request, settings)
    kind = "video" if isinstance(request, VideoTrainingRequest) else "mri"
    checkpoints = settings.home / "training" / request.name
    first, last = request.steps, request.steps + request.jump_steps

    def watch(stage: str, progress: Any) -> None:
        done = progress.step + (first if stage == "jumps" else 0)
        left = duration((last - done) * progress.seconds_per_step)
        meter(done, last, f"step {done} of {last}, {stage}, loss {progress.loss:.4f}, {left} left")

    network, finished = _train(request, checkpoints, watch)
    if not finished:
        return None
    return publish(target, network, request, kind=kind, finished=finished)


def _train(request: TrainingRequest, folder: Path, watch: Any) -> tuple[Any, bool]:
    if isinstance(request, VideoTrainingRequest):
        from video.training import train

        return train(request, folder, on_progress=watch)
    from medical.training import train as train_mri

    return train_mri(request, folder, on_progress=watch)
