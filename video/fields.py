"""The fields of clip requests that single runs and batches share, and what holds for them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)

from core.refusal import Refusal
from core.request import Backend, DiskPath, OnDisk, Request
from video.engines.placement import read_placement

SamplerName = Literal["flow_map", "euler", "heun", "dpmpp_2m"]

WORLD_WORDS = (
    "The shipped model shows one to three things, each a circle, square, triangle, star, cross or "
    "ring; red, green, blue, yellow, magenta, cyan, white or orange; small, medium or large; that "
    "move left, right, up, down or aslant, bounce, orbit, spin, grow, shrink or stay, at a slow, "
    "normal or fast pace; on a black, gray, navy or dark green background."
)

USUAL = {
    "num_frames": (16, 1, 128),
    "fps": (8.0, 0.1, 120),
    "height": (64, 16, 256),
    "width": (64, 16, 256),
    "steps": (4, 1, 128),
    "guidance": (2.0, 1, 8),
}
"""What our own model usually makes of a field that is left at 0, and its least and most."""
ENGINES_ONLY = {"engine": "", "negative": "", "first": "", "last": "", "lora": "",
                "lora_scale": 1.0, "placement": ""}  # fmt: skip
"""Fields that engines alone know, and what leaves them out; our own takes LoRA files."""
ADAPTERS = ("lora", "lora_scale")
OWN_ONLY = {"sampler": "flow_map", "model": "scenes-64", "backend": "usual"}
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
OwnBackend = Annotated[Backend, _RULE]
ModelName = Annotated[str, Field(description="Name of an installed video model."), _RULE]
EngineName = Annotated[
    str,
    OnDisk(names=True),
    AfterValidator(_short_enough),
    Field(
        max_length=400,
        description="What draws: empty or own for our own model, or a name that `lamina engines "
        "list` shows, or a folder of diffusers with model_index.json, written with a slash, or "
        "the address of a server behind /v1/videos: http://host:port/model.",
    ),
]

Negative = Annotated[
    str,
    Field(
        max_length=4000,
        description="What the clip should not show, for our own model while it lays out a clip, "
        "and engines that can be led away from it; empty for what the engine usually takes.",
    ),
]


def _placed(text: str) -> str:
    """The same text, which can be read."""
    read_placement(text)
    return text


EnginePlacement = Annotated[
    str,
    AfterValidator(_placed),
    Field(
        max_length=200,
        description="How an engine's weights are held and computed, such as dtype=bfloat16,"
        "tiling=on; also offload, quantization, attention and cache. Empty to choose by memory.",
    ),
]


Count = Annotated[
    int,
    Field(
        ge=1,
        le=64,
        description="Clips of each prompt; the first has the seed that a single one would have, "
        "and those of the others follow from it. A column `count` says it row by row.",
    ),
]

Adapter = Annotated[
    DiskPath,
    Field(
        max_length=400,
        description="LoRA file in safetensors, as lamina train writes one for our own model, or "
        "of an engine that takes one; empty for none.",
    ),
]
AdapterScale = Annotated[
    float, Field(ge=-4, le=4, description="How strongly the LoRA file counts.")
]

DrawnBoxes = Annotated[
    DiskPath,
    Field(
        max_length=400,
        description="JSON file with boxes that say where each thing of the prompt is, frame by "
        "frame, for our own model and its usual size; empty to let the model lay it out.",
    ),
]

Unmarked = Annotated[
    bool,
    Field(
        description="Leave the watermark out of the pixels, which clips of at least 192 pixels on "
        "each side carry: a number that says in any copy which record the clip belongs to."
    ),
]

Picture = Annotated[
    bool,
    Field(
        description="One picture (.png, .jpg or a still .webp) in place of a clip: an engine "
        "draws one frame, and of our own model it is the middle frame of the clip it would draw."
    ),
]


class EngineRequest(Request):
    """What requests have in common that may name an engine; fields left at 0 are the engine's."""

    model_config = ConfigDict(validate_default=True)
    newer: ClassVar[tuple[str, ...]] = ("unmarked", "count")
    """Fields that are left out at rest, so that requests are what they were before them."""
    ours: ClassVar[tuple[str, ...]] = ()
    """Fields of engines that our own model takes as well."""

    @model_serializer(mode="wrap")
    def _without_what_does_not_apply(self, plain: Any) -> dict[str, Any]:
        """Without a field of engines where none is named, of our own else, or left at its rest."""
        told = plain(self)
        for name in self.newer:
            if not told.get(name) or told[name] == type(self).model_fields[name].default:
                told.pop(name, None)
        if not told.get("control"):
            told.pop("control_scale", None)
        if getattr(self, "engine", ""):
            unsaid = {name for name, empty in ENGINES_ONLY.items() if told.get(name) == empty}
            left_out = {*OWN_ONLY, *unsaid}
        else:
            shown = {name for name in self.ours if told.get(name)}
            left_out = {*ENGINES_ONLY} - shown - ({*ADAPTERS} if told.get("lora") else set())
        return {name: value for name, value in told.items() if name not in left_out}

    @model_validator(mode="after")
    def _engines_fields_have_an_engine(self) -> "EngineRequest":
        kept = (*self.ours, *(ADAPTERS if getattr(self, "lora", "") else ()))
        for name, empty in ENGINES_ONLY.items():
            value = getattr(self, name, empty)
            if name in kept:
                continue
            if value != empty and not getattr(self, "engine", ""):
                raise Refusal(
                    f"{name}={str(value)[:60]}: our own model knows no {name}: an engine may; "
                    f"name one in engine, or leave {name} out."
                )
        return self
