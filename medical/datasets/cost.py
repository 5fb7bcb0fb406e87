"""What a dataset takes, from its request alone."""

from __future__ import annotations

import math

from core.operations.operation import Cost
from medical.datasets.heads import EXTENT_MM
from medical.datasets.request import MRIDatasetRequest

# Measured on one core of a server CPU, heads of 6.4 million voxels with two contrasts
HEAD_S, IMAGE_S = 1.9, 0.75  # per million voxels
BASE_GB, GB_PER_MILLION = 0.5, 0.2
BYTES_ON_DISK = 2.0  # of a voxel of an image, packed


def dataset_cost(request: MRIDatasetRequest, head_seconds: float = 0.0) -> Cost:
    """By heads, contrasts and voxels.

    Args:
        request: What is asked.
        head_seconds: What a head takes beside.
    """
    millions = math.prod(e / s for e, s in zip(EXTENT_MM, request.spacing_mm, strict=True)) / 1e6
    images = len(request.contrasts) * (2 if request.longitudinal.asked else 1)
    seconds = request.count * (millions * (HEAD_S + images * IMAGE_S) + head_seconds)
    written = request.count * millions * BYTES_ON_DISK * (images + 0.2) / 1e3
    disk = written * len(request.formats)
    return Cost(seconds, BASE_GB + GB_PER_MILLION * millions, disk, disk)
