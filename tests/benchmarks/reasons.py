"""Why a target is missed: said once, shown only while it is."""

from typing import Any

REASONS: dict[tuple[str, str], str] = {}
"""(row, name of the figure) -> the reason, in one sentence."""


def with_reasons(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """The row with the reasons of its missed targets among the notes."""
    missed = [figure["name"] for figure in record["figures"] if "missed" in figure["verdict"]]
    known = [note for note in record["notes"] if not note.startswith("Missed: ")]
    said = [f"Missed: {name}. {REASONS.get((key, name), '')}".strip() for name in missed]
    return record | {"notes": [*known, *said]}
