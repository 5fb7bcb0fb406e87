"""What a training needs, computed from its request, its number of processes and its heads.

Measured with the shipped presets on one core, by the peak of each process, and within a tenth of
the formula but for the largest batches, which it puts higher: video with 8, 32 and 64 clips; 6 and
60 heads with 2 to 48 patches. A process has the libraries and the data (captions that were read,
or all heads, of which reading takes three times what they keep), and of the batch its own rows.
On a GPU the rows are there, and a batch that does not fit is computed in pieces.
"""

from core.training.request import TrainingRequest
from flows.machines.resources import MARGIN, Resources

CHECKPOINTS_GB = 1.0  # at most, of all stages, with the log and the model itself


def training_needs(
    request: TrainingRequest, *, processes: int = 1, gpus: int = 0, data_size: int | None = None
) -> Resources:
    """What a training run needs, of all its processes together.

    Args:
        request: Of any kind.
        processes: That share a batch.
        gpus: How many of them have one.
        data_size: Of its data; by default it is looked up.
    """
    each = request.memory(request.data_size() if data_size is None else data_size)
    rows = request.batch_size / request.accumulation / processes
    return Resources(
        gpus=gpus,
        gpu_memory_gb=MARGIN * (each.process_gb + each.data_gb + each.row_gb) if gpus else 0.0,
        cpus=processes,
        memory_gb=MARGIN * processes * each.at_most(0 if gpus else rows),
        disk_gb=CHECKPOINTS_GB,
    )  # pyright: ignore[reportCallIssue]
