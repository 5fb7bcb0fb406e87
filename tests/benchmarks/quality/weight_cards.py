"""The figures of the results page in the shipped weights' own records and cards."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.models.cards import card
from core.records import atomic_path
from tests.benchmarks.page import shown
from tests.benchmarks.quality.cases import ROOT, SHIPPED

ROOMS = {"video": "video", "mri": "medical"}
KEPT = ("guidance", "speed")
"""Results that are not measured here: how a setting was chosen, and what the benchmarks say."""
PROTOCOL = "in docs/results.md, with tables and pictures; 95 % intervals in parentheses"


def renew(rows: Mapping[str, Mapping[str, Any]], root: Path = ROOT) -> None:
    """Write what was measured in full on the weights that stand in the repository beside them.

    Args:
        rows: As ``results.keep`` returns them; quick ones and those of other weights are left out.
        root: Of the repository.
    """
    for kind, room in ROOMS.items():
        folder = root / room / "weights" / SHIPPED[kind]
        record = json.loads((folder / "model.json").read_text())
        found = results(rows, kind, record["sha256"]["weights.safetensors"])
        if not found:
            continue
        kept = {key: value for key, value in record["results"].items() if key in KEPT}
        record["results"] = {"protocol": PROTOCOL, **found, **kept}
        for name, text in (
            ("model.json", json.dumps(record, indent=2) + "\n"),
            ("CARD.md", card(record)),
        ):
            with atomic_path(folder / name, overwrite=True) as temporary:
                temporary.write_text(text)


def results(rows: Mapping[str, Mapping[str, Any]], kind: str, weights: str) -> dict[str, str]:
    """The figures of each row in one line, by what the row is about.

    Args:
        rows: As ``results.keep`` returns them.
        kind: "video" or "mri".
        weights: SHA-256 of the weights that must have been measured.
    """
    return {
        row["title"].partition(": ")[2]: "; ".join(map(_words, row["figures"]))
        for row in rows.values()
        if row["kind"] == kind
        and row["weights"] == weights
        and row["figures"]
        and not row["options"].get("quick")
    }


def _words(figure: Mapping[str, Any]) -> str:
    words = f"{figure['name']} {shown(figure['value'])} {figure['unit']}".rstrip()
    if figure["interval"]:
        words += " ({} to {})".format(*map(shown, figure["interval"]))
    return words + (", **target missed**" if "missed" in figure["verdict"] else "")
