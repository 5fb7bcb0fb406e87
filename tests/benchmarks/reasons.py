"""Why a target is missed: said once, shown only while it is."""

from typing import Any

HASTE = "Trained for three hours on two shared CPU cores."
LAST = (
    "Things that orbit or spin are what is learned last: the note by motion shows that they are "
    "missing, whatever the number of steps."
)
NARROW = (
    "We spend 50 GFLOP where MONAI spends 136 and diffusers 333, so at an equal rate the ratio "
    "would be 2.7 and 6.7. In bfloat16 their large convolutions gain most, while our softmaxes, "
    "norms, activations and rotations, over a third of our time, gain little."
)
REASONS: dict[tuple[str, str], str] = {
    ("network", "MONAI over ours, bfloat16"): NARROW,
    ("network", "diffusers over ours, bfloat16"): NARROW,
    ("heads", "MNI152 template (1): seam energy"): (
        "Below 1: jumps at window borders are smaller than nearby, so no seam can be seen. It is "
        "one volume, without a mean over heads."
    ),
    **{
        ("prompts", f"{split} combinations, one object: {axis}"): HASTE
        for split in ("training", "held-out")
        for axis in ("color", "shape", "frozen")
    },
    **{
        ("prompts", f"{split} combinations, one object: motion"): f"{HASTE} {LAST}"
        for split in ("training", "held-out")
    },
}
"""(row, name of the figure) -> the reason, in one sentence."""


def with_reasons(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """The row with the reasons of its missed targets among the notes."""
    missed = [figure["name"] for figure in record["figures"] if "missed" in figure["verdict"]]
    known = [note for note in record["notes"] if not note.startswith("Missed: ")]
    said = [f"Missed: {name}. {REASONS.get((key, name), '')}".strip() for name in missed]
    return record | {"notes": [*known, *said]}
