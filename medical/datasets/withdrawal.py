"""What must go when a person withdraws: the volumes and models that they contributed to.

People stand in records as hashes, so whoever asks says who it is: the data set and the
participant, or the hash itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.models.checkpoints import list_models
from core.refusal import Refusal
from medical.anatomy.pool import person_hash
from medical.audit.keys import read_key
from medical.lesions.atlas import lesion_atlas

TRAINED_ON = "ds002748"
"""The data set of the people behind the shipped models."""
OF_POOL = 16
"""What of the digest that a record tells of its heads is of the model's people."""
BEHIND = Path(__file__).parents[1] / "weights" / "people.json"
"""Whom weights that ship were made from, where they do not say so themselves."""
ATLAS = "ms-lesions"
HASH = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class Traces:
    """Where a person is found.

    Attributes:
        hashes: what they are called in records.
        volumes: the volumes that they contributed to.
        around: further volumes, drawn around the mean of a model that was made from them.
        models: the models that were made from them.
        silent: models whose records do not name their people.
        searched: how many datasets were looked through.
        keyless: datasets of people of your own whose key does not stand beside them, so that only
            a hash can be looked for.
    """

    hashes: tuple[str, ...]
    volumes: tuple[Path, ...]
    models: tuple[str, ...]
    silent: tuple[str, ...]
    searched: int
    keyless: tuple[Path, ...] = ()
    around: tuple[Path, ...] = ()


def traces(participant: str, folders: Iterable[Path]) -> Traces:
    """Where a person is found.

    Args:
        participant: ``ds002748:sub-01``, ``sub-01`` for any data set that is known, or a hash.
        folders: below which datasets are looked for.

    Raises:
        Refusal: The name is none, or a folder does not exist.
    """
    found = sorted(set(_datasets(folders)))
    hashes = _hashes(participant, found)
    volumes = [place for dataset in found for place in _volumes(dataset, hashes)]
    models, silent, means = list[str](), list[str](), set[str]()
    behind = people_behind()
    for folder, record in list_models():
        if record["kind"] in ("mri", "head"):
            people = record.get("people")
            ships = folder.name in behind and folder.parent == BEHIND.parent
            if people is None and not ships:
                silent.append(folder.name)
            elif people and {row[0] if isinstance(row, list) else row for row in people} & hashes:
                models.append(folder.name)
                means.add(str(record.get("pool_sha256"))[:OF_POOL])
    around = [place for dataset in found for place in _around(dataset, means)]
    models += [name for name, people in behind.items() if hashes & people and name not in models]
    keyless = () if HASH.fullmatch(participant) else tuple(_keyless(found))
    return Traces(
        tuple(sorted(hashes)),
        tuple(volumes),
        tuple(models),
        tuple(silent),
        len(found),
        keyless,
        tuple(place for place in around if place not in set(volumes)),
    )


def people_behind() -> dict[str, set[str]]:
    """The people that weights which ship were made from, by hash, beside what models say."""
    told = json.loads(BEHIND.read_text(encoding="utf-8"))
    return {name: set(people) for name, people in told.items()} | {
        ATLAS: set(lesion_atlas().people)
    }


def _hashes(participant: str, datasets: Iterable[Path]) -> set[str]:
    source, colon, name = participant.rpartition(":")
    if HASH.fullmatch(participant):
        return {participant}
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or (colon and not source):
        raise Refusal(
            f"{participant}: a person is named by data set and participant, such as "
            f"{TRAINED_ON}:sub-01, or by the hash in a record; correct it."
        )
    keys = [key for dataset in datasets if (key := read_key(dataset)) and key.of(source)]
    return {person_hash(source or TRAINED_ON, name), *(key.hash_of(name) for key in keys)}


def _keyless(datasets: Iterable[Path]) -> Iterator[Path]:
    """Datasets of people of your own that have no key."""
    for dataset in datasets:
        path = dataset / "request.json"
        asked = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if asked.get("sources") and read_key(dataset) is None:
            yield dataset


def _datasets(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise Refusal(
                f"{folder} is no folder: datasets are looked for below folders; check its name."
            )
        for place in folder.rglob("volumes/sub-*.json"):
            yield place.parent.parent.resolve()


def _records(dataset: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The records of volumes of a dataset, set aside ones too."""
    places = sorted(dataset.glob("volumes/sub-*.json"))
    for place in [*places, *sorted(dataset.glob("quarantine/*/reasons.json"))]:
        yield place, json.loads(place.read_text(encoding="utf-8"))


def _around(dataset: Path, means: set[str]) -> Iterator[Path]:
    """The records of volumes that were drawn around the mean of one of these models.

    A head that was set aside does not say its model: it is of that of its dataset. Neither do
    records of the first versions: all with people behind them are listed.
    """
    records = list(_records(dataset))
    told = {str(r["drawn_from"]["heads"])[:OF_POOL] for _, r in records if "drawn_from" in r}
    for place, record in records:
        drawn_from = record.get("drawn_from")
        of = {str(drawn_from["heads"])[:OF_POOL]} if drawn_from else told
        people = record.get("contributors", {}).get("anatomy")
        if of & means if of else means and people:
            yield place


def _volumes(dataset: Path, hashes: set[str]) -> Iterator[Path]:
    """The records of volumes of a dataset, set aside ones too, that a person contributed to."""
    for place, record in _records(dataset):
        given = record.get("contributors", {})
        if any(hashes & set(part) for part in given.values()):
            yield place
