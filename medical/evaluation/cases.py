"""Heads with lesion masks, of people or drawn, as a segmenter is trained and tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.refusal import Refusal
from medical.files.nifti import read_volume
from medical.files.volume import same_place

PATCH = (32, 32, 32)
TOP = 0.99


IMAGES = ("sub-*/anat/sub-*_FLAIR.nii.gz", "sub-*/ses-*/anat/sub-*_FLAIR.nii.gz")


@dataclass(frozen=True, eq=False)
class Case:
    """A FLAIR with its lesions.

    Attributes:
        name: of the person or the drawn head, with its session where there are several.
        image: (D, H, W), the bright end at 1, 0 outside the brain.
        mask: (D, H, W) where lesions are.
        places: (N, 3) lesion voxels.
    """

    name: str
    image: Tensor
    mask: Tensor
    places: NDArray[np.int64]

    @property
    def digest(self) -> str:
        """SHA-256 of image and mask."""
        parts = (self.image.numpy().tobytes(), self.mask.numpy().tobytes())
        return hashlib.sha256(b"".join(parts)).hexdigest()

    @property
    def person(self) -> str:
        """Whose it is: all sessions of ``sub-01`` are of one person."""
        return self.name.partition("_")[0] if self.name.startswith("sub-") else self.name

    @classmethod
    def of(cls, name: str, image: Tensor, mask: Tensor) -> Case:
        """A case whose intensities are scaled."""
        top = float(np.quantile(image[image > 0].numpy(), TOP))
        grown = [max(0, p - n) for p, n in zip(PATCH, image.shape, strict=True)]
        pads = [x for n in reversed(grown) for x in (0, n)]
        image, mask = (torch.nn.functional.pad(x.float(), pads) for x in (image / top, mask > 0))
        return cls(name, image, mask, np.argwhere(mask.numpy() > 0))


def people_of(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """The cases of each person, as who is left out is left out with all sessions."""
    found = dict[str, list[Case]]()
    for case in cases:
        found.setdefault(case.person, []).append(case)
    return found


def read_cases(folder: Path) -> list[Case]:
    """FLAIR images with lesion masks: of a BIDS dataset drawn here, or ``*/FLAIR.nii.gz``.

    Raises:
        Refusal: There are none, or a mask lies elsewhere than its image.
    """
    pairs = {
        path.parent.name: (path, path.with_name("lesions.nii.gz"))
        for path in sorted(folder.glob("*/FLAIR.nii.gz"))
    }
    bids = folder / "bids" if (folder / "bids").is_dir() else folder
    for path in (path for pattern in IMAGES for path in sorted(bids.glob(pattern))):
        name = path.name.removesuffix("_FLAIR.nii.gz")
        mask = bids / "derivatives" / "lamina" / path.parent.relative_to(bids)
        pairs[name] = (path, mask / f"{name}_label-lesion_mask.nii.gz")
    cases = []
    for name, (image, mask) in pairs.items():
        scan, lesions = read_volume(image), read_volume(mask)
        if not same_place(lesions, scan):
            raise Refusal(f"{mask} lies elsewhere than {image}: a mask has the grid of its image.")
        cases.append(Case.of(name, scan.data, lesions.data))
    if not cases:
        raise Refusal(
            f"{folder} holds no FLAIR with lesion masks: they are looked for as */FLAIR.nii.gz "
            "beside lesions.nii.gz, and in a BIDS dataset that was drawn here; name such a folder."
        )
    return cases
