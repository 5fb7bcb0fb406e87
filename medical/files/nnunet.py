"""Raw datasets of nnU-Net v2: names, ``dataset.json``, splits, and a check of its rules.

Isensee et al. 2021; the rules are those of its ``verify_dataset_integrity``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.progress import counted
from core.refusal import Refusal
from medical.files.bids import write_json, write_text
from medical.files.nifti import read_volume

ENDING = ".nii.gz"
NEEDED = ("dataset.json", "imagesTr", "labelsTr")
TOLD = ("labels", "channel_names", "numTraining", "file_ending")


def image_name(case: str, channel: int) -> str:
    """The file of one channel of a case."""
    return f"imagesTr/{case}_{channel:04d}{ENDING}"


def label_name(case: str) -> str:
    """The file of a case's labels."""
    return f"labelsTr/{case}{ENDING}"


def write_description(
    folder: Path,
    *,
    channels: Sequence[str],
    labels: Mapping[str, int],
    count: int,
    extra: Mapping[str, Any],
) -> Path:
    """Write ``dataset.json``; its path.

    Args:
        folder: ``DatasetNNN_NAME``.
        channels: Contrast of each channel.
        labels: Name to value, background 0.
        count: How many cases there are.
        extra: Further facts, which nnU-Net leaves alone.
    """
    content = {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": dict(labels),
        "numTraining": count,
        "file_ending": ENDING,
        **extra,
    }
    return write_json(folder / "dataset.json", content)


def write_splits(folder: Path, folds: Mapping[str, int]) -> Path:
    """Write ``splits_final.json``: for each fold who validates and who trains; its path.

    Args:
        folder: ``DatasetNNN_NAME``.
        folds: Case to fold. Cases of one fold alone can be held against nobody: they all train.
    """
    known = sorted(set(folds.values()))
    splits = [
        {
            "train": [case for case, fold in folds.items() if fold != k or len(known) == 1],
            "val": [case for case, fold in folds.items() if fold == k and len(known) > 1],
        }
        for k in known
    ]
    return write_text(folder / "splits_final.json", json.dumps(splits, indent=2) + "\n")


def faults(folder: Path) -> list[str]:
    """What nnU-Net v2 would object to in a raw dataset; empty if nothing."""
    if missing := [name for name in NEEDED if not (folder / name).exists()]:
        return [f"{', '.join(missing)} is not in {folder.name}"]
    about = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    if missing := [name for name in TOLD if name not in about]:
        return [f"dataset.json does not tell {', '.join(missing)}"]
    channels, values = len(about["channel_names"]), sorted(about["labels"].values())
    ending = about["file_ending"]
    cases = sorted(path.name.removesuffix(ending) for path in (folder / "labelsTr").iterdir())
    found = []
    if values != list(range(len(values))) or about["labels"].get("background") != 0:
        found.append(f"labels are {values}: they are consecutive and background is 0")
    if len(cases) != about["numTraining"]:
        found.append(f"numTraining is {about['numTraining']}, there are {len(cases)} cases")
    images = sorted(path.name for path in (folder / "imagesTr").iterdir())
    wanted = sorted(f"{case}_{i:04d}{ending}" for case in cases for i in range(channels))
    if images != wanted:
        found.append(
            f"imagesTr holds {counted(len(images), 'file')}, {len(wanted)} belong to the labels"
        )
        return found
    for case in cases:
        try:
            found += _case_faults(folder, case, channels, values)
        except Refusal as error:  # NaN, or no image at all
            found.append(str(error))
    return found


def _case_faults(folder: Path, case: str, channels: int, values: Sequence[int]) -> list[str]:
    label = read_volume(folder / label_name(case))
    present = set(np.unique(label.data.numpy()).tolist())
    found = []
    if not present <= set(values):
        found.append(f"{case}: labels {sorted(present - set(values))} are not in dataset.json")
    for channel in range(channels):
        image = read_volume(folder / image_name(case, channel))
        if image.shape != label.shape:
            found.append(f"{case}: channel {channel} has shape {image.shape}, not {label.shape}")
        if not np.allclose(image.affine, label.affine, atol=1e-3):
            found.append(f"{case}: channel {channel} lies elsewhere than the labels")
    return found
