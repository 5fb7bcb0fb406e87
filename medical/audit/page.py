"""An audit as a part of a page, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from medical.datasets.page import bullets, chip, document, paragraph, section, table


def audit_page(name: str, facts: Mapping[str, Any]) -> str:
    """A whole page about an audit."""
    verdict = chip("good", "passed") if facts["passed"] else chip("bad", "not passed")
    head = f"<h1>Audit of {escape(name)}</h1>{verdict}" + paragraph(summary(facts), "lead")
    return document(f"Audit of {name}", head + audit_section(facts))


def summary(facts: Mapping[str, Any]) -> str:
    """The outcome in two sentences."""
    found, tested = len(facts["found"]), facts["controls"]
    controls = ", ".join(
        f"{each['found']} of {each['made']} {name}" for name, each in tested.items()
    )
    wrong = facts["false_alarms"]
    return (
        f"{found} of {facts['heads']} heads show one of {facts['people']} people, held against "
        f"{facts['evidence']}. Controls that must be found: {controls}; "
        f"{wrong['taken_for_others']} of {wrong['people']} people were taken for others."
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
        bullets(_contributed(facts)),
        "<h3>What this audit cannot say</h3>",
        bullets(facts["cannot_say"]),
        paragraph(facts["protocol"], "note"),
    ]  # fmt: skip
    return section("Memorization and linkage", "".join(parts), name="audit")


def _contributed(facts: Mapping[str, Any]) -> list[str]:
    given, told = facts["contributors"], facts["membership"]
    if given is None and told is None:
        return ["The dataset does not say who contributed, or not to these people."]
    lines = []
    if given:
        low, high = given["interval"]
        lines.append(
            f"The nearest person was the largest contributor in {given['largest_named']} of "
            f"{given['heads']} heads (interval {low:.1%} to {high:.1%}; guessing "
            f"{given['guessing']:.1%})."
        )
    if told:
        lines.append(
            f"Contributors are told from others with an area under the curve of {told['auc']:.2f} "
            f"(interval {told['low']:.2f} to {told['high']:.2f}; {told['members']} contributors, "
            f"{told['others']} others, {told['heads']} heads; 0.5 is guessing)."
        )
    return lines
