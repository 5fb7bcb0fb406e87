"""Real people as attacks see them, pools as datasets make them, and finished images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medical.anatomy.drawn import draw_anatomy
from medical.anatomy.filters import Floats
from medical.anatomy.mixing import Asked, mix
from medical.anatomy.pool import Pool, person_hash
from medical.anatomy.rendering import render
from medical.anatomy.tissues import find_tissues
from medical.audit.linkage import LENGTH_MM, Drawing, keep
from medical.audit.seen import Seen, see, seen_in
from medical.datasets.people import PaintedHead, PeopleHeads
from medical.datasets.plan import FEWEST_IN_POOL, FOLDS, eligible_people, split
from medical.datasets.request import MRIDatasetRequest
from medical.files.nifti import read_volume
from medical.files.volume import Volume

STUDY = "ds002748"
NAMES = ("CSF", "gray matter", "white matter")
Labels = NDArray[np.uint8]


def real_people(heads: Path, folder: Path) -> list[Seen]:
    """The people of a BIDS folder as attacks see them, kept in a folder; named by hash."""
    people = []
    for path in sorted(heads.glob("sub-*/anat/sub-*_T1w.nii.gz")):
        name = path.name.split("_")[0]
        kept = folder / f"{name}.npz"
        if not kept.is_file():
            seen = see(path, name)
            keep(kept, labels=seen.labels, box=seen.box)
        with np.load(kept) as file:
            people.append(Seen(person_hash(STUDY, name), file["labels"], file["box"]))
    return people


def pools_of(pool: Pool) -> list[Pool]:
    """The pools of the folds of a dataset."""
    people = eligible_people(MRIDatasetRequest(), PeopleHeads(pool))
    parts = split(people, FOLDS, FEWEST_IN_POOL)
    return [pool.only([person.hash for person in part]) for part in parts]


def image(pool: Pool, seed: int, told: Path) -> Drawing:
    """A head found in a T1-weighted image at 1 mm, as a reader of the dataset gets it.

    Args:
        pool: Whom it is drawn from.
        seed: Of the head.
        told: Folder that is told how well its tissues are found again.
    """
    mixed = mix(pool, seed, Asked(LENGTH_MM, None, "any"))
    drawn = draw_anatomy(pool, seed, length_mm=LENGTH_MM)
    head = PaintedHead(
        drawn.labels, drawn.affine, drawn.contributors, drawn.facts, drawn.to_mni, drawn.texture
    )
    scan = render(head, ["T1w"], seed=seed)["T1w"]
    _tell(told / f"drawn-{seed}.json", head.labels, scan, head.spacing_mm)
    seen = seen_in(Volume(torch.from_numpy(scan), drawn.affine), "drawn")
    return Drawing(seen, dict(mixed.contributors), dict(mixed.means))


def real_again(heads: Path, count: int, told: Path) -> None:
    """The same of real heads: their tissues, and those of an image made from them.

    Args:
        heads: BIDS folder.
        count: How many of them, evenly spread.
        told: Folder that is told how well tissues are found again.
    """
    every = sorted(heads.glob("sub-*/anat/sub-*_T1w.nii.gz"))
    for path in (every[k * len(every) // count] for k in range(count)):
        kept = told / f"real-{path.name.split('_')[0]}.json"
        if kept.is_file():
            continue
        volume = read_volume(path)
        found = find_tissues(volume.data.numpy().astype(np.float32), volume.spacing_mm)
        head = PaintedHead(found.labels, volume.affine, {}, {}, texture=found.even)
        scan = render(head, ["T1w"], seed=0)["T1w"]
        _tell(kept, head.labels, scan, head.spacing_mm)


def again(told: Path) -> dict[str, object]:
    """Mean Dice of tissues that were found again, of drawn and of real heads."""
    facts: dict[str, object] = {}
    for kind in ("drawn", "real"):
        each = [json.loads(p.read_text("utf-8")) for p in sorted(told.glob(f"{kind}-*.json"))]
        means = {n: round(float(np.mean([one[n] for one in each])), 4) for n in NAMES if each}
        facts[kind] = {"heads": len(each), **means}
    return facts


def _tell(path: Path, labels: Labels, scan: Floats, spacing: tuple[float, float, float]) -> None:
    found = find_tissues(scan, spacing).labels
    dice = {
        name: 2 * float(((labels == k) & (found == k)).sum())
        / float((labels == k).sum() + (found == k).sum())
        for k, name in enumerate(NAMES, start=1)
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dice), "utf-8")
