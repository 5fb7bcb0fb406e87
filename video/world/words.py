"""Words and signs of a prompt: where they stand, and the phrases of the grammar among them."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from video.world import synonyms
from video.world.prompts import lexicon

WORD: Final = re.compile(r"\d+[.,]\d+|[^\W_]+(?:['\u2019][^\W_]+)*|[^\w\s]|_")


@dataclass(frozen=True)
class Word:
    """A word or sign of a text: where it stands and what it is in lower case."""

    start: int
    end: int
    key: str


Change = tuple[Word, str]
"""What stands in the text, and what it is read as."""


def words_of(text: str) -> list[Word]:
    """Words and signs in order, without hyphens and what cannot be seen."""
    found = []
    for match in WORD.finditer(text):
        key = unicodedata.normalize("NFKC", match[0]).lower().replace("\u2019", "'")
        if key not in synonyms.INVISIBLE and key not in "-_":
            found.append(Word(match.start(), match.end(), key))
    return found


def phrase_at(words: list[Word], at: int) -> tuple[int, tuple[str, str]] | None:
    """Length and (kind, value) of the longest phrase of the grammar that begins there."""
    known, longest = lexicon()
    for length in range(min(longest, len(words) - at), 0, -1):
        token = known.get(tuple(word.key for word in words[at : at + length]))
        if token is not None:
            return length, token
    return None
