"""What a training needs, computed from its request, its number of processes and its heads.

Measured with the shipped presets on one core, by the peak of each process, and within a tenth of
the formula but for the largest batches, which it puts higher: video with 8, 32 and 64 clips; 6 and
60 heads with 2 to 48 patches. A process has the libraries and the data (captions that were read,
or all heads, of which reading takes three times what they keep), and of the batch its own rows.
On a GPU the rows are there, and a batch that does not fit is computed in pieces.
"""

import math

from flows.machines.resources import MARGIN, Resources
from medical.request import MRITrainingRequest
from video.request import VideoTrainingRequest

TrainingRequest = VideoTrainingRequest | MRITrainingRequest

VIDEO_GB, MRI_GB = 0.65, 0.75  # of a process: the libraries, and for video the text encoder
CAPTIONS_GB = 0.38  # of the usual number of scenes, when all were read
READING_GB, KEPT_GB, LABELS_GB = 0.006, 0.002, 0.004  # of a million voxels of heads
ROW_GB = {
    ("video", "tiny"): 0.009,
    ("video", "base"): 0.031,
    ("mri", "tiny"): 0.023,
    ("mri", "base"): 0.086,
}
CHECKPOINTS_GB = 1.0  # at most, of all stages, with the log and the model itself


def training_needs(
    request: TrainingRequest, *, processes: int = 1, gpus: int = 0, voxels: int = 0
) -> Resources:
    """What a training run needs, of all its processes together.

    Args:
        request: Of either kind. Clips of one's own are not counted.
        processes: That share a batch.
        gpus: How many of them have one.
        voxels: Of all heads together.
    """
    if isinstance(request, VideoTrainingRequest):
        kind, base = "video", VIDEO_GB + (0.0 if request.clips else CAPTIONS_GB)
        reading = kept = 0.0
    else:
        kind, base = "mri", MRI_GB
        millions = voxels / 1e6
        kept = millions * (KEPT_GB + (LABELS_GB if request.contrast_share else 0.0))
        reading = millions * READING_GB
    row = ROW_GB[kind, request.preset]
    rows = row * request.batch_size / request.accumulation / processes
    held = max(reading, kept + (0.0 if gpus else rows))
    return Resources(
        gpus=gpus,
        gpu_memory_gb=MARGIN * (base + kept + row) if gpus else 0.0,
        cpus=processes,
        memory_gb=MARGIN * processes * (base + held),
        disk_gb=CHECKPOINTS_GB,
    )  # pyright: ignore[reportCallIssue]


def count_voxels(request: TrainingRequest) -> int:
    """Voxels of all heads of a request, from the heads of their files; 0 where there are none."""
    if isinstance(request, VideoTrainingRequest):
        return 0
    from medical.files.nifti import read_size
    from medical.training.heads import find_heads

    found = find_heads(request.heads, synthetic=request.synthetic).taken
    return sum(math.prod(read_size(path)[0]) for path in found.values())
