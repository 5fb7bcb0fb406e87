"""People of a folder that the user brings, as those of a model: blurred tissue maps, by hash.

Their heads are read and mapped when a dataset is planned; networks that fold and paint are the
shipped model's. Heads must be without their skull, so no face is ever read into a dataset.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.progress import counted
from core.records import sha256_file
from core.refusal import Refusal
from medical.anatomy.head_model import find_pool
from medical.anatomy.pool import Person, Pool, person_hash
from medical.audit.auditing import study_of
from medical.audit.seen import mapped
from medical.audit.sources import maps_of
from medical.datasets.people import PeopleHeads, shipped_card
from medical.datasets.plan import check_enough
from medical.files.nifti import read_volume
from medical.training.heads import find_heads

SEXES = {"f": "f", "female": "f", "w": "f", "m": "m", "male": "m"}
SEX_COLUMNS = ("sex", "gender")


def own_heads(sources: str) -> PeopleHeads:
    """Heads of the people in a BIDS folder.

    Args:
        sources: With sub-*/anat/sub-*_T1w.nii.gz, skull-stripped, and participants.tsv.

    Raises:
        Refusal: They are too few, have a skull, are drawn, or their age or sex is not told.
    """
    folder = Path(sources)
    found = find_heads(folder)
    first: dict[str, Path] = {}
    for name, path in found.taken.items():
        first.setdefault(name.partition("_")[0], path)
    check_enough(sources, len(first), found.says())
    told = _participants(folder, first)
    rows = [f"{name} {age} {sex} {sha256_file(first[name])}" for name, (age, sex) in told.items()]
    pool = _pool(folder, tuple(first.items()), tuple(told.items()), "\n".join(rows))
    heads = PeopleHeads(pool, shipped_card())
    heads.words = f"{heads.words}; the people are those of {study_of(folder)}, brought for this"
    return heads


def _participants(folder: Path, heads: Mapping[str, Path]) -> dict[str, tuple[float, str]]:
    """Age in years and sex of each, as participants.tsv tells them."""
    table = folder / "participants.tsv"
    rows: dict[str, dict[str, str]] = {}
    if table.is_file():
        with table.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                rows[str(row.get("participant_id"))] = {str(k): str(v) for k, v in row.items()}
    told, silent = dict[str, tuple[float, str]](), list[str]()
    for name in heads:
        row = rows.get(name, {})
        sex = next((SEXES[v] for c in SEX_COLUMNS if (v := row.get(c, "").lower()) in SEXES), "")
        try:
            age = float(row.get("age", ""))
        except ValueError:
            age = float("nan")
        if sex and np.isfinite(age):
            told[name] = (age, sex)
        else:
            silent.append(name)
    if silent:
        raise Refusal(
            f"sources={folder}: participants.tsv does not tell age and sex of "
            f"{counted(len(silent), 'person', 'people')} ({', '.join(silent[:5])}): anatomies "
            "are mixed at an age and a sex; fill the columns age and sex, or move them away."
        )
    return told


@lru_cache(maxsize=2)
def _pool(
    folder: Path,
    heads: tuple[tuple[str, Path], ...],
    told: tuple[tuple[str, tuple[float, str]], ...],
    rows: str,
) -> Pool:
    """The people's maps with the shipped model's networks.

    Args:
        folder: Of the dataset.
        heads: Name and file of each.
        told: Name, age and sex of each.
        rows: What decides the maps; another text, another pool.
    """
    shipped, study = find_pool(), study_of(folder)
    people, wide, deep = list[Person](), list[np.ndarray](), list[np.ndarray]()
    about = dict(told)
    for name, path in heads:
        seen, size = mapped(read_volume(path), name)
        maps = [np.rint(np.clip(m, 0, 1) * 255).astype(np.uint8) for m in maps_of(seen)]
        age, sex = about[name]
        people.append(Person(person_hash(study, name), age, sex, size))
        wide.append(maps[0])
        deep.append(maps[1])
    digest = hashlib.sha256(f"{shipped.digest}\n{rows}".encode()).hexdigest()[:32]
    return replace(
        shipped, people=tuple(people), wide=np.stack(wide), deep=np.stack(deep), digest=digest
    )
