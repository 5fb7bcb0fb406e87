"""What people of your own are called in a dataset, and the key that names them.

Whoever gets a dataset could try all numbers of participants were a hash made of names alone. So it
is made with a key that follows from the scans, and that stands beside the dataset, not in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from core.records import atomic_path
from medical.anatomy.pool import person_hash


@dataclass(frozen=True)
class PeopleKey:
    """Who stands behind a dataset.

    Attributes:
        study: The data set that they are of.
        folder: Its folder.
        key: What their hashes are made with.
    """

    study: str
    folder: str
    key: str

    def hash_of(self, participant: str) -> str:
        """What records call a participant."""
        return person_hash(self.key, participant)

    def of(self, source: str) -> bool:
        """Whether a word names their data set: as study, as folder, or nothing."""
        here = Path(self.folder)
        return source in ("", self.study, self.folder, here.name, here.resolve().name)


def key_path(dataset: Path) -> Path:
    """Where the key of a dataset stands: beside it, hidden."""
    dataset = dataset.resolve()
    return dataset.with_name(f".{dataset.name}.people.json")


def read_key(dataset: Path) -> PeopleKey | None:
    """The key of a dataset; None where none stands beside it."""
    path = key_path(dataset)
    return PeopleKey(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def write_key(key: PeopleKey, dataset: Path) -> None:
    """Write the key beside a dataset, for its owner alone to read."""
    path = key_path(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(key)), encoding="utf-8")
