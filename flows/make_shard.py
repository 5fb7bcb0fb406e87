"""The flow ``make_shard``: one shard of a batch on a GPU worker, the model loaded once.

The coordinator of the batch starts it; started by hand it does the same, as all it needs stands in
the batch's folder.
"""

from typing import Any

from flows.pages.artifacts import batch_page, progress_bar
from flows.pages.failures import explained_flow
from flows.pages.run_log import join_run_log
from flows.requests.batch_requests import ShardRequest
from flows.requests.parameters import Asked
from flows.settings.settings import read_settings


@explained_flow(lambda asked: f"{asked.batch}, shard {asked.shard}")
def make_shard(request: Asked[ShardRequest]) -> dict[str, Any]:
    """Make what is missing of one shard of a planned batch.

    Finished items are kept however the run ends; started again, it makes only the others.

    Args:
        request: Which shard.
    """
    from flows.batches.shard import run_shard

    join_run_log()
    page = batch_page(request.project, request.batch)
    with progress_bar("make-shard-progress", page) as meter:
        return run_shard(read_settings(), request, meter).plain()
