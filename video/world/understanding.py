"""What of a prompt the procedural world can show: read before anything is drawn.

Where `video.world.prompts` refuses a sentence as a whole, this reads on: slips are corrected and
said, words without a meaning here are named, and what cannot be shown is refused by its name.
"""

from dataclasses import dataclass
from typing import Any, Final

from core.refusal import Refusal
from video.world.prompts import EXAMPLE, Claims, parse_caption
from video.world.scenes import BACKGROUNDS, COLORS, MOTIONS, PLACES, SHAPES, SIZES, SPEEDS
from video.world.spelling import corrected
from video.world.tolerant_reader import TolerantReader
from video.world.words import words_of

VOCABULARY: Final[dict[str, tuple[str, ...]]] = {
    "shapes": SHAPES,
    "colors": tuple(COLORS),
    "sizes": tuple(SIZES),
    "motions": MOTIONS,
    "speeds": SPEEDS,
    "backgrounds": tuple(BACKGROUNDS),
    "places": PLACES,
    "counts": ("one", "two", "three"),
}
"""What the procedural world has."""


@dataclass(frozen=True)
class Understanding:
    """How a prompt was read.

    Attributes:
        typed: As it came.
        prompt: As it is drawn: as it came unless something was corrected.
        claims: What it states of the clip, as far as it was understood.
        corrections: (as typed, as read).
        not_understood: Words that are left out, in order.
        refused: What cannot be shown, each with its name and the rule; empty where all can.
    """

    typed: str
    prompt: str
    claims: Claims
    corrections: tuple[tuple[str, str], ...] = ()
    not_understood: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every word was understood and can be shown."""
        return not self.not_understood and not self.refused

    def remarks(self) -> list[str]:
        """What a person should know of the reading, one line each."""
        lines = [f"read as: {old} -> {new}" for old, new in self.corrections]
        if self.not_understood:
            lines.append(f"not understood: {', '.join(self.not_understood)}")
        return lines

    def facts(self) -> dict[str, Any]:
        """The same for a record; nothing where there is nothing to say."""
        facts: dict[str, Any] = {}
        if self.corrections:
            read = [f"{old} -> {new}" for old, new in self.corrections]
            facts |= {"prompt_as_typed": self.typed, "read_as": read}
        if self.not_understood:
            facts["not_understood"] = list(self.not_understood)
        return facts


def understand(prompt: str) -> Understanding:
    """How a prompt is read.

    >>> understand("two reed circels and a cat").remarks()
    ['read as: reed -> red', 'read as: circels -> circles', 'not understood: cat']
    """
    try:
        return Understanding(prompt, prompt, parse_caption(prompt))
    except Refusal:
        reader, corrections = _read(prompt, frozenset())
    idle = frozenset(old for old, new in corrections if reader.misses(new))
    if idle:
        reader, corrections = _read(prompt, idle)
    return Understanding(
        prompt,
        reader.text,
        reader.claims(),
        corrections,
        reader.unknown(),
        tuple(dict.fromkeys(reader.refused)),
    )


def _read(prompt: str, kept: frozenset[str]) -> tuple[TolerantReader, tuple[tuple[str, str], ...]]:
    """A reader that has read all, and what was corrected; words of ``kept`` are left alone."""
    text, corrections = corrected(prompt, kept)
    reader = TolerantReader(text, words_of(text))
    reader.listen()
    return reader, corrections


def check_servable(understanding: Understanding, model: str, *, strict: bool = False) -> None:
    """Refuse a prompt that a model of the procedural world cannot show.

    Args:
        understanding: Of the prompt.
        model: Its name, for the message.
        strict: Refuse also where a word was not understood.

    Raises:
        Refusal: Names what cannot be shown, what the model knows, and the way out.
    """
    reasons = [*understanding.refused]
    if understanding.not_understood and (strict or reasons):
        reasons.append(f"not understood: {', '.join(understanding.not_understood)}")
    if not reasons:
        return
    raise Refusal(
        f"prompt {understanding.typed!r}: {'; '.join(reasons)}; the model {model} knows one to "
        f"three things of the shapes {_listed('shapes')} in the colors {_listed('colors')} (all "
        f"its words: `lamina video vocabulary`); write such as {EXAMPLE}, or choose another model "
        "or engine for other subjects."
    )


def statements(claims: Claims, *, counts: bool = True) -> list[str]:
    """Claims in words, a line for each thing, one for the place and one for the background.

    Args:
        claims: What was understood.
        counts: Whether to say how many; where a word is refused, another number stands in its
            place.
    """
    lines = []
    for thing in claims.things:
        told = {name: said for name, said in vars(thing).items() if said}
        if not counts:
            told.pop("count", None)
        if told:
            lines.append("understood: " + ", ".join(f"{name} {told[name]}" for name in told))
    if claims.place:
        lines.append(f"understood: the first is {claims.place} the second")
    if claims.background:
        lines.append(f"understood: background {claims.background}")
    return lines


def _listed(kind: str) -> str:
    return ", ".join(VOCABULARY[kind])
