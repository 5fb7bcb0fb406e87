"""The flow ``restore_scans``: every thick-slice scan of a folder or BIDS dataset, by night.

It plans the batch and hands shards to GPU workers; nothing is sampled here.
"""

from typing import Any

from flows.batches.flow import abandon, check_scans, coordinate_batch
from flows.batches.nights import dated_name
from flows.pages.failures import explained_flow
from flows.requests.batch_requests import ScanBatchRequest
from flows.requests.parameters import Asked, Project


@explained_flow(dated_name, on_cancellation=[abandon])
def restore_scans(
    request: Asked[ScanBatchRequest], project: Project = "default"
) -> dict[str, Any]:
    """Turn every scan of a folder or BIDS dataset into a finer volume.

    Volumes, maps and records are collected in the folder of the batch; those that stand already
    are not made again. For research, not for diagnosis.

    Args:
        request: Which scans, and how.
        project: Project under which results are filed: lower case letters, digits, dashes.
    """
    return coordinate_batch(request, project, check_scans)
