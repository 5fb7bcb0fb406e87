"""The flow ``train_video``: a new model, resumable, published when its training is done."""

from flows.pages.failures import explained_flow
from flows.pages.run_log import join_run_log
from flows.pages.run_names import own_name
from flows.requests.parameters import Asked
from flows.storage.files import FileRef
from flows.training.stages import prepare, report, train, verify
from video.request import VideoTrainingRequest


@explained_flow(own_name)
def train_video(request: Asked[VideoTrainingRequest]) -> FileRef:
    """Train a text-to-video model.

    A run that was stopped goes on when it is asked for again.

    Args:
        request: What to train, and for how long.
    """
    join_run_log()
    prepare(request)
    weights = train(request)
    report(weights, verify(weights))
    return weights
