"""The tables of a dataset: participants, descriptions, splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medical.datasets.request import MRIDatasetRequest
from medical.datasets.words import drawn_by, growth, short_license
from medical.datasets.writing import case_of, channels_of, labels_of
from medical.files import bids, nnunet

COLUMNS = {
    "age": {
        "Description": "Middle of the ten years of age that the anatomy was drawn for; n/a where "
        "few people share them",
        "Units": "year",
    },
    "sex": {
        "Description": "Sex that the anatomy was drawn for",
        "Levels": {"f": "female", "m": "male"},
    },
    "fold": {"Description": "Split in which the volume validates, from 0"},
    "lesion_load": {"Description": "Volume of all lesions", "Units": "mL"},
    "lesion_count": {"Description": "Number of lesions; parts that touch are one"},
    "synthetic": {
        "Description": "Whether the volume was drawn and is no scan of a person",
        "Levels": {"true": "drawn", "false": "of a person"},
    },
}
GROWTH = {
    "lesion_load": {"Description": "Volume of all lesions in the first session", "Units": "mL"},
    "lesion_growth": {
        "Description": "Volume that joined all lesions a year, from the first session to the "
        "second",
        "Units": "mL/year",
    },
}
Records = Sequence[Mapping[str, Any]]


def write_tables(
    request: MRIDatasetRequest, records: Records, out: Path, *, summary: Mapping[str, Any]
) -> None:
    """Write what describes the dataset as a whole, in every format asked."""
    if "bids" in request.formats:
        root = out / "bids"
        generated = {"name": "Lamina", "version": drawn_by(summary)}
        text = readme(request, len(records), summary)
        bids.write_descriptions(
            root,
            name=request.name,
            readme=text,
            generated=generated,
            licensed=short_license(request, summary),
        )
        columns = {**COLUMNS, **GROWTH} if request.longitudinal.asked else COLUMNS
        bids.write_participants(root, [_row(record) for record in records], columns)
    if "nnunet" in request.formats:
        folder = out / "nnunet" / request.nnunet_name
        nnunet.write_description(
            folder,
            channels=channels_of(request),
            labels=labels_of(request),
            count=len(records),
            extra={
                "name": request.name,
                "description": f"synthetic heads (Lamina), {summary['approval']}{_cases(request)}",
            },
        )
        folds = {case_of(record["subject"]): int(record["fold"]) for record in records}
        nnunet.write_splits(folder, folds)


def _cases(request: MRIDatasetRequest) -> str:
    """What a case is where it is more than one session."""
    if not request.longitudinal.asked:
        return ""
    return "; a case is two sessions of a head: lesion 1 is in both, joined 2 in the second alone"


def readme(request: MRIDatasetRequest, made: int, summary: Mapping[str, Any]) -> str:
    """What a reader of the dataset must know, as plain text."""
    what = (
        "with lesions of multiple sclerosis" if not request.lesions.healthy else "without lesions"
    )
    lines = [
        f"{request.name}: {made} synthetic heads {what} ({', '.join(request.contrasts)}).",
        "",
        "Drawn by Lamina. No image is a scan of a person. For research, not for diagnosis.",
        f"Approval: {summary['approval']}.",
        "Labels stand in derivatives/lamina: lesions (0 and 1) and tissues.",
        *([growth(request)] if request.longitudinal.asked else []),
        *summary["plan"]["said"],
    ]
    return "\n".join(lines) + "\n"


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    anatomy, lesions = record["anatomy"], record["lesions"] or {}
    return {
        "participant_id": record["subject"],
        "age": anatomy.get("age"),
        "sex": anatomy.get("sex"),
        "fold": record["fold"],
        "lesion_load": lesions.get("load_ml", {}).get("delivered", 0.0),
        "lesion_count": lesions.get("count", {}).get("delivered", 0),
        "lesion_growth": record.get("longitudinal", {}).get("ml_a_year", {}).get("delivered"),
        "synthetic": "true",
    }
