"""Why a target is missed: said once, shown only while it is."""

from typing import Any

RATE = (
    "We spend 50 GFLOP where MONAI spends 136 and diffusers 333, so at an equal rate the ratio "
    "would be 2.7 and 6.7."
)
NARROW = (
    f"{RATE} In bfloat16 their large convolutions gain most, while our softmaxes, "
    "norms, activations and rotations, over a third of our time, gain little."
)
WIDE = (
    f"{RATE} Convolutions and products of matrices, which AMX speeds up, take 43 % of our time; "
    "the rest goes to copies (9 %), activations (8), softmaxes (6), norms (10), sums and products "
    "(10) and smaller ones (one pass under torch's profiler, one thread)."
)
AMD, XEON = "AMD EPYC", "Intel(R) Xeon(R) Processor"
REASONS: dict[tuple[str, str, str], str] = {
    ("network", "MONAI over ours, bfloat16", AMD): NARROW,
    ("network", "diffusers over ours, bfloat16", AMD): NARROW,
    ("network", "MONAI over ours, bfloat16", XEON): WIDE,
    ("network", "diffusers over ours, bfloat16", XEON): WIDE,
    ("network", "diffusers over ours, float32", XEON): RATE,
    ("network", "diffusers over the best of ours, float32", XEON): RATE,
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
