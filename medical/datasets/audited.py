"""What an audit found, as a dataset's report tells it: figures and no names of people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medical.audit.page import contributed, summary, verdict
from medical.datasets.page import bullets, chip, paragraph, section, table
from medical.files.bids import write_json

AUDIT = "audit.json"
KINDS = {"passed": "good", "not passed": "bad"}


def keep_audit(out: Path, facts: Mapping[str, Any]) -> None:
    """Write what an audit found beside a dataset, without the names of the people held."""
    found = len(facts["found"])
    named = [reason for reason in facts["reasons"] if not (found and " show a person: " in reason)]
    shown = [f"{found} of {facts['heads']} heads show a person"] if found else []
    write_json(
        out / AUDIT,
        {
            "verdict": verdict(facts),
            "summary": summary(facts),
            "reasons": shown + named,
            "controls": facts["controls"],
            "attacks": facts["attacks"],
            "contributed": contributed(facts),
            "cannot_say": facts["cannot_say"],
            "protocol": facts["protocol"],
            "sha256": facts["sha256"],
        },
    )


def audit_of(out: Path) -> dict[str, Any]:
    """What an audit found of a dataset; empty where none was made."""
    path = out / AUDIT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def audit_verdict(out: Path) -> str:
    """In a word or two; "not audited" where no audit was made."""
    return audit_of(out).get("verdict", "not audited")


def audited_section(out: Path) -> str:
    """The audit as a part of the report, or that there was none."""
    found = audit_of(out)
    if not found:
        words = (
            "Not audited. lamina mri audit DATASET --against BIDS holds the heads against the "
            "people behind them and writes what it finds here."
        )
        return section("Memorization and linkage", paragraph(words), name="audit")
    sign = chip(KINDS.get(found["verdict"], "warn"), found["verdict"])
    controls = [(name, each["made"], each["found"]) for name, each in found["controls"].items()]
    attacks = [(name, each["what"], each["bar"]) for name, each in found["attacks"].items()]
    parts = [
        sign,
        paragraph(found["summary"]),
        bullets([f"{reason}." for reason in found["reasons"]]),
        table(("control that must be found", "made", "found and named"), controls),
        table(("attack", "what is compared", "bar"), attacks),
        "<h3>Who contributed</h3>",
        bullets(found["contributed"]),
        "<h3>What this audit cannot say</h3>",
        bullets(found["cannot_say"]),
        paragraph(found["protocol"], "note"),
    ]
    return section("Memorization and linkage", "".join(parts), name="audit")
