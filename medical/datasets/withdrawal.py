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

from core.models.checkpoints import list_models
from core.refusal import Refusal
from medical.anatomy.pool import person_hash
from medical.audit.keys import read_key
from medical.lesions.atlas import lesion_atlas

TRAINED_ON = "ds002748"
"""The data set of the people behind the shipped models."""
HASH = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class Traces:
    """Where a person is found.

    Attributes:
        hashes: what they are called in records.
        volumes: the volumes that they contributed to.
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
    models, silent = [], []
    for folder, record in list_models():
        if record["kind"] in ("mri", "head"):
            people = record.get("people")
            if people is None:
                silent.append(folder.name)
            elif {row[0] if isinstance(row, list) else row for row in people} & hashes:
                models.append(folder.name)
    if hashes & set(lesion_atlas().people):
        models.append("ms-lesions")
    keyless = () if HASH.fullmatch(participant) else tuple(_keyless(found))
    return Traces(
        tuple(sorted(hashes)), tuple(volumes), tuple(models), tuple(silent), len(found), keyless
    )


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


def _volumes(dataset: Path, hashes: set[str]) -> Iterator[Path]:
    """The records of volumes of a dataset, set aside ones too, that a person contributed to."""
    places = sorted(dataset.glob("volumes/sub-*.json"))
    for place in [*places, *sorted(dataset.glob("quarantine/*/reasons.json"))]:
        record = json.loads(place.read_text(encoding="utf-8"))
        given = record.get("contributors", {})
        if any(hashes & set(part) for part in given.values()):
            yield place
