"""One head of a dataset: drawn, held against its plan, and written in every format."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.progress import counted
from core.records import sha256_file
from medical.anatomy.site import draw_site, scanned
from medical.datasets.heads import WHITE_AT, Head, Heads
from medical.datasets.likeness import UNMEASURED, likeness, unlike
from medical.datasets.plan import Plan, Planned
from medical.datasets.quality import faults, measured
from medical.datasets.request import MRIDatasetRequest
from medical.files import bids, nnunet
from medical.files.nifti import write_volume
from medical.files.privacy import DRAWN_HEAD
from medical.files.volume import FileHeader, Volume
from medical.lesions.appearance import draw_ratio, insert
from medical.lesions.atlas import LesionAtlas
from medical.lesions.drawing import DrawnLesions, draw_lesions
from medical.lesions.regions import places_of

MNI = 4
IMAGE = FileHeader(dtype="int16", sform_code=MNI, qform_code=MNI, units=2)
LABELS = FileHeader(dtype="uint8", sform_code=MNI, qform_code=MNI, units=2)
LOAD_TOLERANCE = 0.05
TISSUE_SHARES = {1: (0.04, 0.35), 2: (0.3, 0.62), 3: (0.2, 0.5)}
"""Of the brain, from the smallest to the largest of real heads and of the template, with room."""


@dataclass(frozen=True, eq=False)
class DrawnVolume:
    """A head in memory.

    Attributes:
        head: Its anatomy.
        images: Contrast to intensities, whole numbers.
        lesions: None for a healthy head.
        facts: What is known of it.
        before: The last contrast before its lesions; None for a healthy head.
    """

    head: Head
    images: Mapping[str, NDArray[np.float32]]
    lesions: DrawnLesions | None
    facts: dict[str, Any]
    before: NDArray[np.float32] | None = None

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 in lesions, 0 elsewhere."""
        if self.lesions is None:
            return np.zeros(self.head.labels.shape, dtype=np.uint8)
        return (self.lesions.mask > 0).astype(np.uint8)


def draw_volume(
    request: MRIDatasetRequest,
    plan: Plan,
    planned: Planned,
    attempt: int,
    heads: Heads,
    atlas: LesionAtlas,
) -> DrawnVolume:
    """The head that follows from request, place and attempt alone."""
    seed = planned.attempt_seed(attempt)
    head = heads.draw(seed, request.spacing_mm, plan.pools[planned.fold])
    head = replace(head, facts=plan.told[planned.fold].facts(head.facts))
    images = heads.render(head, request.contrasts, seed)
    images = {name: np.rint(image).clip(0, 32767) for name, image in images.items()}
    lesions, looks, last = None, {}, images[request.contrasts[-1]]
    if planned.wish is not None:
        places = places_of(head.labels, head.to_mni @ head.affine, atlas)
        pool = plan.lesion_pools[planned.fold]
        lesions = draw_lesions(planned.wish, places, atlas, seed, people=pool)
        for name, image in images.items():
            changed = insert(image, lesions.mask, name, places.spacing_mm, seed)
            images[name] = np.rint(changed).clip(0, 32767)
            looks[name] = round(draw_ratio(name, seed), 4)
    site = draw_site(request.site, seed)

    def scan(image: NDArray[np.float32], place: int) -> NDArray[np.float32]:
        seen = scanned(image, site, request.spacing_mm, WHITE_AT, [4, seed, place])
        return np.rint(seen).clip(0, 32767)

    images = {name: scan(image, place) for place, (name, image) in enumerate(images.items())}
    before = scan(last, len(images) - 1) if lesions else None
    facts = {
        "subject": planned.subject,
        "fold": planned.fold,
        "attempt": attempt,
        "seed": seed,
        "contributors": {
            "anatomy": dict(head.contributors),
            "lesions": dict(lesions.contributors) if lesions else {},
        },
        "anatomy": dict(head.facts),
        "lesions": dict(lesions.facts) if lesions else None,
        "lesion_to_white_matter": looks,
        "site": site.facts,
        "quality": measured(images, head.labels, head.affine, WHITE_AT),
    }
    drawn = DrawnVolume(head, images, lesions, facts, before)
    facts["quality"]["likeness"] = _likeness(drawn, request, seed)
    return drawn


def _likeness(drawn: DrawnVolume, request: MRIDatasetRequest, seed: int) -> dict[str, Any] | None:
    """How like real heads; of T1w at 1 mm, judged where no faults of a scanner were asked."""
    if "T1w" not in drawn.images or any(abs(mm - 1) > 0.01 for mm in request.spacing_mm):
        return None
    found = likeness(drawn.images["T1w"], drawn.head.labels, drawn.mask, seed)
    judged = request.site == "clean" and bool(drawn.head.contributors)
    if found is None:
        return {"unmeasured": UNMEASURED, "judged": True} if judged else None
    return {**found, "judged": judged}


def judge(drawn: DrawnVolume, planned: Planned) -> list[str]:
    """Why a head is no part of the dataset; empty if it is."""
    labels, reasons = drawn.head.labels, []
    brain = float((labels > 0).sum())
    for label, (low, high) in TISSUE_SHARES.items():
        share = float((labels == label).sum()) / max(brain, 1.0)
        if not low <= share <= high:
            reasons.append(f"tissue {label} is {share:.3f} of the brain, not {low:g} to {high:g}")
    if drawn.lesions is not None and planned.wish is not None:
        load = drawn.lesions.facts["load_ml"]["delivered"]
        count = drawn.lesions.facts["count"]["delivered"]
        if abs(load - planned.wish.load_ml) > LOAD_TOLERANCE * planned.wish.load_ml:
            reasons.append(f"{load:.3g} ml of lesions, not {planned.wish.load_ml:.3g}")
        if count != planned.wish.count:
            reasons.append(f"{counted(count, 'lesion')}, not {planned.wish.count}")
    like = drawn.facts["quality"]["likeness"]
    reasons += unlike(like) if like and like["judged"] else []
    return reasons + faults(drawn.facts["quality"])


def write_images(drawn: DrawnVolume, subject: str, root: Path) -> list[Path]:
    """Write images and labels as BIDS into a folder; the files."""
    files = []
    for contrast, image in drawn.images.items():
        path = root / bids.image_path(subject, contrast)
        files.append(_write(image, drawn.head.affine, IMAGE, path))
        about = {"Modality": "MR", "ImageType": ["DERIVED", "SECONDARY", "SYNTHETIC"]}
        files.append(bids.write_json(_sidecar(path), about))
    for name, labels in (
        (bids.mask_path(subject), drawn.mask),
        (bids.tissue_path(subject), drawn.head.labels),
    ):
        files.append(_write(labels, drawn.head.affine, LABELS, root / name))
        files.append(bids.write_json(_sidecar(root / name), {"Manual": False}))
    return files


def write_case(
    subject: str, root: Path, folder: Path, contrasts: tuple[str, ...], *, healthy: bool
) -> list[Path]:
    """Copy a subject's images and labels into an nnU-Net dataset; the files.

    Args:
        subject: Whose.
        root: Of the BIDS dataset they stand in.
        folder: ``DatasetNNN_NAME``.
        contrasts: In the order of the channels.
        healthy: Whether tissues are the labels, and not lesions.
    """
    case = case_of(subject)
    label = bids.tissue_path(subject) if healthy else bids.mask_path(subject)
    copies = {folder / nnunet.label_name(case): root / label}
    for channel, contrast in enumerate(contrasts):
        target = folder / nnunet.image_name(case, channel)
        copies[target] = root / bids.image_path(subject, contrast)
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".part-{target.name}")
        shutil.copyfile(source, part)
        part.replace(target)
    return list(copies)


def case_of(subject: str) -> str:
    """The name of a subject among nnU-Net's cases."""
    return subject.replace("-", "")


def digests(files: list[Path], out: Path) -> dict[str, str]:
    """SHA-256 of files by their place in the dataset."""
    return {str(path.relative_to(out)): sha256_file(path) for path in sorted(files)}


def _write(
    voxels: NDArray[np.generic], affine: NDArray[np.float64], header: FileHeader, path: Path
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))
    return write_volume(Volume(data, affine, header), path, description=DRAWN_HEAD, overwrite=True)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.replace(".nii.gz", ".json"))
