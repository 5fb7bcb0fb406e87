"""Real people as attacks see them, pools as datasets make them, and finished images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from medical.anatomy.drawn import draw_anatomy
from medical.anatomy.mixing import Asked, mix
from medical.anatomy.pool import Pool, person_hash
from medical.anatomy.rendering import render
from medical.audit.linkage import LENGTH_MM, Drawing, keep
from medical.audit.seen import Seen, see, seen_in
from medical.datasets.people import PaintedHead, PeopleHeads
from medical.datasets.plan import FEWEST_IN_POOL, FOLDS, eligible_people, split
from medical.datasets.request import MRIDatasetRequest
from medical.files.volume import Volume

STUDY = "ds002748"


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


def image(pool: Pool, seed: int) -> Drawing:
    """A head found in a T1-weighted image at 1 mm, as a reader of the dataset gets it."""
    mixed = mix(pool, seed, Asked(LENGTH_MM, None, "any"))
    drawn = draw_anatomy(pool, seed, length_mm=LENGTH_MM)
    head = PaintedHead(
        drawn.labels, drawn.affine, drawn.contributors, drawn.facts, drawn.to_mni, drawn.texture
    )
    painted = render(head, ["T1w"], seed=seed)["T1w"]
    seen = seen_in(Volume(torch.from_numpy(painted), drawn.affine), "drawn")
    return Drawing(seen, dict(mixed.contributors), dict(mixed.means))
