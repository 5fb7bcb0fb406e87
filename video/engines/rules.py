"""What an engine takes: frames, sizes, steps, words; off it a request is refused, never rounded.

Diffusers makes 17, 13 or 15 frames of 16 without a word. The frames that a decoder gives for 1, 2,
3 latent frames rise by the same number every ``period`` latent frames, so the first few tell all.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.refusal import Refusal

NEAR = 4096


@dataclass(frozen=True)
class Rules:
    """What requests an engine takes.

    Attributes:
        frames: How many frames 1, 2, 3, ... latent frames give; empty where any number goes.
        period: After so many latent frames their number rises evenly.
        packing: Frames to a latent frame, as the pipeline divides.
        side: Width and height are multiples of it.
        least_steps: Steps at least.
        tokens: Of a prompt at most; 0 where nobody knows.
    """

    frames: tuple[int, ...] = ()
    period: int = 1
    packing: int = 1
    side: int = 8
    least_steps: int = 1
    tokens: int = 0

    def of_latents(self, latents: int) -> int:
        """How many frames so many latent frames give."""
        rise = self.frames[self.period] - self.frames[0]
        turns, place = divmod(latents - 1, self.period)
        return self.frames[place] + turns * rise

    def latents_of(self, frames: int) -> int:
        """Latent frames that the pipeline takes for so many."""
        return (frames - 1) // self.packing + 1

    def given(self, frames: int) -> int:
        """How many frames the pipeline gives when asked for so many."""
        return self.of_latents(self.latents_of(frames)) if self.frames else frames

    def check(self, name: str, frames: int, height: int, width: int, steps: int) -> None:
        """Refuse what is off the rule, with the nearest lawful values.

        Args:
            name: Of the engine.
            frames: Of the clip.
            height: In pixels.
            width: In pixels.
            steps: Of sampling.

        Raises:
            Refusal: With the field.
        """
        if self.given(frames) != frames:
            raise Refusal(
                f"num_frames={frames}: the engine {name} packs up to {self.packing} frames into 1 "
                f"and would give {self.given(frames)}; try {_either(self._near_frames(frames))}."
            )
        for field, side in (("height", height), ("width", width)):
            if side % self.side:
                raise Refusal(
                    f"{field}={side}: {field} must be a multiple of {self.side} for the engine "
                    f"{name}; try {_either(self._near_sides(side))}."
                )
        if steps < self.least_steps:
            raise Refusal(
                f"steps={steps}: the engine {name} takes {self.least_steps} steps or more; try "
                f"{self.least_steps}."
            )

    def _near_frames(self, frames: int) -> list[int]:
        below = next((n for n in range(frames - 1, 0, -1) if self.given(n) == n), None)
        above = next(n for n in range(frames + 1, frames + NEAR) if self.given(n) == n)
        return [n for n in (below, above) if n is not None]

    def _near_sides(self, side: int) -> list[int]:
        below = side // self.side * self.side
        return [n for n in (below, below + self.side) if n > 0]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of_plain(cls, said: dict[str, Any]) -> "Rules":
        """What ``plain`` gave."""
        told: dict[str, Any] = {**said, "frames": tuple(said["frames"])}
        return cls(**told)


def periodic(frames: Sequence[int]) -> int:
    """After how many latent frames their frames rise evenly: 1 for 1, 5, 9; 2 for 1, 8, 9, 16.

    Raises:
        ValueError: By no rule.
    """
    for period in range(1, len(frames) // 2 + 1):
        rises = {frames[i + period] - frames[i] for i in range(len(frames) - period)}
        if len(rises) == 1 and min(rises) > 0:
            return period
    raise ValueError(f"{frames} frames of 1, 2, 3, ... latent frames rise by no rule")


def _either(values: Sequence[int]) -> str:
    return " or ".join(map(str, values))
