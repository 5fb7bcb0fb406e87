"""The heads of a folder and their label maps, and which of them training never sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.refusal import Refusal
from medical.acquisition.intensity import measure_scale
from medical.files.nifti import read_volume
from medical.files.volume import Volume

VALIDATION_EVERY = 6
T1, LABELS = "_T1w.nii.gz", "_dseg.nii.gz"


def load_heads(folder: str | Path) -> list[tuple[str, Volume]]:
    """Return (name, volume) of every T1w head in a BIDS folder, intensities in [0, 1].

    A head's name is its file's, without the ending: ``sub-01``, or ``sub-01_run-2``.

    Args:
        folder: BIDS root with ``sub-*/anat/sub-*_T1w.nii.gz``.
    """
    paths = _paths(folder)
    if not paths:
        raise Refusal(
            f"{folder} holds no sub-*/anat/sub-*_T1w.nii.gz: heads are read from a BIDS folder; "
            "point to its root."
        )
    heads = []
    for path in paths:
        volume = read_volume(path)
        scaled = measure_scale(volume.data).apply(volume.data)
        heads.append((path.name.removesuffix(T1), volume.with_data(scaled, dtype="float32")))
    return heads


def split_heads(
    heads: Sequence[tuple[str, Volume]], split: Literal["train", "validation"]
) -> list[tuple[str, Volume]]:
    """Return one side of the fixed split: every sixth subject, by id, is for validation.

    All heads of a subject are on the same side.
    """
    ordered = sorted(heads, key=lambda head: head[0])
    subjects = sorted({_subject(name) for name, _ in heads})
    held_out = set(subjects[VALIDATION_EVERY - 1 :: VALIDATION_EVERY])
    return [h for h in ordered if (_subject(h[0]) in held_out) == (split == "validation")]


def load_labels(folder: str | Path) -> dict[str, Tensor]:
    """Return the label map of each head that has one beside it, by its name, (D, H, W) int32.

    Args:
        folder: BIDS root; ``sub-01_T1w.nii.gz`` is labeled by ``sub-01_dseg.nii.gz``.
    """
    found = {}
    for path in _paths(folder):
        beside = path.with_name(path.name.removesuffix(T1) + LABELS)
        if beside.is_file():
            labels, head = read_volume(beside), read_volume(path)
            if labels.shape != head.shape or not np.allclose(
                labels.affine, head.affine, atol=1e-2
            ):
                raise Refusal(
                    f"{beside} lies on another grid than {path.name}: labels and head share "
                    "shape and affine; resample the labels by nearest neighbors."
                )
            found[path.name.removesuffix(T1)] = labels.data.round().to(torch.int32)
    return found


def _subject(name: str) -> str:
    return name.partition("_")[0]


def _paths(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob(f"sub-*/anat/sub-*{T1}"))
