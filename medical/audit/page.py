"""An audit as a part of a page, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from core.progress import counted
from medical.datasets.page import bullets, chip, document, paragraph, section, table


def audit_page(name: str, facts: Mapping[str, Any]) -> str:
    """A whole page about an audit."""
    said = verdict(facts)
    sign = chip({"passed": "good", "not passed": "bad"}.get(said, "warn"), said)
    head = f"<h1>Audit of {escape(name)}</h1>{sign}" + paragraph(summary(facts), "lead")
    return document(f"Audit of {name}", head + audit_section(facts))


def verdict(facts: Mapping[str, Any]) -> str:
    """In a word or two; what was held against maps alone does not pass."""
    if not facts["passed"]:
        return "not passed"
    return "nobody found" if facts.get("misses") else "passed"


def summary(facts: Mapping[str, Any]) -> str:
    """The outcome in a few sentences."""
    found, tested = len(facts["found"]), facts["controls"]
    controls = ", ".join(
        f"{each['found']} of {each['made']} {name}" for name, each in tested.items()
    )
    wrong = facts["false_alarms"]
    missed = f" But {facts['misses']}." if facts.get("misses") else ""
    told = facts["membership"]
    behind = f" {_membership(told)}" if told else ""
    return (
        f"{found} of {counted(facts['heads'], 'head')} show one of "
        f"{counted(facts['people'], 'person', 'people')}, held against "
        f"{facts['evidence']}. Controls that must be found: {controls}; "
        f"{wrong['taken_for_others']} of {counted(wrong['people'], 'person', 'people')} were "
        "taken for others."
        f"{missed}{behind}"
    )


def audit_section(facts: Mapping[str, Any]) -> str:
    """What was found, how, and what cannot be said."""
    parts = [bullets([f"{reason}." for reason in facts["reasons"]])]
    parts += [
        "<h3>Nearest people</h3>",
        table(
            ("head", "person", "attack", "stands out by", "bar", "linked"),
            [
                (f["head"], f["person"], f["attack"], f["out"], f["bar"],
                 "yes" if f["out"] > f["bar"] else "no")
                for f in facts["nearest"]
            ],
        ),
        "<h3>Attacks</h3>",
        table(
            ("attack", "what is compared", "bar"),
            [(name, each["what"], each["bar"]) for name, each in facts["attacks"].items()],
        ),
        "<h3>Who contributed</h3>",
        bullets(contributed(facts)),
        "<h3>What this audit cannot say</h3>",
        bullets(facts["cannot_say"]),
        paragraph(facts["protocol"], "note"),
    ]  # fmt: skip
    return section("Memorization and linkage", "".join(parts), name="audit")


def contributed(facts: Mapping[str, Any]) -> list[str]:
    """What records and heads tell of who contributed, in sentences."""
    given, told = facts["contributors"], facts["membership"]
    if given is None and told is None:
        return ["The dataset does not say who contributed, or not to these people."]
    lines = []
    if given:
        low, high = given["interval"]
        lines.append(
            f"The nearest person was the largest contributor in {given['largest_named']} of "
            f"{counted(given['heads'], 'head')} whose one is among these people (interval "
            f"{low:.1%} to {high:.1%}; guessing {given['guessing']:.1%})."
        )
    if told:
        lines.append(_membership(told))
    return lines


def _membership(told: Mapping[str, Any]) -> str:
    return (
        f"Contributors are told from others with an area under the curve of {told['auc']:.2f} "
        f"(interval {told['low']:.2f} to {told['high']:.2f}; "
        f"{counted(told['members'], 'contributor')}, "
        f"{counted(told['others'], 'other')}, {counted(told['heads'], 'head')}; 0.5 is guessing)."
    )
