"""Why a target is missed: said once, shown only while it is."""

from typing import Any

NARROW = (
    "We spend 50 GFLOP where MONAI spends 136 and diffusers 333, so at an equal rate the ratio "
    "would be 2.7 and 6.7. In bfloat16 their large convolutions gain most, while our softmaxes, "
    "norms, activations and rotations, over a third of our time, gain little."
)
AMD = "AMD EPYC"
REASONS: dict[tuple[str, str, str], str] = {
    ("network", "MONAI over ours, bfloat16", AMD): NARROW,
    ("network", "diffusers over ours, bfloat16", AMD): NARROW,
}
"""(row, name of the figure, processor it was found on) -> the reason, in one sentence."""


def with_reasons(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """The row with the reasons of its missed targets among the notes."""
    missed = [figure["name"] for figure in record["figures"] if "missed" in figure["verdict"]]
    known = [note for note in record["notes"] if not note.startswith("Missed: ")]
    where = record["machine"]["processor"]
    reasons = {name: why for (row, name, on), why in REASONS.items() if (row, on) == (key, where)}
    said = [f"Missed: {name}. {reasons.get(name, '')}".strip() for name in missed]
    return record | {"notes": [*known, *said]}
