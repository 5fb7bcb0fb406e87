"""Which request each flow takes. The flow's form, the command line and the tests read this."""

from typing import Literal

from pydantic import Field

from core.request import Request
from core.training.request import TrainingRequest
from flows.requests.batch_requests import (
    NAME,
    ClipBatchRequest,
    ScanBatchRequest,
    ShardRequest,
)
from medical.audit.request import AuditRequest
from medical.datasets.request import MRIDatasetRequest
from medical.lesions.request import (
    FillLesionsRequest,
    FindAnomaliesRequest,
    InpaintMRIRequest,
    InsertLesionsRequest,
    StripSkullRequest,
)
from medical.request import MRITrainingRequest, SegmentRequest, SuperResolutionRequest
from video.change_request import EditRequest, ExtendRequest, FillRequest
from video.request import (
    InterpolateRequest,
    UpscaleRequest,
    VideoRequest,
    VideoTrainingRequest,
)


class ApprovalRequest(Request):
    """A batch that a person shall look at."""

    batch: str = Field(pattern=NAME, description="Name of a batch that has ended.")
    hours: float = Field(
        default=72.0, ge=0.02, le=720, description="How long the answer may take, up to 720 hours."
    )


class NightsRequest(Request):
    """Which nights to look at, and what to do about those that have no batch."""

    flow: Literal["generate_clips", "restore_scans"] = Field(
        default="generate_clips", description="Whose nightly schedule."
    )
    nights: int = Field(default=7, ge=1, le=366, description="Days to look back, 1 to 366.")
    action: Literal["list", "start"] = Field(
        default="list", description="List what is missing, or start it as well."
    )


class TidyRequest(Request):
    """How patient the janitor is."""

    lost_s: float = Field(
        300.0,
        ge=90,
        le=86_400,
        description="Seconds of silence, 90 to 86400, after which a host or a run is lost.",
    )
    second_look_s: float = Field(
        40.0,
        ge=1,
        le=600,
        description="Seconds, 1 to 600, after which a run must still be dead to be closed.",
    )


TRAININGS: dict[str, type[TrainingRequest]] = {
    each.kind: each for each in (VideoTrainingRequest, MRITrainingRequest)
}
MODELS: dict[str, type[Request]] = {
    "text_to_video": VideoRequest,
    "extend_video": ExtendRequest,
    "fill_video": FillRequest,
    "edit_video": EditRequest,
    "upscale_video": UpscaleRequest,
    "interpolate_video": InterpolateRequest,
    "super_resolve_mri": SuperResolutionRequest,
    "insert_mri_lesions": InsertLesionsRequest,
    "fill_mri_lesions": FillLesionsRequest,
    "inpaint_mri": InpaintMRIRequest,
    "strip_mri_skull": StripSkullRequest,
    "segment_mri": SegmentRequest,
    "find_mri_anomalies": FindAnomaliesRequest,
    "augment_mri_dataset": MRIDatasetRequest,
    "audit_mri_dataset": AuditRequest,
    "train_video": VideoTrainingRequest,
    "train_mri": MRITrainingRequest,
    "generate_clips": ClipBatchRequest,
    "restore_scans": ScanBatchRequest,
    "make_shard": ShardRequest,
    "approve_batch": ApprovalRequest,
    "fill_missed_nights": NightsRequest,
    "tidy_runs": TidyRequest,
}
