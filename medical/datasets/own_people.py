"""People of a folder that the user brings, as those of a model: blurred tissue maps, by hash.

Their heads are read and mapped once the plan of a dataset stands; networks that fold and paint
are the shipped model's. Heads must be without their skull, so no face is ever read into a dataset.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.progress import counted
from core.records import sha256_file
from core.refusal import Refusal
from medical.anatomy.head_model import find_pool
from medical.anatomy.pool import Person, Pool
from medical.anatomy.segmenting import upright_axes
from medical.audit.auditing import license_of, study_of
from medical.audit.keys import PeopleKey
from medical.audit.seen import Seen, mapped, seen_in
from medical.audit.sources import maps_of
from medical.datasets.people import PeopleHeads, shipped_card
from medical.datasets.plan import check_enough
from medical.files.bids import people_table
from medical.files.naming import PERSON, naming_nobody
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.training.heads import find_heads, listed

logger = logging.getLogger(__name__)
SEXES = {"f": "f", "female": "f", "w": "f", "m": "m", "male": "m"}
OLDEST = 120
ONE_EACH = "one head of each person is taken"
WHO = " lamina mri augment REQUEST OUT --dry-run, where the people stand, says who it is."
Told = tuple[float, str]  # age in years, and sex
SEX_COLUMNS = ("sex", "gender")


class OwnHeads(PeopleHeads):
    """Heads of people in a folder, known by name at once and mapped when asked.

    Attributes:
        left_out: Files that are not taken, by name, for nobody but who asks.
        license: Of the data, as its description states it; empty where it does not.
    """

    def __init__(
        self,
        folder: Path,
        heads: Mapping[str, Path],
        told: Mapping[str, Told],
        left_out: str = "",
    ) -> None:
        self.left_out = left_out
        digests = {name: sha256_file(heads[name]) for name in told}
        self._heads, self._told = heads, told
        secret = "\n".join(["key of people", *sorted(digests.values())])
        key = hashlib.sha256(secret.encode()).hexdigest()
        self.license = license_of(folder)
        self.key = PeopleKey(study_of(folder), str(folder.resolve()), key)
        rows = [f"{name} {age} {sex} {digests[name]}" for name, (age, sex) in told.items()]
        shipped = find_pool()
        digest = hashlib.sha256("\n".join([shipped.digest, *rows]).encode()).hexdigest()[:32]
        people = [Person(self.key.hash_of(n), *told[n], (1.0, 1.0, 1.0)) for n in told]
        wide, deep = (
            np.zeros((len(people), *maps.shape[1:]), np.uint8)
            for maps in (shipped.wide, shipped.deep)
        )
        given = {"people": tuple(people), "wide": wide, "deep": deep, "digest": digest}
        pool = replace(shipped, **given, expected=None)
        self._seen: Sequence[Seen] = ()
        super().__init__(pool, shipped_card())
        self.words = f"{self.words}; the people were brought for this"

    def map_people(self) -> None:
        """Read and map every head.

        Raises:
            Refusal: One has a skull, or is none.
        """
        self._pool, self._seen = _mapped(
            self._pool, tuple(self._heads[name] for name in self._told)
        )

    def everyone(self) -> tuple[Pool, Sequence[Seen]]:
        """All people, those in no pool too, by maps and as attacks see them; mapped before."""
        if not self._seen:
            self.map_people()
        return self._pool, self._seen


def own_heads(sources: str) -> OwnHeads:
    """Heads of the people in a BIDS folder, not mapped yet.

    Args:
        sources: With sub-*/anat/sub-*_T1w.nii.gz, skull-stripped, and participants.tsv.

    Raises:
        Refusal: They are too few, have a skull, are drawn, or their age or sex is not told.
    """
    with naming_nobody():
        return _own_heads(sources, Path(sources))


def _own_heads(sources: str, folder: Path) -> OwnHeads:
    found = find_heads(folder)
    first: dict[str, Path] = {}
    for name, path in found.taken.items():
        first.setdefault(name.partition("_")[0], path)
    further = sorted(path.name for path in {*found.taken.values()} - {*first.values()})
    says = [found.says(), further and f"{listed(further)}: {ONE_EACH}"]
    counts = [found.counts(), further and f"{counted(len(further), 'file')}: {ONE_EACH}"]
    if any(says):  # logs are read by others, and name no people
        logger.warning("files of sources left out: %s", "; ".join(filter(None, counts)))
    check_enough(sources, len(first), found.says(), found.counts())
    told = _participants(folder, first)
    return OwnHeads(folder, first, told, "; ".join(filter(None, says)))


def _participants(folder: Path, heads: Mapping[str, Path]) -> dict[str, Told]:
    """Age in years and sex of each, as participants.tsv tells them."""
    table = folder / "participants.tsv"
    rows: dict[str, dict[str, str]] = {}
    if table.is_file():
        columns, people = people_table(table)
        for cells in people:
            row = dict(zip(columns, cells, strict=False))
            rows[f"sub-{row['participant_id'].removeprefix('sub-')}"] = row
    told, silent = dict[str, Told](), list[str]()
    for name in heads:
        row = rows.get(name, {})
        sex = next((SEXES[v] for c in SEX_COLUMNS if (v := row.get(c, "").lower()) in SEXES), "")
        try:
            age = float(row.get("age", ""))
        except ValueError:
            age = float("nan")
        if sex and 0 < age <= OLDEST:
            told[name] = (age, sex)
        else:
            silent.append(name)
    if silent:
        who = counted(len(silent), "person", "people")
        named, unnamed = (
            f"sources={folder}: participants.tsv does not tell age and sex of {each}: anatomies "
            f"are mixed at an age (above 0, to {OLDEST} years) and a sex; fill the columns age "
            "and sex, or move them away."
            for each in (f"{who} ({', '.join(silent[:5])})", who)
        )
        raise Refusal(named, unnamed=unnamed)
    return told


def _upright(seen: Seen, volume: Volume) -> Seen:
    """A head as attacks see it, whose maps were made on the axes of its file."""
    order, flips = upright_axes(volume.affine)
    if order != (0, 1, 2):
        return seen_in(volume, seen.name)
    return replace(seen, box=np.flip(seen.box, flips).copy()) if flips else seen


@contextmanager
def _called(name: str) -> Iterator[None]:
    """Refusals within call a person by hash where others read them."""
    try:
        yield
    except Refusal as error:
        error.unnamed = PERSON.sub(name, str(error)) + WHO
        raise


_KEPT: dict[str, tuple[Pool, Sequence[Seen]]] = {}  # the last, as a plan is often made twice


def _mapped(pool: Pool, files: tuple[Path, ...]) -> tuple[Pool, Sequence[Seen]]:
    """A pool with the maps of its people, in their order, and the people as attacks see them."""
    if pool.digest in _KEPT:
        return _KEPT[pool.digest]
    people, wide, deep, kept = list[Person](), list[np.ndarray](), list[np.ndarray](), list[Seen]()
    for person, path in zip(pool.people, files, strict=True):
        with _called(person.hash):
            volume = read_volume(path)
            seen, size = mapped(volume, path.name.partition("_")[0])
            shown = _upright(seen, volume)
        maps = [np.rint(np.clip(m, 0, 1) * 255).astype(np.uint8) for m in maps_of(seen)]
        people.append(replace(person, size=size))
        kept.append(replace(shown, name=person.hash))
        wide.append(maps[0])
        deep.append(maps[1])
    _KEPT.clear()
    found = replace(pool, people=tuple(people), wide=np.stack(wide), deep=np.stack(deep))
    _KEPT[pool.digest] = found, tuple(kept)
    return _KEPT[pool.digest]
