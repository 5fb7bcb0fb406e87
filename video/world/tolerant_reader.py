"""Reads a prompt phrase by phrase and goes on where the grammar of the captions does not."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final
from unicodedata import category

from core.refusal import Refusal
from video.world import synonyms, wording
from video.world.prompts import Claims, Reader, ThingClaim
from video.world.scenes import BACKGROUNDS
from video.world.spelling import is_number
from video.world.words import Word, phrase_at

STOPS: Final = frozenset(",;.:!?&")
GROUND_WORDS: Final = ("background", "backdrop")
DESCRIBE: Final = ("number", "size", "color", "noun")
MOST: Final = 3


def _is_shape(key: str) -> bool:
    """Whether a word names a shape that the world lacks."""
    return bool({key, key.removesuffix("s"), key.removesuffix("es")} & synonyms.UNKNOWN_SHAPES)


@dataclass
class TolerantReader:
    """Reads phrase by phrase and goes on where the grammar does not."""

    text: str
    words: list[Word]
    heard: Reader = field(init=False)
    missed: set[int] = field(default_factory=set)
    """Numbers of the words that were not understood."""
    open: dict[str, range] = field(default_factory=dict)
    """Words of each kind that wait for others to complete them."""
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.heard = Reader(self.text)

    def listen(self) -> None:
        """Read the whole text."""
        at = 0
        while at < len(self.words):
            phrase = phrase_at(self.words, at)
            if phrase and not self._is_ground(at + phrase[0], phrase[1]):
                self._take(range(at, at + phrase[0]), *phrase[1])
                at += phrase[0]
            else:
                at += self._meet(at)
        self._settle("")
        self._end()

    def claims(self) -> Claims:
        """What was understood."""
        things = tuple(ThingClaim(**vars(thing)) for thing in self.heard.things)
        return Claims(things, self.heard.place, self.heard.background)

    def misses(self, phrase: str) -> bool:
        """Whether a word of the phrase was not understood."""
        return not {self.words[at].key for at in self.missed}.isdisjoint(phrase.split())

    def unknown(self) -> tuple[str, ...]:
        """The words that were not understood, neighbors together."""
        runs: list[str] = []
        for number in sorted(self.missed):
            word = self.words[number]
            shown = self.text[word.start : word.end]
            if runs and number - 1 in self.missed:
                runs[-1] += f" {shown}"
            else:
                runs.append(shown)
        return tuple(dict.fromkeys(runs))

    def _take(self, place: range, kind: str, value: str) -> None:
        """A phrase of the grammar."""
        if kind == "break" and self._describes(place):
            return
        self._settle(kind)
        before = deepcopy(self.heard)
        try:
            getattr(self.heard, f"read_{kind}")(value)
        except Refusal:
            self.heard = before
            moved = {thing.motion for thing in before.subjects}
            if not (kind == "way" and moved == {value}):  # falls down
                self.missed.update(place)
            return
        if kind == "noun":
            for described in DESCRIBE:
                self.open.pop(described, None)
        elif kind != "break":
            self.open[kind] = place

    def _describes(self, place: range) -> bool:
        """Whether a comma stands between two words for one thing: a big, red circle."""
        ahead = phrase_at(self.words, place.stop)
        begun = self.heard.size or self.heard.color
        known = ahead is not None and ahead[1][0] in ("size", "color", "noun")
        return bool(begun and known and self.words[place.start].key == ",")

    def _settle(self, kind: str) -> None:
        """Give up what the next phrase, of this kind, no longer completes."""
        heard = self.heard
        if kind not in DESCRIBE or kind == "number":
            if heard.size or heard.color:
                self.missed.update(*(self.open.get(name, ()) for name in ("size", "color")))
            heard.number = heard.size = heard.color = None
        if heard.traveling and kind not in ("way", "pace", "filler"):
            heard.traveling, heard.chosen = False, []
            self.missed.update(self.open["travel"])

    def _is_ground(self, after: int, token: tuple[str, str]) -> bool:
        """Whether a color is that of a background."""
        return token[0] == "color" and self._key(after) in GROUND_WORDS

    def _key(self, at: int) -> str:
        return self.words[at].key if at < len(self.words) else ""

    def _meet(self, at: int) -> int:
        """A word outside the grammar; how many words were taken."""
        key = self.words[at].key
        if key in STOPS or key in synonyms.BREAKS:
            self._settle("break")
            self.heard.read_break("")
        elif key in synonyms.SILENT or category(key[0])[0] in "PMCZ":
            pass
        elif reason := self._reason(key, at):
            self.refused.append(reason)
            return self._stand_in(at)
        else:
            self.missed.add(at)
        return 1

    def _stand_in(self, at: int) -> int:
        """Read on as if the refused word were one that is known; how many words were taken."""
        key = self.words[at].key
        if self._key(at + 1) in GROUND_WORDS:
            self.missed -= {at - 1, at - 2}
            self.heard.number = self.heard.place = None
            return 2
        if _is_shape(key):
            self.heard.number = None
            self._take(range(at, at + 1), "noun", "|singular")
        elif key in synonyms.BEYOND or is_number(key):
            self.heard.number = MOST
        return 1

    def _reason(self, key: str, at: int) -> str:
        """Why a word is refused by name, or nothing."""
        if self._key(at + 1) in GROUND_WORDS and (
            key in wording.HUES or key in synonyms.UNKNOWN_COLORS
        ):
            return f"there is no {key!r} background, only {', '.join(BACKGROUNDS)}"
        if key in synonyms.NEGATIONS:
            return f"negations such as {key!r} cannot be shown, say what there is"
        if _is_shape(key):
            return f"there is no shape {key!r}"
        if key in synonyms.UNKNOWN_COLORS and not self._colors_what_is_unknown(at):
            return f"nothing has the color {key!r}"
        if (key in synonyms.BEYOND or is_number(key)) and self._counts(at):
            return f"there are one to three things, not {key!r}"
        return ""

    def _colors_what_is_unknown(self, at: int) -> bool:
        """Whether a color is that of something without a meaning here: the golden hour."""
        strange = False
        for ahead in range(at + 1, len(self.words)):
            key, phrase = self.words[ahead].key, phrase_at(self.words, ahead)
            kind = phrase[1][0] if phrase else ""
            if kind == "noun" or _is_shape(key):
                return False
            if key in STOPS | synonyms.BREAKS | synonyms.SILENT | synonyms.NEGATIONS:
                break
            if kind not in ("", *DESCRIBE) and not key.endswith("ing"):
                break
            strange |= not kind and key not in synonyms.UNKNOWN_COLORS
        return strange

    def _counts(self, at: int) -> bool:
        """Whether a number is that of things."""
        for ahead in range(at + 1, min(at + 5, len(self.words))):
            phrase = phrase_at(self.words, ahead)
            if phrase and phrase[1][0] == "noun":
                return True
            if phrase and phrase[1][0] not in DESCRIBE:
                return False
        return False

    def _end(self) -> None:
        """What was begun and not ended is not understood."""
        heard = self.heard
        if heard.chosen:
            self.missed.update(*(self.open.get(name, ()) for name in ("all", "subject")))
        if heard.pace:
            self.missed.update(self.open["pace"])
        if heard.place and len(heard.things) < 2:
            heard.place = None
            self.missed.update(self.open["relation"])
        total = sum(thing.count for thing in heard.things)
        if total > MOST and not self.refused:
            self.refused.append(f"there are one to three things, not {total}")
        if not total and not self.refused:
            self.refused.append("it names no shape that is known")
