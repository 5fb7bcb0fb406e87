"""The heads of a folder and their label maps, and which of them training never sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medical.intensity import measure_scale
from medical.nifti import read_volume
from medical.volume import Volume

VALIDATION_EVERY = 6
T1, LABELS = "_T1w.nii.gz", "_dseg.nii.gz"


def load_heads(folder: str | Path) -> list[tuple[str, Volume]]:
    """Return (subject id, volume) of every T1w head in a BIDS folder, intensities in [0, 1].

    Args:
        folder: BIDS root with ``sub-*/anat/sub-*_T1w.nii.gz``.
    """
    paths = _paths(folder)
    if not paths:
        raise ValueError(
            f"{folder} holds no sub-*/anat/sub-*_T1w.nii.gz: heads are read from a BIDS folder; "
            "point to its root."
        )
    heads = []
    for path in paths:
        volume = read_volume(path)
        scaled = measure_scale(volume.data).apply(volume.data)
        heads.append((path.name.split("_")[0], volume.with_data(scaled, dtype="float32")))
    return heads


def split_heads(
    heads: Sequence[tuple[str, Volume]], split: Literal["train", "validation"]
) -> list[tuple[str, Volume]]:
    """Return one side of the fixed split: every sixth subject, by id, is for validation."""
    ordered = sorted(heads, key=lambda head: head[0])
    held_out = {i for i in range(len(ordered)) if i % VALIDATION_EVERY == VALIDATION_EVERY - 1}
    return [h for i, h in enumerate(ordered) if (i in held_out) == (split == "validation")]


def load_labels(folder: str | Path) -> dict[str, Tensor]:
    """Return the label map of each head that has one beside it, by subject, (D, H, W) int32.

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
                raise ValueError(
                    f"{beside} lies on another grid than {path.name}: labels and head share "
                    "shape and affine; resample the labels by nearest neighbors."
                )
            found[path.name.split("_")[0]] = labels.data.round().to(torch.int32)
    return found


def _paths(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob(f"sub-*/anat/sub-*{T1}"))
