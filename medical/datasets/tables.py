"""The tables of a dataset: participants, descriptions, splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medical.datasets.request import MRIDatasetRequest
from medical.datasets.volumes import case_of
from medical.datasets.words import drawn_by
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
Records = Sequence[Mapping[str, Any]]


def write_tables(
    request: MRIDatasetRequest, records: Records, out: Path, *, summary: Mapping[str, Any]
) -> None:
    """Write what describes the dataset as a whole, in every format asked."""
    if "bids" in request.formats:
        root = out / "bids"
        generated = {"name": "Lamina", "version": drawn_by(summary)}
        text = readme(request, len(records), summary)
        bids.write_descriptions(root, name=request.name, readme=text, generated=generated)
        bids.write_participants(root, [_row(record) for record in records], COLUMNS)
    if "nnunet" in request.formats:
        folder = out / "nnunet" / request.nnunet_name
        lesions = {"background": 0, "lesion": 1}
        tissues = {"background": 0, "CSF": 1, "gray_matter": 2, "white_matter": 3}
        nnunet.write_description(
            folder,
            channels=request.contrasts,
            labels=tissues if request.lesions.healthy else lesions,
            count=len(records),
            extra={
                "name": request.name,
                "description": f"synthetic heads (Lamina), {summary['approval']}",
            },
        )
        folds = {case_of(record["subject"]): int(record["fold"]) for record in records}
        nnunet.write_splits(folder, folds)


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
        "synthetic": "true",
    }
