"""What a training run tells, as event files for TensorBoard and as lines of JSON for anyone.

A run's folder ``log`` holds ``progress.jsonl``, one record a line, and one folder of event files
for each stage. A run that goes on from a checkpoint takes back what it had told of later steps.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboardX import SummaryWriter

from core.records import atomic_path
from core.training.validation import Validation

LOG = "log"
PROGRESS = "progress.jsonl"
PICTURE = "validation.png"
FLUSH_EVERY_S = 10
_files = count()


class TrainingLog:
    """The log of one stage, for the one process that writes it.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = TrainingLog(Path(folder), "flow")
    ...     log.close()

    Args:
        folder: Of the run's log.
        stage: Name of the stage.
        step: At which the stage goes on; what was told of later steps is taken back.
    """

    def __init__(self, folder: Path, stage: str, step: int = 0) -> None:
        self.folder, self.stage = Path(folder), stage
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open(step)

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        """Tell what was measured up to ``step``."""
        for name, value in numbers.items():
            if math.isfinite(value):
                self._events.add_scalar(name, value, step)
        self._write(step, numbers)

    def validated(self, step: int, found: Validation, seconds: float) -> None:
        """Tell how the network did at ``step``, and how long it took to find out.

        The latest picture also stands beside the log.
        """
        numbers = {f"validation/{name}": value for name, value in found.numbers.items()}
        self.record(step, {**numbers, "validation_seconds": seconds})
        if found.picture is not None:
            self._events.add_image("validation", found.picture, step, dataformats="HWC")
            with atomic_path(self.folder / PICTURE, overwrite=True) as temporary:
                _save_png(found.picture, temporary)
        self._events.flush()

    def go_back(self, step: int) -> None:
        """Take back what was told of the steps after ``step``."""
        self.close()
        self._open(step)

    def close(self) -> None:
        """Write what is left."""
        self._events.close()

    def _open(self, step: int) -> None:
        path = self.folder / PROGRESS
        told = list(_records(path)) if path.exists() else []
        kept = [r for r in told if r["stage"] != self.stage or r["step"] <= step]
        lines = "".join(json.dumps(record) + "\n" for record in kept)
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_text(lines, encoding="utf-8")
        self._events = SummaryWriter(
            str(self.folder / self.stage),
            purge_step=step + 1,
            flush_secs=FLUSH_EVERY_S,
            # the name holds the second it was opened in, in which another may have been
            filename_suffix=f".{os.getpid()}.{next(_files)}",
        )

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        plain = {
            name: float(f"{value:.6g}") if math.isfinite(value) else None
            for name, value in numbers.items()
        }
        record = {"stage": self.stage, "step": step, "time": round(time.time(), 1), **plain}
        with (self.folder / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read_log(run: Path) -> list[dict[str, Any]]:
    """Every record of a run's log, in order; none where there is no log."""
    path = Path(run) / LOG / PROGRESS
    return list(_records(path)) if path.exists() else []


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed
            continue


def _save_png(picture: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(picture).save(path, "PNG")
