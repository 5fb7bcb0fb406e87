"""Two sessions of one head: lesions that grow from the first to the second, and what joined them.

The lesions of the second session are drawn; those of the first are the voxels that joined them
first. So anatomy, places and number of lesions are the same, and what changed is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medical.datasets.plan import Planned
from medical.datasets.request import MRIDatasetRequest
from medical.lesions.drawing import DrawnLesions
from medical.lesions.fields import parts_of
from medical.lesions.growing import visits

FIRST, SECOND = "ses-01", "ses-02"
TOLERANCE = 0.05
COLUMNS = {
    "years": {"Description": "Time since the first session", "Units": "year"},
    "lesion_load": {"Description": "Volume of all lesions", "Units": "mL"},
    "lesion_count": {"Description": "Number of lesions; parts that touch are one"},
}


def sessions_of(request: MRIDatasetRequest) -> tuple[str, ...]:
    """The sessions of every head; one without a name where none were asked."""
    return (FIRST, SECOND) if request.longitudinal.asked else ("",)


def before_growth(
    last: DrawnLesions, planned: Planned, voxel_mm3: float
) -> tuple[DrawnLesions, dict[str, Any]]:
    """The lesions of the first session, and what is recorded of both.

    Args:
        last: As drawn for the second session.
        planned: The head.
        voxel_mm3: Volume of a voxel.
    """
    assert planned.wish is not None
    years, asked = planned.years, planned.ml_a_year
    begun, _ = visits(last, (0.0, 12 * years), asked, voxel_mm3)
    loads = [float((m > 0).sum()) * voxel_mm3 / 1000 for m in (begun.lesions, last.mask)]
    counts = [parts_of(m > 0)[1] for m in (begun.lesions, last.mask)]
    told = {
        "years": years,
        "ml_a_year": {"asked": asked, "delivered": round((loads[1] - loads[0]) / years, 6)},
        "sessions": {
            session: {"years": at, "load_ml": round(load, 6), "count": count}
            for session, at, load, count in zip(
                (FIRST, SECOND), (0.0, years), loads, counts, strict=True
            )
        },
    }
    facts = {
        **last.facts,
        "load_ml": {"asked": planned.wish.load_ml, "delivered": round(loads[0], 6)},
        "count": {"asked": planned.wish.count, "delivered": counts[0]},
    }
    return replace(last, mask=begun.lesions, facts=facts), told


def growth_faults(told: Mapping[str, Any]) -> list[str]:
    """Why two sessions are not what was asked; empty if they are."""
    growth, found = told["ml_a_year"], []
    if abs(growth["delivered"] - growth["asked"]) > TOLERANCE * growth["asked"]:
        found.append(f"{growth['delivered']:.3g} ml a year joined, not {growth['asked']:.3g}")
    counts = [session["count"] for session in told["sessions"].values()]
    if len(set(counts)) > 1:
        found.append(f"lesions in the two sessions: {' and '.join(map(str, counts))}, not as many")
    return found


def session_rows(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table of a head's sessions."""
    return [
        {
            "session_id": name,
            "years": each["years"],
            "lesion_load": each["load_ml"],
            "lesion_count": each["count"],
        }
        for name, each in told["sessions"].items()
    ]
