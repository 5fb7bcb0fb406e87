"""Which request each flow takes. The flow's form, the command line and the tests read this."""

from pydantic import BaseModel

from flows._batch_requests import ClipBatchRequest, ScanBatchRequest, ShardRequest
from medical.request import MRITrainingRequest, SuperResolutionRequest
from video.request import VideoRequest, VideoTrainingRequest

MODELS: dict[str, type[BaseModel]] = {
    "text_to_video": VideoRequest,
    "super_resolve_mri": SuperResolutionRequest,
    "train_video": VideoTrainingRequest,
    "train_mri": MRITrainingRequest,
    "generate_clips": ClipBatchRequest,
    "restore_scans": ScanBatchRequest,
    "make_shard": ShardRequest,
}
