"""What a person may ask of a clip that is there: go on, be filled in, be changed."""

from typing import ClassVar

from pydantic import Field, model_validator

from core.refusal import Refusal
from core.request import DiskPath
from video.fields import (
    EMPTY,
    EngineName,
    EnginePlacement,
    EngineRequest,
    Guidance,
    ModelName,
    Negative,
    OwnBackend,
    Steps,
)

MOST_FRAMES = 4096


class ChangeRequest(EngineRequest):
    """What all of them ask."""

    clip: DiskPath = Field(
        min_length=1,
        description="The clip, in any file that can be decoded: mp4, mov, mkv, webm, avi ...",
    )
    prompt: str = Field(
        "",
        max_length=4000,
        description="What the clip shows, in one sentence. Our own model reads an empty one off "
        "the clip; engines want one.",
    )
    engine: EngineName = ""
    steps: Steps = EMPTY
    guidance: Guidance = EMPTY
    negative: Negative = ""
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same clip.")
    model: ModelName = "scenes-64"
    backend: OwnBackend = "usual"
    placement: EnginePlacement = ""
    newer: ClassVar[tuple[str, ...]] = (*EngineRequest.newer, "backend", "placement")


class ExtendRequest(ChangeRequest):
    """A longer clip."""

    frames_after: int = Field(
        16, ge=0, le=MOST_FRAMES, description="Frames to add after the last one, 0 to 4096."
    )
    frames_before: int = Field(
        0, ge=0, le=MOST_FRAMES, description="Frames to add before the first one, 0 to 4096."
    )

    @model_validator(mode="after")
    def _something_is_added(self) -> "ExtendRequest":
        if not self.frames_after + self.frames_before:
            raise Refusal(
                "frames_after=0 and frames_before=0: a clip is extended by frames on one side at "
                "least; try frames_after=16."
            )
        return self


class EditRequest(ChangeRequest):
    """A clip that shows something else in the same places."""

    strength: float = Field(
        0.6,
        gt=0,
        le=1,
        description="How far the clip may be changed, above 0 and at most 1, where nothing of it "
        "stays but where things are.",
    )

    @model_validator(mode="after")
    def _something_is_said(self) -> "EditRequest":
        if not self.prompt.strip():
            raise Refusal(
                "prompt= is empty: an edit makes the clip show what the prompt says; write what "
                "it shall show."
            )
        return self


class FillRequest(ChangeRequest):
    """A clip with a part painted anew, or with more around it."""

    mask: DiskPath = Field(
        "",
        max_length=400,
        description="Picture or clip of the clip's size, light where to paint; a picture holds "
        "for all frames.",
    )
    boxes: DiskPath = Field(
        "",
        max_length=400,
        description="JSON file with boxes to paint, still or moving, in place of a mask.",
    )
    left: int = Field(0, ge=0, le=4096, description="Columns to add at the left.")
    right: int = Field(0, ge=0, le=4096, description="Columns to add at the right.")
    top: int = Field(0, ge=0, le=4096, description="Rows to add at the top.")
    bottom: int = Field(0, ge=0, le=4096, description="Rows to add at the bottom.")

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Rows and columns to add: top, bottom, left, right."""
        return self.top, self.bottom, self.left, self.right
