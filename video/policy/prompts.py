"""An operator's rules for prompts: words and patterns that are refused, each with its reason.

They are a person's own list and no judgement of what a prompt means: who wants to, writes around
them. Prompts are compared without case, accents, signs that nobody sees, and other spellings of
one letter that Unicode knows.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.refusal import Refusal
from core.wording import NO_INK

LARGEST_FILE, MOST_WORDS, LONGEST_REASON = 1_000_000, 20_000, 200
KEYS = {"words", "pattern", "reason"}
UNSPACED = 0x2E80  # scripts from here on write words without spaces between
READ_AS_SPACE = "\t\n\r"  # of all control signs; tokenizers drop the others, Python's split not
NO_LETTER = "\ufffd"  # stands for one that cannot be read
BETWEEN = r"[\s_-]+"
FORM = "each rule is a table with a reason and either words, a list, or a pattern"


class PolicyRefusal(Refusal):
    """What an operator's rules refuse, whoever asks.

    >>> raise PolicyRefusal("prompt: rule 1 refuses it (weapons); ask for something else.")
    Traceback (most recent call last):
    video.policy.prompts.PolicyRefusal: prompt: rule 1 refuses it (weapons); ask for ...
    """


@dataclass(frozen=True)
class Rule:
    """One rule.

    >>> Rule(1, "weapons", re.compile("gun")).reason
    'weapons'

    Attributes:
        number: Its place in the file, from 1.
        reason: Which a person who is refused is told.
        pattern: What it looks for, in words as ``folded`` gives them where it is of words.
        plain: Whether it looks for a pattern of the operator's own, in the text as it came, too.
    """

    number: int
    reason: str
    pattern: re.Pattern[str]
    plain: bool = False


@dataclass(frozen=True)
class Policy:
    """All rules of a file.

    >>> Policy(()).broken_by("a red circle") is None
    True
    """

    rules: tuple[Rule, ...]

    def broken_by(self, text: str) -> Rule | None:
        """The first rule that a text breaks."""
        seen = {folded(text), folded(" ".join(text.split()))}  # some signs join, or part
        for rule in self.rules:
            if any(rule.pattern.search(one) for one in (*seen, *[text] * rule.plain)):
                return rule
        return None


def folded(text: str) -> str:
    """A text without what makes no other word: case, accents, hidden signs, kinds of spaces.

    >>> folded("GÜN  Shop")
    'gun shop'
    """
    plain = unicodedata.normalize("NFKD", text)
    kept = "".join(filter(_shows, plain))
    return " ".join(unicodedata.normalize("NFKC", kept).casefold().split())


def _shows(sign: str) -> bool:
    if sign in READ_AS_SPACE:
        return True
    kind = unicodedata.category(sign)
    return not (kind[0] == "C" or kind in ("Mn", "Me") or sign in NO_INK or sign == NO_LETTER)


def read_policy(path: Path) -> Policy:
    """The rules of a file of YAML.

    Raises:
        Refusal: It cannot be read, or is not a list of such rules.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _unfit(path, f"it has more than {LARGEST_FILE:,} bytes", "write fewer rules")
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except Refusal:
        raise
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", "") or type(error).__name__
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise _unfit(path, f"it cannot be read ({why}{place})", "correct it") from error
    if not isinstance(told, list) or not told:
        raise _unfit(path, f"it is {_kind(told)} and no list of rules", "write one")
    return Policy(tuple(_rule(path, number, one) for number, one in enumerate(told, 1)))


def _rule(path: Path, number: int, told: Any) -> Rule:
    if not isinstance(told, dict) or set(told) - KEYS or ("words" in told) == ("pattern" in told):
        found = ", ".join(map(str, told)) if isinstance(told, dict) else _kind(told)
        raise _unfit(path, f"rule {number} holds {found[:80]}", FORM)
    reason = told.get("reason")
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= LONGEST_REASON:
        way = f"say why in 1 to {LONGEST_REASON} characters"
        raise _unfit(path, f"rule {number} has no reason", way)
    reason = " ".join(reason.split())
    if "pattern" in told:
        return Rule(number, reason, _pattern(path, number, told["pattern"]), plain=True)
    words = told["words"]
    good = isinstance(words, list) and 0 < len(words) <= MOST_WORDS
    if not good or not all(isinstance(word, str) and folded(word) for word in words):
        way = f"words is a list of 1 to {MOST_WORDS:,} words or phrases, each of them text"
        raise _unfit(path, f"rule {number} holds other words than text", way)
    return Rule(number, reason, re.compile(_any_of(map(folded, words))))


def _pattern(path: Path, number: int, told: Any) -> re.Pattern[str]:
    try:
        if not isinstance(told, str) or not told:
            raise ValueError("it is no text")
        found = re.compile(told, re.IGNORECASE)
        if found.search(""):
            raise ValueError("it fits every text")
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        way = "a pattern is a regular expression of Python"
        raise _unfit(path, f"rule {number} has no such pattern ({error})", way) from error
    return found


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words as whole ones, whatever is between two of a phrase."""
    found = []
    for word in words:
        inner = BETWEEN.join(map(re.escape, word.split()))
        found.append(f"{_edge(word[0], '(?<!')}{inner}{_edge(word[-1], '(?!')}")
    return "|".join(found)


def _edge(sign: str, opening: str) -> str:
    """No letter beside a word, where its script writes spaces between words."""
    return rf"{opening}[^\W_])" if sign.isalnum() and ord(sign) < UNSPACED else ""


def _kind(told: Any) -> str:
    return {dict: "a table", list: "an empty list", str: "text"}.get(type(told), "nothing")


def _unfit(path: Path, what: str, way_out: str) -> Refusal:
    return Refusal(
        f"LAMINA_PROMPT_POLICY={path}: {what}: nothing is drawn without the rules that an "
        f"operator named; {way_out}."
    )
