"""The flow ``train_mri``: a new model, resumable, published when its training is done."""

from flows.pages.failures import explained_flow
from flows.pages.run_log import join_run_log
from flows.pages.run_names import own_name
from flows.requests.parameters import Asked
from flows.storage.files import FileRef
from flows.training.stages import prepare, report, train, verify
from medical.request import MRITrainingRequest


@explained_flow(own_name)
def train_mri(request: Asked[MRITrainingRequest]) -> FileRef:
    """Train a super-resolution model on sharp heads.

    A run that was stopped goes on when it is asked for again.

    Args:
        request: What to train, and for how long.
    """
    join_run_log()
    prepare(request)
    weights = train(request)
    report(weights, verify(weights))
    return weights
