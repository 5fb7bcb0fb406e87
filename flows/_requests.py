"""Which request each flow takes. The flow's form, the command line and the tests read this."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medical.request import MRITrainingRequest, SuperResolutionRequest
from video.request import VideoRequest, VideoTrainingRequest


class VideoBatchRequest(BaseModel):
    """Many clips from a file of prompts, one after another; those that stand are skipped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_file: str = Field(
        min_length=1,
        description="Text file with one prompt per line; empty lines and # comments are skipped.",
    )
    name: str = Field(
        "nightly",
        min_length=1,
        max_length=60,
        description="Name of the batch: clips are collected under it, and a later run with the "
        "same name makes only what is missing.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of every clip.")
    num_frames: int = Field(16, ge=1, le=128, description="Frames of each clip, 1 to 128.")
    steps: int = Field(4, ge=1, le=128, description="Sampling steps of each clip, 1 to 128.")
    model: str = Field("scenes-64", description="Name of an installed video model.")

    def request(self, prompt: str) -> VideoRequest:
        """The request for one clip of the batch."""
        shared: dict[str, Any] = self.model_dump(exclude={"prompt_file", "name"})
        return VideoRequest(prompt=prompt, **shared)


MODELS: dict[str, type[BaseModel]] = {
    "text_to_video": VideoRequest,
    "super_resolve_mri": SuperResolutionRequest,
    "train_video": VideoTrainingRequest,
    "train_mri": MRITrainingRequest,
    "video_batch": VideoBatchRequest,
}
