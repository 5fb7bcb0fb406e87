"""Heads that are drawn as datasets draw them, one file each, so that a run can go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.records import atomic_path
from medical.anatomy.drawn import draw_anatomy, likeliest
from medical.anatomy.mixing import Asked, Mixed, mix
from medical.anatomy.pool import Pool, person_hash
from medical.anatomy.rendering import render
from medical.audit.seen import Seen, box_of, painted, see, seen_in
from medical.datasets.people import PaintedHead, PeopleHeads
from medical.datasets.plan import FEWEST_IN_POOL, FOLDS, eligible_people, split
from medical.datasets.request import MRIDatasetRequest
from medical.files.volume import Volume

STUDY = "ds002748"
LENGTH_MM = 20.0


@dataclass(frozen=True, eq=False)
class Drawing:
    """A head and who is behind it.

    Attributes:
        seen: As attacks see it.
        shares: Of each contributor, by hash: mean squared weights.
        means: Mean weights.
    """

    seen: Seen
    shares: dict[str, float]
    means: dict[str, float]


def real_people(heads: Path, folder: Path) -> list[Seen]:
    """The people of a BIDS folder as attacks see them, kept in a folder; named by hash."""
    people = []
    for path in sorted(heads.glob("sub-*/anat/sub-*_T1w.nii.gz")):
        name = path.name.split("_")[0]
        kept = folder / f"{name}.npz"
        if not kept.is_file():
            seen = see(path, name)
            _keep(kept, labels=seen.labels, box=seen.box)
        with np.load(kept) as file:
            people.append(Seen(person_hash(STUDY, name), file["labels"], file["box"]))
    return people


def pools_of(pool: Pool) -> list[Pool]:
    """The pools of the folds of a dataset."""
    people = eligible_people(MRIDatasetRequest(), PeopleHeads(pool))
    parts = split(people, FOLDS, FEWEST_IN_POOL)
    return [pool.only([person.hash for person in part]) for part in parts]


def drawings(pools: list[Pool], count: int, folder: Path, *, image: bool) -> Iterator[Drawing]:
    """Heads drawn in turns from pools: their anatomy at 2 mm, or found in the finished image."""
    for k in range(count):
        pool, seed = pools[k % len(pools)], 1000 + k
        kept = folder / f"{'image' if image else 'anatomy'}-{k:03d}.npz"
        if not kept.is_file():
            mixed = mix(pool, seed, Asked(LENGTH_MM, None, "any"))
            seen = _scanned(pool, seed) if image else _folded(pool, mixed, seed)
            _keep(
                kept,
                labels=seen.labels,
                box=seen.box,
                names=np.array(list(mixed.means)),
                shares=np.array(list(mixed.contributors.values())),
                means=np.array(list(mixed.means.values())),
            )
        with np.load(kept) as file:
            names = file["names"].tolist()
            yield Drawing(
                Seen(kept.stem, file["labels"], file["box"]),
                dict(zip(names, file["shares"].tolist(), strict=True)),
                dict(zip(names, file["means"].tolist(), strict=True)),
            )


def _folded(pool: Pool, mixed: Mixed, seed: int) -> Seen:
    """The anatomy that an image is painted from, at 2 mm."""
    labels = likeliest(pool.fold(mixed.condition, seed))
    return Seen("", labels, box_of(painted(labels)))


def _scanned(pool: Pool, seed: int) -> Seen:
    """A T1-weighted image at 1 mm, as a reader of the dataset gets it."""
    drawn = draw_anatomy(pool, seed, length_mm=LENGTH_MM)
    head = PaintedHead(
        drawn.labels, drawn.affine, drawn.contributors, drawn.facts, drawn.to_mni, drawn.texture
    )
    image = render(head, ["T1w"], seed=seed)["T1w"]
    return seen_in(Volume(torch.from_numpy(image), drawn.affine), "drawn")


def _keep(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        np.savez_compressed(part, allow_pickle=False, **arrays)
