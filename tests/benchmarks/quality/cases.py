"""Single cases kept on disk, so that a run that is cut goes on where it was."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.models.checkpoints import find_model, read_record

Arrays = dict[str, NDArray[Any]]
ROOT = Path(__file__).parents[3]


class DataMissingError(LookupError):
    """What a row is measured on is not on this machine."""


@dataclass
class Setting:
    """Where results go, how many are wanted, and what is known already.

    Attributes:
        into: Folder of the page, of its JSON and of its pictures.
        quick: Few and small cases: does it run, how does it look?
        store: Folder of the cases.
        seconds: What the cases asked for so far took when they were measured.
        fresh: How many of them were measured now.
        measured: When they were, to the minute.
    """

    into: Path
    quick: bool = False
    store: Path = field(
        default_factory=lambda: (
            Path(os.environ.get("LAMINA_HOME", ROOT / ".lamina")) / "results" / "cases"
        )
    )
    seconds: float = 0.0
    fresh: int = 0
    measured: set[str] = field(default_factory=set)

    @property
    def pictures(self) -> Path:
        """Where the page's pictures stand."""
        folder = self.into / "pictures" / "results"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find(
        self, kind: str, case: Mapping[str, Any], measure: Callable[[], tuple[dict, Arrays]]
    ) -> dict[str, Any]:
        """Numbers of a case, measured unless they are known; its arrays are kept beside them.

        Args:
            kind: "video" or "mri": whose weights made it.
            case: Everything that decides the outcome, but for the weights.
            measure: Gives numbers, ready for JSON, and arrays.
        """
        path = self._path(kind, case)
        if not path.is_file():
            start = time.perf_counter()
            numbers, arrays = measure()
            seconds = time.perf_counter() - start
            path.parent.mkdir(parents=True, exist_ok=True)
            if arrays:
                fresh = path.with_suffix(".part.npz")
                np.savez_compressed(fresh, allow_pickle=False, **arrays)
                fresh.replace(path.with_suffix(".npz"))
            whole = {"case": dict(case), "seconds": round(seconds, 2), "numbers": numbers}
            fresh = path.with_suffix(".part")
            fresh.write_text(json.dumps(whole))
            fresh.replace(path)
            self.fresh += 1
            sys.stdout.write(".")
            sys.stdout.flush()
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        self.measured.add(written.isoformat(timespec="minutes"))
        record = json.loads(path.read_text())
        self.seconds += record["seconds"]
        return record["numbers"]

    def arrays(self, kind: str, case: Mapping[str, Any]) -> Arrays:
        """Arrays of a case that was found before."""
        with np.load(self._path(kind, case).with_suffix(".npz")) as kept:
            return dict(kept)

    def forget(self) -> None:
        """Throw all cases away."""
        shutil.rmtree(self.store, ignore_errors=True)

    def _path(self, kind: str, case: Mapping[str, Any]) -> Path:
        text = json.dumps(case, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.store / f"{kind}-{weights_digest(kind)[:12]}" / f"{name}.json"


SHIPPED = {"video": "scenes-64", "mri": "heads-1mm"}


def weights_digest(kind: str) -> str:
    """SHA-256 of the weights that the results are about."""
    return read_record(find_model(SHIPPED[kind], kind))["sha256"]["weights.safetensors"]
