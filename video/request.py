"""What a person may ask for: the form, the command line and the records share these models."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

from core.families.names import FamilyName
from core.refusal import Refusal
from core.request import DiskPath, OnDisk, Request
from core.training.plan import check_parts

SamplerName = Literal["flow_map", "euler", "heun", "dpmpp_2m"]


Share = Annotated[float, Field(ge=0, le=1)]
LAYOUT_STEPS = 4000
WORLD_WORDS = (
    "The shipped model shows one to three things, each a circle, square, triangle, star, cross or "
    "ring; red, green, blue, yellow, magenta, cyan, white or orange; small, medium or large; that "
    "move left, right, up, down or aslant, bounce, orbit, spin, grow, shrink or stay, at a slow, "
    "normal or fast pace; on a black, gray, navy or dark green background."
)
COUNT_SHARES = (0.8, 0.13, 0.07)
"""Share of training scenes with one, two and three objects."""


USUAL = {
    "num_frames": (16, 1, 128),
    "fps": (8.0, 0.1, 120),
    "height": (64, 16, 256),
    "width": (64, 16, 256),
    "steps": (4, 1, 128),
    "guidance": (2.0, 1, 8),
}
"""What our own model usually makes of a field that is left at 0, and its least and most."""
OWN_ONLY = {"sampler": "flow_map", "model": "scenes-64"}
EMPTY = 0
OWN = "own"
LONGEST_PROMPT = 400


def _lawful(value: Any, info: Any) -> Any:
    """The value, or that which our own model usually takes, whose rules are held against it.

    Other engines have their own, which stand in their folders and are looked at where those are.
    """
    name = str(info.field_name)
    if info.data.get("engine"):
        if name in OWN_ONLY and value != OWN_ONLY[name]:
            raise Refusal(
                f"{name}={value} with engine={info.data['engine']}: {name} is of our own model "
                f"alone, and engines bring theirs; leave {name} out."
            )
        return value
    if name not in USUAL:
        return value
    usual, least, most = USUAL[name]
    if value == EMPTY:
        return usual
    if not least <= value <= most:
        word, limit = ("least", least) if value < least else ("most", most)
        raise Refusal(f"{name}={value}: {name} must be at {word} {limit}; try {limit}.")
    return value


def _short_enough(engine: str, info: Any) -> str:
    """The engine's name, none for our own, which reads no more of a prompt than so much."""
    engine = "" if engine == OWN else engine
    if not engine and len(prompt := str(info.data.get("prompt", ""))) > LONGEST_PROMPT:
        raise Refusal(
            f"prompt={prompt[:60]}...: prompt must have at most {LONGEST_PROMPT} characters; "
            "shorten it."
        )
    return engine


_RULE = AfterValidator(_lawful)
NumFrames = Annotated[
    int,
    Field(
        ge=0,
        le=4096,
        description="Frames of the clip; 0 for as many as the engine usually makes. The shipped "
        "model makes 16, and 1 to 128 when asked; it knows clips of 16 frames of 64 x 64, others "
        "it paints without a layout, and worse.",
    ),
    _RULE,
]
FPS = Annotated[
    float,
    Field(
        ge=0,
        le=120,
        description="Frames per second, 0.1 to 120; 0 for the engine's. Shipped model: 8.",
    ),
    _RULE,
]
Side = Annotated[
    int,
    Field(
        ge=0,
        le=8192,
        description="In pixels; 0 for the engine's usual. Shipped model: 64, and 16 to 256.",
    ),
    _RULE,
]
Steps = Annotated[
    int,
    Field(
        ge=0,
        le=1000,
        description="Sampling steps; 0 for the engine's usual. Shipped model: 4, and 1 to 128.",
    ),
    _RULE,
]
Guidance = Annotated[
    float,
    Field(
        ge=0,
        le=100,
        description="How strictly the prompt is followed; 0 for the engine's usual. Shipped "
        "model: 2, and 1 to 8.",
    ),
    _RULE,
]
Sampler = Annotated[
    SamplerName,
    Field(
        description="flow_map is usual: it jumps where the model was trained to, and is euler "
        "where it was not. heun or dpmpp_2m for 10 steps and more.",
    ),
    _RULE,
]
ModelName = Annotated[str, Field(description="Name of an installed video model."), _RULE]
EngineName = Annotated[
    str,
    OnDisk(names=True),
    AfterValidator(_short_enough),
    Field(
        max_length=400,
        description="What draws: empty or own for our own model, or a name that `lamina engines "
        "list` shows, or a folder of diffusers with model_index.json, written with a slash.",
    ),
]


class EngineRequest(Request):
    """What requests have in common that may name an engine; fields left at 0 are the engine's."""

    model_config = ConfigDict(validate_default=True)

    @model_serializer(mode="wrap")
    def _without_what_does_not_apply(self, plain: Any) -> dict[str, Any]:
        """Without a field of engines where none is named, and without those of our own else."""
        told = plain(self)
        left_out = OWN_ONLY if getattr(self, "engine", "") else ENGINES_ONLY
        return {name: value for name, value in told.items() if name not in left_out}


ENGINES_ONLY = frozenset({"engine"})


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
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same clip.")
    model: ModelName = "scenes-64"


class VideoTrainingRequest(Request):
    """One training run of the video model, on the procedural world or on your own clips."""

    name: str = Field(
        "my-scenes",
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="Name of the new model: lower case letters, digits and dashes.",
    )
    preset: Literal["tiny", "base"] = Field("base", description="Size of the network.")
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
    steps: int = Field(6000, ge=1, description="Optimizer steps of flow matching.")
    jump_steps: int = Field(
        1500, ge=0, description="Further steps on average velocities, for few-step sampling."
    )
    batch_size: int = Field(
        32, ge=1, le=4096, description="Clips per step, shared out to GPUs or CPU cores."
    )
    accumulation: int = Field(
        1,
        ge=1,
        le=256,
        description="Compute each step in so many equal parts, one after the other: less memory "
        "for the same batch.",
    )
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate.")
    minutes: float = Field(
        0.0,
        ge=0,
        description="Time budget: where the steps would take longer, fewer are taken and the "
        "model is written within it; 0 for none.",
    )
    compile: bool = Field(
        False,
        description="Compile the network first: some minutes at the start for faster steps. "
        "Needs a CUDA device.",
    )
    seed: int = Field(0, ge=0, description="The same seed gives the same weights on a CPU.")

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "VideoTrainingRequest":
        check_parts(self.batch_size, self.accumulation)
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
        none = self.clips or self.preset == "tiny"
        if none and self.layout_steps != LAYOUT_STEPS:
            raise Refusal(
                f"layout_steps={self.layout_steps} with clips={self.clips!r}, "
                f"preset={self.preset!r}: layouts are learned of the procedural world and by the "
                "preset base alone; leave layout_steps out."
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
