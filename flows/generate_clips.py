"""The flow ``generate_clips``: a clip for every row of a prompt file, by night.

It plans the batch and hands shards to GPU workers; nothing is sampled here.
"""

from typing import Any

from flows.batches.flow import abandon, check_rows, coordinate_batch
from flows.batches.nights import dated_name
from flows.pages.failures import explained_flow
from flows.requests.batch_requests import ClipBatchRequest
from flows.requests.parameters import Asked, Project


@explained_flow(dated_name, on_cancellation=[abandon])
def generate_clips(
    request: Asked[ClipBatchRequest], project: Project = "default"
) -> dict[str, Any]:
    """Make a clip for every row of a prompt file.

    Clips are collected in the folder of the batch; those that stand already are not made again.

    Args:
        request: Which prompts, and how.
        project: Project under which results are filed: lower case letters, digits, dashes.
    """
    return coordinate_batch(request, project, check_rows)
