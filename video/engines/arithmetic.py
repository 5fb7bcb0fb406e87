"""How much arithmetic a clip of an engine is, from its skeleton, and how fast this host computes.

The networks are gone through once without weights; what depends on a clip's size is a formula of
few numbers. The host's speed is measured when an engine is first loaded, by products of matrices.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from video.engines.places import known_folder

SLOW = {"cpu": 2e10, "cuda": 1e13}  # of one core, of a GPU: taken until a speed is measured
SHARE = 0.4  # of the speed of products that whole networks reach
STEP_S = 0.02  # that a step takes whatever its size
WORDS = 256  # tokens of a prompt that a text encoder reads, where nobody says


@dataclass(frozen=True)
class Arithmetic:
    """What a clip's arithmetic follows from.

    >>> Arithmetic(values=1e9, attention=1e5).of_step(tokens=1000)
    2400000000000.0

    Attributes:
        values: Weights that each token of the denoiser passes.
        attention: Width of the attention among all tokens, over its layers.
        decoding: Operations to decode a pixel.
        text: Weights of the text encoders.
        side: Pixels that a token covers on a side.
        frames: Latent frames that it covers.
    """

    values: float = 0.0
    attention: float = 0.0
    decoding: float = 0.0
    text: float = 0.0
    side: int = 1
    frames: int = 1

    def tokens(self, latents: int, height: int, width: int) -> int:
        """Of a clip of so many latent frames."""
        return math.ceil(latents / self.frames) * (height // self.side) * (width // self.side)

    def of_step(self, tokens: int) -> float:
        """Operations of one pass of the denoiser."""
        return 2.0 * self.values * tokens + 4.0 * self.attention * tokens**2

    def of_clip(
        self, latents: int, shape: tuple[int, int, int], steps: int, *, passes: int, words: int
    ) -> float:
        """Operations of a whole clip.

        Args:
            latents: Latent frames.
            shape: Frames, height, width.
            steps: Of sampling.
            passes: Of the denoiser in a step: two where it is led away from something.
            words: Tokens of a prompt; 0 where nobody knows.
        """
        frames, height, width = shape
        walked = steps * passes * self.of_step(self.tokens(latents, height, width))
        read = 2.0 * self.text * (words or WORDS) * passes
        return walked + read + self.decoding * frames * height * width


def speed_of(device: str) -> float:
    """Operations in a second that networks reach on this host: of one core, or of a GPU."""
    return _read(device, _kept(device))


@cache
def _read(device: str, path: Path) -> float:
    """A file is read once by a process."""
    try:
        return SHARE * float(json.loads(path.read_text())["products_a_second"])
    except (OSError, ValueError, KeyError, TypeError):
        return SLOW[device]


def keep_speed(device: str, products_a_second: float) -> None:
    """Keep what was measured here.

    Args:
        device: ``cpu`` or ``cuda``.
        products_a_second: Operations of products of matrices, by one core or one GPU.
    """
    from core.records import atomic_path

    path = _kept(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps({"products_a_second": products_a_second}))


def speed_known(device: str) -> bool:
    """Whether it was measured here."""
    return _kept(device).is_file()


def _kept(device: str) -> Path:
    return known_folder() / f"speed-{device}.json"
