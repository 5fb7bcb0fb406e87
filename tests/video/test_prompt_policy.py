"""Rules for prompts: what they find, and which files of rules are none."""

import pytest

from core.refusal import Refusal
from video.policy.prompts import folded, read_policy

RULES = r"""
- words: [gun, "assault rifle", café, 銃]
  reason: weapons
- pattern: '\bphoto of [A-Z]\w+ [A-Z]\w+'
  reason: people by
    name
"""


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    return read_policy(tmp_path / "rules.yaml")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a gun on a table", 1),
        ("A GUN", 1),
        ("\uff27\uff35\uff2e", 1),  # full width
        ("g\u200bu\u00adn", 1),  # signs that nobody sees
        ("g\u00fcn", 1),
        *[(f"g{sign}un", 1) for sign in "\x01\x1c\x7f\x85\ue000\ufffd\u0378\u20dd"],
        *[(f"g{sign}un", 1) for sign in "\u034f\u115f\u2800\u3164\uffa0"],  # blank letters
        ("big\x0cgun", 1),
        ("a\tgun\n", 1),
        ("a\u3164gunwale", None),
        ("an assault\u00a0rifle", 1),
        ("an assault-rifle", 1),
        ("cafe", 1),
        ("彼は銃を持つ", 1),
        ("a gunwale", None),
        ("begun", None),
        ("a red circle moves left", None),
        ("a photo of John Smith", 2),
        ("a photo of our dog", 2),  # without regard to case
        ("a photo of dogs", None),
        ("", None),
    ],
)
def test_words_are_found_whole_and_however_they_are_written(policy, text, number):
    rule = policy.broken_by(text)
    assert (rule.number if rule else None) == number
    assert rule is None or rule.reason in ("weapons", "people by name")


def test_a_text_is_compared_without_what_makes_no_other_word():
    assert folded(" Stra\u00dfe\t \u0130 ") == "strasse i"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing and no list"),
        ("[]", "an empty list"),
        ("words: [gun]", "a table and no list"),
        ("- gun", "rule 1 holds text: "),
        ("- {words: [gun]}", "rule 1 has no reason"),
        ("- {words: [gun], reason: ''}", "rule 1 has no reason"),
        ("- {words: [gun], pattern: gun, reason: x}", "rule 1 holds words, pattern, reason"),
        ("- {words: [gun], reason: x, colour: red}", "rule 1 holds words, reason, colour"),
        ("- {reason: x}", "either words, a list, or a pattern"),
        ("- {words: gun, reason: x}", "other words than text"),
        ("- {words: [no], reason: x}", "other words than text"),
        ("- {words: ['\u200b'], reason: x}", "other words than text"),
        ("- {words: [], reason: x}", "other words than text"),
        ("- {pattern: '(', reason: x}", "rule 1 has no such pattern"),
        ("- {pattern: 'a*', reason: x}", "it fits every text"),
        ("- {pattern: 7, reason: x}", "it is no text"),
        ("- {words: [a], reason: x", "line 1"),
        ("- !!python/object/apply:os.system [ls]", "it cannot be read"),
        ("[" * 4000, "it cannot be read"),
        ("- {words: [\x00], reason: x}", "it cannot be read"),
        ("- a\n" * 500_000, "more than 1,000,000 bytes"),
    ],
)
def test_what_is_no_file_of_rules_is_refused_in_three_parts(tmp_path, text, words):
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Refusal) as caught:
        read_policy(path)
    said = str(caught.value)
    assert words in said
    assert said.startswith(f"LAMINA_PROMPT_POLICY={path}: ")
    assert "nothing is drawn without the rules that an operator named; " in said


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refusal, match="No such file"):
        read_policy(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"- {words: [caf\xe9], reason: x}")
    with pytest.raises(Refusal, match="it cannot be read"):
        read_policy(tmp_path / "latin.yaml")
