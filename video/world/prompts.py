"""Sentences to claims: reads a caption, or a user's prompt in the same grammar, back.

The result says only what the sentence states; everything else is None and free. It is what the
oracle scores a clip against when there is no scene, only words.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Final

from core.refusal import Refusal
from video.world import wording
from video.world.scenes import Scene
from video.world.wording import FORMS, inflect, plural

FILLERS: Final = ("a video of", "a clip of", "there is", "there are")
EXAMPLE: Final = "'two small red circles move left slowly on a gray background'"


@dataclass(frozen=True)
class ThingClaim:
    """What a sentence states of one thing or group; None where it says nothing."""

    count: int
    shape: str | None = None
    color: str | None = None
    size: str | None = None
    motion: str | None = None
    speed: str | None = None


@dataclass(frozen=True)
class Claims:
    """What a sentence states of a clip.

    Attributes:
        things: in the order of the sentence.
        place: where the first thing is seen from the second, or None.
        background: its name, or None.
    """

    things: tuple[ThingClaim, ...]
    place: str | None = None
    background: str | None = None


def claims_of(scene: Scene) -> Claims:
    """Everything that can be claimed of a scene."""
    things = tuple(
        ThingClaim(
            count=thing.count,
            shape=thing.shape,
            color=thing.color,
            size=None if thing.motion in ("grow", "shrink") else thing.size,
            motion=thing.motion,
            speed=thing.speed,
        )
        for thing in scene.objects
    )
    place = scene.place(0, 1) if len(things) == 2 else None
    return Claims(things=things, place=place, background=scene.background)


def parse_caption(text: str) -> Claims:
    """What a sentence of the grammar states.

    Raises:
        Refusal: where the sentence has a word or an order the grammar does not know.
    """
    reader = Reader(text)
    for kind, value in _tokens(text):
        getattr(reader, f"read_{kind}")(value)
    return reader.claims()


def _refusal(text: str, rule: str) -> Refusal:
    return Refusal(f"prompt {text!r}: {rule}; write such as {EXAMPLE}.")


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, value) of each phrase, the longest known phrase first."""
    words = re.findall(r"[a-z]+|\d+|[^\sa-z\d]", text.lower().replace("-", " "))
    known, longest = lexicon()
    found, at = [], 0
    while at < len(words):
        for length in range(longest, 0, -1):
            token = known.get(tuple(words[at : at + length]))
            if token is not None:
                found.append(token)
                at += min(length, len(words) - at)
                break
        else:
            raise _refusal(text, f"the grammar of the scenes does not know {words[at]!r} here")
    return found


@cache
def lexicon() -> tuple[dict[tuple[str, ...], tuple[str, str]], int]:
    """Every phrase as words -> (kind, value), and the length of the longest."""
    entries = _small_words() | _thing_words() | _verb_words()
    known = {tuple(phrase.replace("-", " ").split()): token for phrase, token in entries.items()}
    return known, max(map(len, known))


def _small_words() -> dict[str, tuple[str, str]]:
    """Fillers, breaks, numbers, paces, relations and whole background phrases."""
    entries = {"the": ("number", "1"), **dict.fromkeys(("both", "all"), ("all", ""))}
    entries |= dict.fromkeys(FILLERS, ("filler", ""))
    entries |= dict.fromkeys((",", ";", ".", "and", "while"), ("break", ""))
    for word, number in wording.NUMBERS.items():
        entries |= dict.fromkeys((word, str(number)), ("number", str(number)))
    for kind, table in (("pace", wording.PACES), ("relation", wording.RELATIONS)):
        for value, said in table.items():
            entries |= dict.fromkeys(said, (kind, value))
    for name, grounds in wording.GROUNDS.items():
        phrases = product(("on", "against", "over"), grounds, ("background", "backdrop"))
        entries |= {f"{at} a {hue} {word}": ("background", name) for at, hue, word in phrases}
    return entries


def _thing_words() -> dict[str, tuple[str, str]]:
    """Sizes, colors, nouns and `the red one`."""
    entries: dict[str, tuple[str, str]] = {}
    for size, adjectives in wording.ADJECTIVES.items():
        entries |= dict.fromkeys(adjectives, ("size", size))
    for color, hues in wording.HUES.items():
        entries |= dict.fromkeys(hues, ("color", color))
        entries |= {f"the {hue} one": ("subject", color) for hue in hues}
    for shape, nouns in wording.NOUNS.items():
        entries |= dict.fromkeys(nouns, ("noun", f"{shape}|singular"))
        entries |= dict.fromkeys(map(plural, nouns), ("noun", f"{shape}|plural"))
    return entries


def _verb_words() -> dict[str, tuple[str, str]]:
    """Verbs in every form, and the ways that follow them."""
    entries: dict[str, tuple[str, str]] = {}
    for motion, ways in wording.WAYS.items():
        entries |= dict.fromkeys(ways, ("way", motion))
    for form in FORMS:
        entries |= {inflect(verb, form): ("travel", form) for verb in wording.TRAVEL}
        for motion, deeds in wording.DEEDS.items():
            entries |= {inflect(deed, form): ("deed", f"{motion}|{form}") for deed in deeds}
    return entries


@dataclass
class _Draft:
    """A thing while its sentence is being read."""

    count: int
    shape: str | None
    color: str | None
    size: str | None
    motion: str | None = None
    speed: str | None = None


@dataclass
class Reader:
    """The state of reading one sentence, phrase by phrase."""

    text: str
    things: list[_Draft] = field(default_factory=list)
    number: int | None = None
    size: str | None = None
    color: str | None = None
    waiting: list[_Draft] = field(default_factory=list)
    """Things named since the last verb."""
    subjects: list[_Draft] = field(default_factory=list)
    """Things the last verb spoke of."""
    chosen: list[_Draft] = field(default_factory=list)
    """Things named by `both`, `all` or `the red one` for the next verb."""
    traveling: bool = False
    pace: str | None = None
    place: str | None = None
    background: str | None = None

    def read_filler(self, _: str) -> None:
        """Words that state nothing."""

    def read_break(self, _: str) -> None:
        """A comma or a joining word ends what the last verb spoke of."""
        self.subjects = []

    def read_number(self, value: str) -> None:
        """A count or an article."""
        if self.number is not None:
            raise _refusal(self.text, "a thing takes one number")
        self.number = int(value)

    def read_size(self, value: str) -> None:
        """A size before its noun."""
        self.size = self._only(self.size, value, "thing")

    def read_color(self, value: str) -> None:
        """A color before its noun."""
        self.color = self._only(self.color, value, "thing")

    def read_noun(self, value: str) -> None:
        """A noun completes a thing."""
        shape, form = value.split("|")
        number = self.number if self.number is not None else 1
        if (number > 1) != (form == "plural"):
            raise _refusal(self.text, f"the number {number} and its noun do not agree")
        thing = _Draft(number, shape or None, self.color, self.size)
        self.things.append(thing)
        self.waiting.append(thing)
        self.number = self.size = self.color = None
        self.subjects = []

    def read_relation(self, value: str) -> None:
        """A relative place, between the first thing and the second."""
        if len(self.things) != 1 or self.place:
            raise _refusal(self.text, f"{value!r} stands between the first and the second thing")
        self.place = value

    def read_all(self, _: str) -> None:
        """`both` or `all`: the next verb speaks of everything."""
        self.chosen = list(self.things)

    def read_subject(self, color: str) -> None:
        """`the red one`: the next verb speaks of the thing of that color."""
        self.chosen = [thing for thing in self.things if thing.color == color]
        if len(self.chosen) != 1:
            raise _refusal(self.text, f"'the {color} one' must mean exactly one thing")

    def read_pace(self, value: str) -> None:
        """A speed, before, inside or after its verb phrase."""
        if not self.subjects:
            self.pace = self._only(self.pace, value, "verb")
        for thing in self.subjects:
            thing.speed = self._only(thing.speed, value, "verb")

    def read_travel(self, form: str) -> None:
        """A verb that needs a way."""
        if self.traveling:
            raise _refusal(self.text, "a verb such as 'moves' needs a way such as 'left'")
        self.subjects = []
        self._choose(form)
        self.traveling = True

    def read_way(self, motion: str) -> None:
        """A way to go, after its verb."""
        if not self.traveling:
            raise _refusal(self.text, f"the way {motion!r} needs a verb such as 'moves' before it")
        self.traveling = False
        self._move(motion)

    def read_deed(self, value: str) -> None:
        """A verb phrase that says the whole motion."""
        motion, form = value.split("|")
        self._choose(form)
        self._move(motion)

    def read_background(self, value: str) -> None:
        """The background."""
        self.background = self._only(self.background, value, "scene")

    def _only(self, before: str | None, value: str, what: str) -> str:
        if before not in (None, value):
            raise _refusal(self.text, f"a {what} is not {before!r} and {value!r} at once")
        return value

    def _choose(self, form: str) -> None:
        """Settle whom a verb speaks of: those chosen, the head of a relation, or those waiting."""
        if self.chosen:
            return
        many = form != "singular" or not self.waiting
        related = self.place is not None and len(self.waiting) == 2
        if many:
            self.chosen = self.waiting
        else:
            self.chosen = self.waiting[:1] if related else self.waiting[-1:]
        if not self.chosen:
            raise _refusal(self.text, "each verb needs a thing of its own")

    def _move(self, motion: str) -> None:
        for thing in self.chosen:
            if thing.motion:
                raise _refusal(self.text, "each thing does one thing only")
            thing.motion, thing.speed = motion, self.pace
        self.subjects, self.chosen, self.waiting, self.pace = self.chosen, [], [], None

    def claims(self) -> Claims:
        """What was read, once the sentence has ended."""
        loose = self.number is not None or self.size or self.color
        if loose or self.traveling or self.chosen or self.pace:
            raise _refusal(self.text, "the sentence stops in the middle of a phrase")
        if self.place and len(self.things) < 2:
            raise _refusal(self.text, f"{self.place!r} needs a second thing")
        if not 1 <= sum(thing.count for thing in self.things) <= 3:
            raise _refusal(self.text, "a scene holds one to three things")
        things = tuple(ThingClaim(**vars(thing)) for thing in self.things)
        return Claims(things=things, place=self.place, background=self.background)
