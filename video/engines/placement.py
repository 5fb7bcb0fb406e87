"""How an engine's weights are held and computed: precision, places, tiles, attention and cache.

What is not said is chosen by the memory that there is, from the most exact that fits on. Of
attention and cache nothing is chosen: the libraries' own attention and no cache are exact, and
another one is taken if it is named and a short run shows that it works.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from core.refusal import Refusal

CHOICES: dict[str, tuple[str, ...]] = {
    "dtype": ("float32", "bfloat16"),
    "offload": ("none", "model", "leaf"),
    "quantization": ("none", "float8"),
    "tiling": ("off", "on"),
    "attention": (),
    "cache": ("none", "first-block", "pyramid", "faster", "taylor"),
}
"""What may be said of each; of attention any name that diffusers knows."""
NO_CACHE = "none"
DENOISERS = ("transformer", "transformer_2", "unet")
"""Parts that are asked each step."""
ROOM = 1.25  # what is asked of a machine beside what was counted
BASE_GB, WORKING = 1.2, 1.3  # libraries, and what a forward takes beside its weights, times those
BYTES_OF_PIXEL = 400.0  # while decoding, in float32
TILE, BYTES_OF_TILED = 256 * 256, 40.0  # pixels of a tile; what is held of each pixel beside it
WIDTHS = {"float32": 4, "bfloat16": 2, "float8": 1}
GB = 1e9


@dataclass(frozen=True)
class Placement:
    """How weights are held and computed.

    >>> Placement("bfloat16", tiling="on").told()
    'dtype=bfloat16, tiling=on'

    Attributes:
        dtype: Of the arithmetic.
        offload: What waits in main memory until a GPU needs it: nothing, whole parts, or layers.
        quantization: How the denoiser's weights are kept until they are needed.
        tiling: Whether frames are decoded in tiles.
        attention: Diffusers' name of it.
        cache: What of the denoiser's last step is taken again.
    """

    dtype: str
    offload: str = "none"
    quantization: str = "none"
    tiling: str = "off"
    attention: str = "native"
    cache: str = NO_CACHE

    def told(self) -> str:
        """What of it is not the usual, and the precision."""
        usual = Placement(self.dtype)
        said = {k: v for k, v in asdict(self).items() if v != getattr(usual, k) or k == "dtype"}
        return ", ".join(f"{name}={value}" for name, value in said.items())

    def plain(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)


@dataclass(frozen=True)
class Weights:
    """How many numbers an engine's parts hold.

    Attributes:
        values: Of all parts.
        denoiser: Of the networks that are asked each step.
        largest: Of the largest part.
    """

    values: int
    denoiser: int
    largest: int

    @classmethod
    def of(cls, parts: Mapping[str, int]) -> "Weights":
        """Of how many each part holds, by its name."""
        asked = sum(parts.get(name, 0) for name in DENOISERS)
        return cls(sum(parts.values()), asked, max(parts.values(), default=0))


@dataclass(frozen=True)
class Room:
    """Memory that there is, in 1e9 bytes.

    Attributes:
        main: Main memory.
        gpu: Of the GPU that draws; None where the CPU does.
    """

    main: float
    gpu: float | None = None


def read_placement(text: str) -> dict[str, str]:
    """What a text such as ``dtype=bfloat16,tiling=on`` says.

    >>> read_placement("dtype=bfloat16, tiling=on")
    {'dtype': 'bfloat16', 'tiling': 'on'}

    Raises:
        Refusal: A word is none of the choices.
    """
    said: dict[str, str] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in word.partition("="))
        if name not in CHOICES or name in said:
            raise Refusal(
                f"placement={word[:60]}: it says once each of {', '.join(CHOICES)}; such as "
                "dtype=bfloat16,tiling=on."
            )
        known = CHOICES[name]
        if (known and value not in known) or not value.replace("_", "").replace("-", "").isalnum():
            names = ", ".join(known) or "a name of diffusers, such as native"
            raise Refusal(f"placement={word[:60]}: {name} is one of {names}; choose one.")
        said[name] = value
    return said


def place(
    said: Mapping[str, str], weights: Weights, frames: int, pixels: int, room: Room
) -> Placement:
    """What is said, and for the rest the most exact that fits; the least where nothing does.

    Args:
        said: By ``read_placement``.
        weights: Of the engine.
        frames: Of a clip.
        pixels: Of all its frames.
        room: What there is.

    Raises:
        Refusal: What is said needs a GPU, and none is there.
    """
    if room.gpu is None and said.get("offload", "none") != "none":
        raise Refusal(
            f"placement=offload={said['offload']}: weights that wait in main memory are for a "
            "GPU, and the CPU draws here; leave offload out."
        )
    known = [field.name for field in fields(Placement)]
    assert set(said) <= set(known)
    found = Placement("float32")
    for found in (replace(each, **said) for each in (_ON_GPU if room.gpu else _ON_CPU)):
        wanted = [(main_gb(found, weights, frames, pixels, room), room.main)]
        if room.gpu is not None:
            wanted.append((gpu_gb(found, weights, frames, pixels), room.gpu))
        if all(ROOM * need <= there for need, there in wanted):
            return found
    return found


_HALF = Placement("bfloat16")
_ON_CPU = (
    Placement("float32"),
    Placement("float32", tiling="on"),
    _HALF,
    replace(_HALF, tiling="on"),
    replace(_HALF, tiling="on", quantization="float8"),
)
_ON_GPU = (
    _HALF,
    replace(_HALF, tiling="on"),
    replace(_HALF, tiling="on", offload="model"),
    replace(_HALF, tiling="on", offload="leaf"),
    replace(_HALF, tiling="on", offload="leaf", quantization="float8"),
)
"""From the most exact and fastest to the smallest."""
SMALLEST = _ON_GPU[-2]
"""What of a GPU's memory is asked at least."""


def main_gb(
    how: Placement, weights: Weights, frames: int, pixels: int, room: Room | None = None
) -> float:
    """Main memory that a clip takes, in 1e9 bytes; where a GPU draws, what is kept for it."""
    held = _held(how, weights)
    if room is not None and room.gpu is not None:
        return BASE_GB + held / GB
    return BASE_GB + (WORKING * held + _decoding(how, frames, pixels)) / GB


def gpu_gb(how: Placement, weights: Weights, frames: int, pixels: int) -> float:
    """Memory of a GPU that a clip takes, in 1e9 bytes."""
    held, width = _held(how, weights), WIDTHS[how.dtype]
    beside = (WORKING - 1) * width * weights.denoiser
    if how.offload == "model":
        held = min(held, width * weights.largest)
    if how.offload == "leaf":
        held = 0
    return BASE_GB + (held + max(beside, _decoding(how, frames, pixels))) / GB


def _held(how: Placement, weights: Weights) -> float:
    width = WIDTHS[how.dtype]
    kept = WIDTHS["float8"] if how.quantization == "float8" else width
    return width * (weights.values - weights.denoiser) + kept * weights.denoiser


def _decoding(how: Placement, frames: int, pixels: int) -> float:
    each = BYTES_OF_PIXEL * WIDTHS[how.dtype] / WIDTHS["float32"]
    if how.tiling == "off":
        return each * pixels
    return each * min(pixels, max(1, frames) * TILE) + BYTES_OF_TILED * pixels
