"""``lamina train``: new models from your own data, in this process, resumable."""

import logging
import sys

from core.progress import terminal_meter
from core.training.request import TrainingRequest
from flows.commands.options import options_of
from flows.settings.settings import Settings, read_settings
from medical.request import MRITrainingRequest
from video.request import VideoTrainingRequest


@options_of(VideoTrainingRequest)
def video(*, request: VideoTrainingRequest) -> int:
    """Train a text-to-video model on the procedural world or on your own clips.

    A run that was stopped before it was finished goes on when the same command is given again.
    """
    return _train(request)


@options_of(MRITrainingRequest)
def mri(*, request: MRITrainingRequest) -> int:
    """Train a super-resolution model on sharp heads in a BIDS folder.

    A run that was stopped before it was finished goes on when the same command is given again.
    """
    return _train(request)


def _train(request: TrainingRequest) -> int:
    from flows.machines.devices import choose_device
    from flows.machines.watchdog import TRAINING, holding
    from flows.training.launch import follows
    from flows.training.training import model_folder, run_folder, summary, train_model

    settings = read_settings()
    model_folder(request, settings)
    try:
        if follows():
            return _follow(request, settings)
        device = choose_device(settings.device)
        with terminal_meter("training") as bar, holding(device, bar, TRAINING) as meter:
            folder = train_model(request, settings, meter)
    except KeyboardInterrupt:
        place = run_folder(request, settings)
        sys.stderr.write(f"Stopped; until finished, the same command goes on from {place}.\n")
        return 130
    sys.stderr.write("".join(f"{line}\n" for line in summary(request, settings)))
    print(folder)
    return 0


def _follow(request: TrainingRequest, settings: Settings) -> int:
    """Compute a part of every batch; the first process reports and publishes."""
    from flows.training.training import descend, ends_late

    logging.getLogger("core").setLevel(logging.ERROR)  # the first process says the rest
    with ends_late() as should_stop:
        descend(request, settings, lambda stage, progress: None, should_stop=should_stop)
    return 0
