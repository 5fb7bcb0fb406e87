"""What a person may ask of a batch: many clips, many scans, and one shard of either."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_serializer

from core.request import Backend, DiskPath, Request
from flows.batches.quality import MOST_DRAWS
from flows.requests.batch_limits import BatchLimits
from medical.request import SuperResolutionRequest
from video import fields as clips

if TYPE_CHECKING:
    from medical.files.survey import Survey

NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
DATED_NAME = r"^([a-z0-9]+|\{date\})(-([a-z0-9]+|\{date\}))*$"
OWN_SEED = -1
NIGHTLY = "nightly"


BatchName = Annotated[
    str,
    Field(
        pattern=DATED_NAME,
        max_length=60,
        description="Name of the batch: lower case letters, digits, dashes; {date} stands for "
        "the night. A later run with the same name makes only what is missing or has changed.",
    ),
]
Limits = Annotated[BatchLimits, Field(description="Budgets and patience.")]


class BatchRequest(Request):
    """Many items of one operation; what each batch has in common whatever it makes.

    Attributes:
        operation: What is done for each item.
        flow: Which flow coordinates such a batch.
    """

    if TYPE_CHECKING:
        name: str
        limits: BatchLimits
        seed: int
        model: str

    operation: ClassVar[str]
    flow: ClassVar[str]
    spoken: ClassVar = {**SuperResolutionRequest.spoken, "seed": {OWN_SEED: "each its own"}}

    def shared(self, single: type[Request]) -> dict[str, Any]:
        """What all its items are asked alike, as fields of a single request; a seed is its own."""
        names = (type(self).model_fields.keys() & single.model_fields) - {"seed"}
        return {name: getattr(self, name) for name in names}

    @property
    def judged(self) -> bool:
        """Whether results that do not show what was asked are rejected."""
        return False

    @property
    def most_draws(self) -> int:
        """How often an item may be drawn."""
        return 1

    @property
    def plateau(self) -> tuple[int, float]:
        """Last draws to look at, 0 for none, and the gain that each must bring."""
        return 0, 0.0

    @property
    def source(self) -> Path:
        """The file or folder it names; this folder for none."""
        return Path()

    @property
    def dataset(self) -> Path | None:
        """The folder whose scans it restores, BIDS maybe; None where it restores none."""
        return None

    @abstractmethod
    def left_out(self) -> list[str]:
        """What of its source is not made and why, one line a reason."""


class ClipBatchRequest(BatchRequest, clips.EngineRequest):
    """Many clips, from a prompt file or from lines of text."""

    operation = "text_to_video"
    flow = "generate_clips"
    ours = ("negative",)
    newer = ("count", "picture", "drafts", "draft_steps", "backend", "placement")

    name: BatchName = NIGHTLY
    prompts: str = Field(
        "", description=f"One prompt per line, if there is no prompt file. {clips.WORLD_WORDS}"
    )
    prompt_file: DiskPath = Field(
        "",
        description="A .txt with one prompt per line, or .csv, .jsonl or .yaml with a column "
        "`prompt`; further columns override the fields below, row by row. Lines of a .txt or .csv "
        "that begin with # are comments. Or a folder of pictures, each the first frame of a clip, "
        "with its prompt in NAME.txt beside NAME.png, else in prompts. May hold {date}.",
    )
    engine: clips.EngineName = ""
    num_frames: clips.NumFrames = clips.EMPTY
    fps: clips.FPS = clips.EMPTY
    height: clips.Side = clips.EMPTY
    width: clips.Side = clips.EMPTY
    steps: clips.Steps = clips.EMPTY
    sampler: clips.Sampler = "flow_map"
    guidance: clips.Guidance = clips.EMPTY
    negative: clips.Negative = ""
    seed: int = Field(
        OWN_SEED,
        ge=OWN_SEED,
        lt=2**63,
        description="Seed of every clip; -1 derives each clip's own from what it shall show.",
    )
    count: clips.Count = 1
    drafts: int = Field(
        0,
        ge=0,
        le=64,
        description="So many drafts of each prompt after few steps, each with a seed of its own; "
        "those that a person picks go on from there by `lamina batch finish`. 0 for none.",
    )
    draft_steps: int = Field(
        0, ge=0, le=200, description="Steps after which a draft is shown; 0 for a quarter of all."
    )
    model: clips.ModelName = "scenes-64"
    picture: clips.Picture = False
    backend: clips.OwnBackend = "usual"
    placement: clips.EnginePlacement = ""
    strict: bool = Field(False, description="Refuse a prompt of which a word is not understood.")
    accept_only: bool = Field(
        False,
        description="Keep only clips that show what was asked; others are drawn again with "
        "another seed.",
    )
    draws: int = Field(4, ge=1, le=64, description="How often a clip may be drawn until accepted.")
    plateau_draws: int = Field(
        0,
        ge=0,
        le=MOST_DRAWS,
        description="Stop when this many last draws hardly raised the quality; 0 for never. Needs "
        "accept_only.",
    )
    plateau_gain: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Quality that these draws must add each, on average: an accepted clip adds 1, "
        "a rejected one 0.",
    )
    limits: Limits = BatchLimits()

    @property
    def judged(self) -> bool:
        """As asked."""
        return self.accept_only

    @property
    def most_draws(self) -> int:
        """As asked, where clips are judged."""
        return self.draws if self.accept_only else 1

    @property
    def plateau(self) -> tuple[int, float]:
        """As asked."""
        return self.plateau_draws, self.plateau_gain

    @property
    def source(self) -> Path:
        """The prompt file."""
        return Path(self.prompt_file or ".").expanduser()

    def left_out(self) -> list[str]:
        """Of a folder of pictures."""
        from video.engines.picture_folder import survey

        return survey(self.source).says() if self.prompt_file and self.source.is_dir() else []


class ScanBatchRequest(BatchRequest):
    """Many scans, from a folder or a BIDS dataset."""

    operation = "super_resolve_mri"
    flow = "restore_scans"

    name: BatchName = NIGHTLY
    scans: DiskPath = Field(
        min_length=1,
        description="A BIDS dataset, whose images are restored into a BIDS derivative "
        "dataset, or a folder of NIfTI files. May hold {date}.",
    )
    subjects: str = Field(
        "", description="Only these subjects, separated by spaces: 01 02; empty for all."
    )
    suffixes: str = Field(
        "T1w",
        pattern=r"^ *[A-Za-z0-9]+( +[A-Za-z0-9]+)* *$",
        description="Of a BIDS dataset, only images of these suffixes, separated by spaces: T1w "
        "T2w FLAIR PDw. The shipped model knows T1w best.",
    )
    entities: str = Field(
        "",
        pattern=r"^ *([A-Za-z]+-[A-Za-z0-9]+( +|$))*$",
        description="Only images with these BIDS entities, separated by spaces: ses-01 run-1; "
        "several values of one are alternatives: ses-01 ses-02. Empty for all.",
    )
    spacing_mm: tuple[float, float, float] = Field(
        (1.0, 1.0, 1.0), description="Largest voxel size wanted along the three axes."
    )
    samples: int = Field(4, ge=1, le=64, description="Restorations to draw of each, 1 to 64.")
    steps: int = Field(2, ge=1, le=50, description="Sampling steps of each restoration, 1 to 50.")
    slice_thickness_mm: float = Field(
        0.0, ge=0, le=20, description="Width of the slice profile; 0 estimates each scan's own."
    )
    slice_gap_mm: float = Field(
        0.0, ge=0, le=20, description="Distance between slices; 0 takes each file's own."
    )
    profile: Literal["gaussian", "box"] = Field(
        "gaussian", description="Shape of a slice along its thickness."
    )
    noise_std: float = Field(
        default=-1.0,
        ge=-1,
        le=0.2,
        description="Noise of the scans, 0 to 0.2; below 0 it is estimated of each.",
    )
    seed: int = Field(
        OWN_SEED,
        ge=OWN_SEED,
        le=2**31 - 1,
        description="Seed of every scan; -1 derives each scan's own from its bytes.",
    )
    model: str = Field("heads-1mm", description="Name of a super-resolution model.")
    adapt_minutes: float = Field(
        0.0,
        ge=0,
        le=60,
        title="Minutes of learning from each scan",
        description="The model first learns from each scan's own plane, for so many minutes of "
        "one core.",
    )
    backend: Backend = "usual"
    limits: Limits = BatchLimits()

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, plain: Any) -> dict[str, Any]:
        """Batches without what came later are told as before there was any, and go on."""
        told = plain(self)
        unsaid = set() if self.adapt_minutes else {"adapt_minutes"}
        unsaid |= {"backend"} if self.backend == "usual" else set()
        return {name: value for name, value in told.items() if name not in unsaid}

    @property
    def source(self) -> Path:
        """The folder of scans."""
        return Path(self.scans).expanduser()

    @property
    def dataset(self) -> Path:
        """Likewise."""
        return self.source

    def survey(self) -> "Survey":
        """Which files of the folder are restored, and why each other one is not."""
        from medical.files.survey import Wanted, survey

        asked = (self.subjects, self.suffixes, self.entities)
        return survey(Path(self.scans), Wanted(*(words.split() for words in asked)))

    def left_out(self) -> list[str]:
        """Of the folder; nothing where it stands on another host."""
        return self.survey().restored_says() if self.source.is_dir() else []


class ShardRequest(Request):
    """One shard of a planned batch; what it holds stands in the batch's folder."""

    project: str = Field(default="default", pattern=NAME, description="Project of the batch.")
    batch: str = Field(pattern=NAME, description="Name of the batch.")
    shard: int = Field(ge=0, description="Number of the shard, from 0.")
    attempt: int = Field(default=1, ge=1, description="How often it was started, with this time.")


BATCHES: dict[str, type[BatchRequest]] = {"video": ClipBatchRequest, "mri": ScanBatchRequest}
"""Kind of batch, as ``batch.json`` says it, to its request."""
