"""The heads of a folder and their label maps, and which of them training never sees."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.progress import counted
from core.refusal import Refusal
from medical.acquisition.intensity import is_a_mask, measure_scale, without_fill
from medical.anatomy.contrasts import BACKGROUND, check_kinds
from medical.files.naming import naming_nobody
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.operations.baselines import FOREGROUND
from medical.training.heads import find_heads, labels_beside

VALIDATION_EVERY = 6
LEAST_HEAD = 0.01  # of the voxels; heads fill a tenth to a half of their box
LEAST_LABELED = 0.1  # of the head; a brain alone is about half of one
LARGEST_LABEL = 1 << 24  # to here voxels, read as float32, tell whole numbers apart
NAMED = 5
WHO = "lamina train mri, where the people stand, says who it is."

logger = logging.getLogger(__name__)


@naming_nobody(WHO)
def load_heads(
    folder: str | Path, least_size: int = 1, *, synthetic: bool = False
) -> list[tuple[str, Volume]]:
    """(name, volume) of every T1w head in a BIDS folder, intensities in [0, 1].

    A head's name is its file's, without the ending: ``sub-01``, or ``sub-01_run-2``.

    Args:
        folder: BIDS root with ``sub-*/[ses-*/]anat/sub-*_T1w.nii[.gz]``.
        least_size: voxels that a head must have along every axis.
        synthetic: take heads, too, that are marked as drawn.

    Raises:
        Refusal: there are none, or some cannot be trained on; each is named.
    """
    found = find_heads(folder, synthetic=synthetic)
    if not found.taken:
        why = f" that can be trained on ({found.says()})" if found.left_out else ""
        raise Refusal(
            f"{folder} holds no sub-*/anat/sub-*_T1w.nii.gz{why}: heads are read from a BIDS "
            "folder, sharp along every axis; point to its root."
        )
    if found.left_out:
        logger.warning("%s: left out: %s", folder, found.counts())
    heads, unfit = list[tuple[str, Volume]](), list[str]()
    for name, path in found.taken.items():
        volume = read_volume(path)
        if min(volume.shape) < least_size:
            shape = " x ".join(map(str, volume.shape))
            unfit.append(f"{path.name} has {shape} voxels, and patches are {least_size} long")
        elif words := is_a_mask(volume):
            unfit.append(f"{path.name} is {words}")
        elif (head := _scaled(volume)) is None:
            unfit.append(f"{path.name} is dark but for under {LEAST_HEAD:.0%} of its voxels")
        else:
            heads.append((name, head))
    if unfit:
        more = f"; and {len(unfit) - NAMED} more" if len(unfit) > NAMED else ""
        raise Refusal(
            f"{folder}: {counted(len(unfit), 'head')} cannot be trained on "
            f"({'; '.join(unfit[:NAMED])}{more}): a head is bright on a dark background and "
            "larger than a patch; move these files away or export them again."
        )
    return heads


def split_heads(
    heads: Sequence[tuple[str, Volume]], split: Literal["train", "validation"]
) -> list[tuple[str, Volume]]:
    """One side of the fixed split: every sixth subject, by id, is for validation.

    All heads of a subject are on the same side.
    """
    ordered = sorted(heads, key=lambda head: head[0])
    subjects = sorted({_subject(name) for name, _ in heads})
    held_out = set(subjects[VALIDATION_EVERY - 1 :: VALIDATION_EVERY])
    return [h for h in ordered if (_subject(h[0]) in held_out) == (split == "validation")]


@naming_nobody(WHO)
def load_labels(folder: str | Path) -> dict[str, Tensor]:
    """The label map of each head that has one beside it, by its name, (D, H, W) int32.

    Args:
        folder: BIDS root; ``sub-01_T1w.nii.gz`` is labeled by ``sub-01_dseg.nii.gz``.

    Raises:
        Refusal: a map labels nothing of its head, or is none of it; its file is named.
    """
    found = {}
    for name, path in find_heads(folder, synthetic=True).taken.items():
        if beside := labels_beside(path):
            labels, head = read_volume(beside), read_volume(path)
            if labels.shape != head.shape or not np.allclose(
                labels.affine, head.affine, atol=1e-2
            ):
                raise Refusal(
                    f"{beside} lies on another grid than {path.name}: labels and head share "
                    "shape and affine; resample the labels by nearest neighbors."
                )
            found[name] = _checked(beside, labels.data, head.data)
    return found


def _scaled(volume: Volume) -> Volume | None:
    """The head with intensities in [0, 1]; None where next to nothing of it is bright."""
    if float(volume.data.min()) == float(volume.data.max()):
        return None
    measured, _ = without_fill(volume.data)
    scaled = measure_scale(measured).apply(measured)
    if float((scaled > FOREGROUND).float().mean()) < LEAST_HEAD:
        return None
    return volume.with_data(scaled, dtype="float32")


def _checked(file: Path, labels: Tensor, head: Tensor) -> Tensor:
    """The labels as whole numbers.

    Raises:
        Refusal: They are none, too many, or leave next to all of the head unlabeled.
    """
    whole = labels.round()
    if float((labels - whole).abs().max()) > 1e-3 or float(whole.max()) >= LARGEST_LABEL:
        raise Refusal(
            f"{file} holds other values than small whole numbers: a label map names the tissue "
            "of each voxel by one; give labels, not intensities or probabilities."
        )
    numbers = whole.to(torch.int32)
    try:
        check_kinds(torch.unique(numbers))
    except Refusal as error:
        raise Refusal(f"{file}: {error}") from error
    measured, _ = without_fill(head)
    inside = measure_scale(measured).apply(measured) > BACKGROUND
    share = float((numbers[inside] > 0).float().mean())
    if share < LEAST_LABELED:
        raise Refusal(
            f"{file} labels {share:.1%} of its head: what is not labeled counts as background, "
            f"and a head needs at least {LEAST_LABELED:.0%} of tissue; label it or move the file "
            "away, and tissues come from the head's own intensities."
        )
    return numbers


def _subject(name: str) -> str:
    return name.partition("_")[0]
