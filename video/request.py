"""What a person may ask for: the form, the command line and the records share these models."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from core.families.names import FamilyName
from core.refusal import Refusal
from core.request import DiskPath, Request
from core.training import request as training
from core.training.plan import check_control, check_lora, check_parts, check_space
from core.training.request import Memory, TrainingRequest
from video.control_fields import ControlClip, ControlFile, ControlScale, ReferencePicture
from video.fields import (
    EMPTY,
    FPS,
    OWN,
    WORLD_WORDS,
    Adapter,
    AdapterScale,
    DrawnBoxes,
    EngineName,
    EnginePlacement,
    EngineRequest,
    Guidance,
    ModelName,
    Negative,
    NumFrames,
    OwnBackend,
    Picture,
    Sampler,
    Side,
    Steps,
    Unmarked,
)
from video.picture_fields import FirstPicture, KeyPictures, LastPicture

YES = ("true", "1", "yes", "y", "on", "t")  # as pydantic reads it
Share = Annotated[float, Field(ge=0, le=1)]
LAYOUT_STEPS = 4000
PROCESS_GB, CAPTIONS_GB = 0.65, 0.38  # with the text encoder; captions of the world, all read
ROW_GB = {"tiny": 0.009, "base": 0.031}
COUNT_SHARES = (0.8, 0.13, 0.07)
"""Share of training scenes with one, two and three objects."""


DraftAfter = Annotated[
    int,
    Field(
        ge=0,
        le=1000,
        description="Stop after so many of the steps and show what they lead to, a draft; the "
        "same request without it goes on from there on this machine. 0 for all steps.",
    ),
]


class VideoRequest(EngineRequest):
    """One clip from one sentence."""

    prompt: str = Field(
        min_length=1,
        max_length=4000,
        description=f"What the clip should show, in one sentence. {WORLD_WORDS}",
    )
    engine: EngineName = ""
    num_frames: NumFrames = EMPTY
    fps: FPS = EMPTY
    height: Side = EMPTY
    width: Side = EMPTY
    steps: Steps = EMPTY
    sampler: Sampler = "flow_map"
    guidance: Guidance = EMPTY
    negative: Negative = ""
    first: FirstPicture = ""
    last: LastPicture = ""
    lora: Adapter = ""
    lora_scale: AdapterScale = 1.0
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same clip.")
    model: ModelName = "scenes-64"
    unmarked: Unmarked = False
    boxes: DrawnBoxes = ""
    key: KeyPictures = ()
    control: ControlFile = ""
    control_clip: ControlClip = ""
    reference: ReferencePicture = ""
    control_scale: ControlScale = 1.0
    picture: Picture = False
    draft_after: DraftAfter = 0
    backend: OwnBackend = "usual"
    placement: EnginePlacement = ""
    newer: ClassVar[tuple[str, ...]] = (
        "unmarked", "boxes", "key", "control", "control_clip", "reference", "picture",
        "draft_after", "backend", "placement",
    )  # fmt: skip
    ours: ClassVar[tuple[str, ...]] = ("first", "last", "negative")

    @model_validator(mode="before")
    @classmethod
    def _a_picture_is_one_frame(cls, asked: Any) -> Any:
        """An engine draws one; our own model knows clips alone, and one frame of such is shown."""
        if not (isinstance(asked, dict) and str(asked.get("picture")).lower() in YES):
            return asked
        frames = str(asked.get("num_frames") or EMPTY)
        if asked.get("engine") in (None, "", OWN):
            return {**asked, "num_frames": EMPTY} if frames == "1" else asked
        if frames not in ("0", "1"):
            raise Refusal(
                f"num_frames={frames} with picture: a picture by an engine is one frame; leave "
                "num_frames out."
            )
        return {**asked, "num_frames": 1}


class FilterRequest(Request):
    """What is asked of a filter of clips."""

    clip: DiskPath = Field(
        min_length=1,
        description="The clip, in any file that can be decoded: mp4, mov, mkv, webm, avi ...",
    )
    times: int = Field(2, ge=2, le=8, description="How many times as many, 2 to 8.")


class UpscaleRequest(FilterRequest):
    """A clip with more pixels."""

    times: int = Field(
        2, ge=2, le=8, description="How many times as wide and as high the clip becomes, 2 to 8."
    )


class InterpolateRequest(FilterRequest):
    """A clip with more frames in the same time."""

    times: int = Field(
        2, ge=2, le=8, description="How many times as many frames pass in a second, 2 to 8."
    )


class VideoTrainingRequest(TrainingRequest):
    """One training run of the video model, on the procedural world or on your own clips."""

    kind = "video"
    trained_by = "video.training.training:train"

    name: training.Name = "my-scenes"
    preset: training.Preset = "base"
    network: training.Network = "unet"
    space: Literal["pixels", "latents"] = Field(
        "pixels",
        description="Where the network works: pixels, or latents, which an autoencoder that is "
        "trained first makes of the clips; such a model draws clips of words alone.",
    )
    family: FamilyName = Field(
        "usual",
        description="What the network is taught: usual is flow matching and then average "
        "velocities; the others take steps alone and are described by lamina families list.",
    )
    start: str = Field(
        "",
        description="Name of an installed video model whose weights training begins from, of this "
        "size or without its finest level; empty to begin anew.",
    )
    lora: training.Rank = 0
    masks: bool = Field(
        False,
        description="Also learn to paint around what is given of a clip, frames and regions at "
        "random, with what fills and extends clips in mind; network unet only.",
    )
    control: Literal["", "edges", "reference"] = Field(
        "",
        description="Learn, beside the weights of start, which stay as they are, a branch that is "
        "shown the edges of clips, or an adapter that is shown a picture of what a clip shows: a "
        "file that steers clips by another's edges, or by a picture; empty for none.",
    )
    clips: DiskPath = Field(
        "",
        description="Folder of your own clips (NAME.mp4 with NAME.txt beside it, the caption); "
        "empty for the procedural world.",
    )
    count_shares: tuple[Share, Share, Share] = Field(
        COUNT_SHARES,
        description="How often the procedural world shows one, two and three objects, each "
        "0 to 1.",
    )
    layout_steps: int = Field(
        LAYOUT_STEPS,
        ge=0,
        description="Steps of the layout network, which draws where things are before they are "
        "painted; procedural world and preset base only.",
    )
    steps: training.Steps = 6000
    jump_steps: training.JumpSteps = 1500
    batch_size: int = Field(
        32, ge=1, le=4096, description="Clips per step, shared out to GPUs or CPU cores."
    )
    accumulation: training.Accumulation = 1
    learning_rate: training.LearningRate = 2e-3
    minutes: training.Minutes = 0.0
    compile: training.Compiled = False
    seed: int = Field(0, ge=0, description="The same seed gives the same weights on a CPU.")

    def memory(self, data_size: int) -> Memory:
        """Clips of one's own are not counted."""
        captions = 0.0 if self.clips else CAPTIONS_GB
        return Memory(PROCESS_GB + captions, ROW_GB[self.preset])

    def record(self) -> dict[str, Any]:
        """Whether guidance is in the weights; the words of the procedural world."""
        from video.world.understanding import VOCABULARY

        words = {} if self.clips else {"vocabulary": VOCABULARY}
        return {**words, "guidance_trained_in": self.family == "usual" and self.jump_steps > 0}

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "VideoTrainingRequest":
        check_parts(self.batch_size, self.accumulation)
        check_lora(self.lora, self.start)
        check_control(self.control, self.start, self.network, self.family)
        check_space(self.space, control=self.control, lora=self.lora, masks=self.masks)
        if self.control and (self.lora or self.masks):
            raise Refusal(
                f"control={self.control} with lora={self.lora}, masks={self.masks}: a branch is "
                "learned beside weights that stay as they are; leave the others out."
            )
        if self.masks and (self.network != "unet" or self.family != "usual"):
            raise Refusal(
                f"masks with network={self.network}, family={self.family}: a unet of the usual "
                "family alone is shown what is given of a clip; leave masks out."
            )
        return self

    @model_validator(mode="after")
    def _shares_are_of_the_world(self) -> "VideoTrainingRequest":
        if self.clips and self.count_shares != COUNT_SHARES:
            raise Refusal(
                f"count_shares={self.count_shares} with clips={self.clips!r}: only scenes of the "
                "procedural world are drawn by their number of objects; leave one of the two out."
            )
        return self

    @model_validator(mode="after")
    def _layouts_are_of_the_world(self) -> "VideoTrainingRequest":
        none = self.clips or self.preset == "tiny" or self.space == "latents"
        if none and self.layout_steps != LAYOUT_STEPS:
            raise Refusal(
                f"layout_steps={self.layout_steps} with clips={self.clips!r}, "
                f"preset={self.preset!r}, space={self.space}: layouts are learned of the "
                "procedural world, by the preset base and in pixels alone; leave layout_steps "
                "out."
            )
        return self

    @model_validator(mode="after")
    def _a_control_is_learned_in_steps(self) -> "VideoTrainingRequest":
        if self.control and self.layout_steps != LAYOUT_STEPS:
            raise Refusal(
                f"layout_steps={self.layout_steps} with control={self.control}: what is learned "
                "beside a finished model takes steps alone; leave layout_steps out."
            )
        return self

    @field_validator("count_shares")
    @classmethod
    def _some_are_shown(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not any(shares):
            raise Refusal(
                f"count_shares={shares}: some scenes must be shown; let at least one of the three "
                "be more than 0, try 0.8 0.13 0.07."
            )
        return shares
