"""What records hold, as people read it: names in words, numbers short, nothing of Python's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.request import title

NAMES = {
    "axes": "axis",
    "bytes": "size",
    "cpu": "CPU",
    "extra": "result",
    "fps": "frames per second",
    "seeds": "seed",
    "sha256": "SHA-256",
    "timings_s": "time taken (s)",
    "wall_time_s": "time taken in all (s)",
}
"""Names that records have and people would not guess."""
LONGEST_NAME = 80  # of a run, in signs
NO_INK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters and signs that leave none on paper, though Unicode does not call them spaces."""


def label(*names: str) -> str:
    """The words for a value's name, from the outermost table on, in sentence case.

    >>> label("acquisition", "axes", "3", "thickness_mm"), label("model", "sha256")
    ('Acquisition, axis 3, thickness (mm)', 'Model, SHA-256')
    """
    words = ""
    for name in names:
        said = NAMES.get(name) or title(name)
        if not words:
            words = said
        elif name.isdecimal():
            words = f"{words} {name}"
        else:
            words = f"{words}, {inside(said)}"
    return words[:1].upper() + words[1:]


def value(found: Any) -> str:
    """One value: numbers short, lists with commas, tables as names and values.

    >>> value([1.0, 0.25]), value({"thickness_mm": 4.0, "sharp": True}), value(None)
    ('1, 0.25', 'thickness (mm) 4, sharp yes', 'none')
    """
    if isinstance(found, bool) or found is None:
        return {True: "yes", False: "no", None: "none"}[found]
    if isinstance(found, float):
        return f"{found:.6g}"
    if isinstance(found, Mapping):
        told = ((label(str(name)), value(each)) for name, each in found.items())
        return ", ".join(f"{inside(name)} {words}" for name, words in told)
    if isinstance(found, list | tuple):
        return ("; " if any(map(_is_many, found)) else ", ").join(map(value, found))
    return str(found)


def rows(table: Mapping[str, Any], *before: str) -> Iterator[tuple[str, str]]:
    """A table within tables as rows of a name and a value in words, empty ones left out.

    >>> list(rows({"noise": {"std": 0.5}, "axes": [None, {"gap_mm": 1.0}], "note": ""}))
    [('Noise, standard deviation', '0.5'), ('Axis 2, gap (mm)', '1')]
    """
    for key, found in table.items():
        names = (*before, str(key))
        if isinstance(found, Mapping):
            yield from rows(found, *names)
        elif isinstance(found, list | tuple) and any(isinstance(x, Mapping) for x in found):
            told = {str(n): x for n, x in enumerate(found, 1) if x is not None}
            yield from rows(told, *names)
        elif found not in ("", None, []):
            yield label(*names), value(found)


def shortened(text: str, longest: int) -> str:
    """A text on one line, at most so long, cut between words where it is cut.

    >>> shortened("two red circles  move left", 20)
    'two red circles…'
    """
    words = " ".join(text.split())
    if len(words) <= longest:
        return words
    whole = words[:longest].rpartition(" ")[0] or words[: longest - 1]
    return f"{whole.rstrip(',;: ')}…"


def inside(name: str) -> str:
    """A name as it stands within a sentence; abbreviations keep their capitals.

    >>> inside("Slice gap (mm)"), inside("GPU minutes"), inside("LoRA scale"), inside("T1w")
    ('slice gap (mm)', 'GPU minutes', 'LoRA scale', 'T1w')
    """
    first = name.partition(" ")[0][1:]
    spelled = any(sign.isupper() or sign.isdecimal() for sign in first)
    return name if spelled else name[:1].lower() + name[1:]


def _is_many(found: Any) -> bool:
    if isinstance(found, str):
        return ", " in found
    return isinstance(found, Mapping | Sequence)
