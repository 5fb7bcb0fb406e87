"""Several colors before one noun: red and blue circles are a red circle and a blue circle."""

from video.world import synonyms, wording
from video.world.prompts import lexicon
from video.world.words import Change, Word

JOINTS = ("and", "&", ",")


def color_lists(words: list[Word]) -> list[Change]:
    """Each list of colors with the noun they share, as a thing for each color.

    One whose number is not that of its colors stays as it is, and is told as not understood.
    """
    changes: list[Change] = []
    at = 0
    while at < len(words):
        found = _listed(words, at)
        if found and found[1]:
            changes.append(found[1])
        at += found[0] if found else 1
    return changes


def _listed(words: list[Word], start: int) -> tuple[int, Change | None] | None:
    """How many words a list that begins there has, and what it is read as, if it can be."""
    keys = [word.key for word in words]
    at = start
    number = "" if keys[at] == "the" else _value(keys, at, "number")
    at += bool(number) or keys[at] == "the"
    sizes = at
    while _value(keys, at, "size"):
        at += 1
    size = " ".join(["a", *keys[sizes:at]])
    colors: list[str] = []
    while _value(keys, at, "color"):
        colors.append(keys[at])
        at += 1
        joints = at
        while at < len(keys) and keys[at] in JOINTS and at - joints < 2:
            at += 1
    shape, _, form = _value(keys, at, "noun").partition("|")
    if len(colors) < 2 or form != "plural":
        return None
    if number not in ("", str(len(colors))) or _is_described(keys, start):
        return at + 1 - start, None
    noun = next(noun for noun in wording.NOUNS[shape] if wording.plural(noun) == keys[at])
    things = [f"{size} {color} {noun}" for color in colors]
    read = f"{', '.join(things[:-1])} and {things[-1]}"
    return at + 1 - start, (Word(words[start].start, words[at].end, ""), read)


def _is_described(keys: list[str], start: int) -> bool:
    """Whether a number or size stands before, at most with words between that say nothing."""
    back = start - 1
    while back >= 0 and keys[back] in synonyms.SILENT:
        back -= 1
    if back < 0 or keys[back] == "the":
        return False
    return bool(_value(keys, back, "number") or _value(keys, back, "size"))


def _value(keys: list[str], at: int, kind: str) -> str:
    token = lexicon()[0].get((keys[at],), ("", "")) if at < len(keys) else ("", "")
    return token[1] if token[0] == kind else ""
