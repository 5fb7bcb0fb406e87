"""Whether a scan can teach the model that restores it, and for how long it does.

The training itself stands in ``medical.training.own_scan``, which is imported when it is asked
for: forms and checks read this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.refusal import Refusal

if TYPE_CHECKING:
    from medical.operations.problem import Problem

STEPS_PER_MINUTE = 130
"""So many steps take a minute of one core: 0.45 s each (heads-1mm, an AMD EPYC in bfloat16)."""
FINER = 1.5
"""The slices' distance over the spacing in the plane, below which there is nothing to learn."""
CELL = 8


def check_teaches(problem: Problem) -> None:
    """Refuse a scan that shows no finer detail in its plane than across it, or is too small.

    Raises:
        Refusal: With what the scan has.
    """
    pitch, *plane = problem.spacing_mm
    if pitch < FINER * max(plane):
        raise Refusal(
            f"adapt_minutes for a scan of {pitch:.3g} mm slices and {max(plane):.3g} mm in plane: "
            f"it teaches what it shows finer in plane, by {FINER:g} times at least; leave "
            "adapt_minutes at 0."
        )
    if min(problem.acquired.shape) < CELL * 2:
        raise Refusal(
            f"adapt_minutes for a result of {problem.acquired.shape} voxels: patches of at least "
            f"{CELL * 2} along every axis are learned from; leave adapt_minutes at 0."
        )


def steps_of(minutes: float) -> int:
    """How many steps so many minutes of one core are; the same on every machine."""
    return max(1, round(minutes * STEPS_PER_MINUTE))
