"""Exported graphs, computed by OpenVINO or ONNX Runtime, whichever they were written for."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from core.trouble import Trouble

RECORD = "model.json"
FORMAT_VERSION = 1
BUCKETS = (16, 32, 64)
"""Lengths that prompts are filled up to, so that few shapes are compiled."""
THREADS = "OMP_NUM_THREADS"
MADE = {"video": "clips are drawn", "mri": "heads are restored"}
Run = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""From inputs by name to the answer."""


class Format(NamedTuple):
    """One way to write graphs, and what computes those.

    Attributes:
        library: Of Python, and its distribution.
        module: With ``load(path, tokens, threads, cache) -> Run``.
        files: Endings of the files of one graph; the first is read.
    """

    library: str
    module: str
    files: tuple[str, ...]


OPENVINO, ONNX = "openvino", "onnx"
FORMATS = {
    OPENVINO: Format("openvino", "core.runner.by_openvino", (".xml", ".bin")),
    ONNX: Format("onnxruntime", "core.runner.by_onnxruntime", (".onnx",)),
}


class Graphs:
    """The graphs of an exported model, each compiled when it is first asked for.

    Args:
        folder: Of the exported model.
        kind: Of model that is wanted, ``video`` or ``mri``.
        cache: Where compiled graphs are kept, so that the next start is quick; None for nowhere.

    Raises:
        Refusal: The folder holds none of that kind.
    """

    def __init__(self, folder: Path, kind: str, cache: Path | None = None) -> None:
        self.folder, self.record = folder, read_record(folder)
        if self.record["kind"] != kind:
            raise Refusal(
                f"{folder} holds a model of kind {self.record['kind']}: {MADE[kind]} by one of "
                f"kind {kind}; name another folder."
            )
        self.format = FORMATS[self.record.get("format", OPENVINO)]
        library = self.format.library
        if find_spec(library) is None:
            raise Refusal(
                f"{folder} is computed by {library}: {library} is not installed here; install "
                "what its requirements.txt names."
            )
        self._cache = cache
        self._compiled: dict[tuple[str, int], Run] = {}

    def run(
        self, name: str, inputs: Mapping[str, NDArray[Any]], *, tokens: int = 0
    ) -> NDArray[np.float32]:
        """The answer of one graph.

        Args:
            name: Of the graph.
            inputs: By name.
            tokens: Length of prompts, where the graph reads some.
        """
        key = name, tokens
        if key not in self._compiled:
            self._compiled[key] = self._compile(name, tokens)
        return self._compiled[key](inputs)

    def versions(self, *more: str) -> dict[str, str]:
        """Of Python, numpy, what computes graphs, and more distributions; for records."""
        names = ("numpy", self.format.library, *more)
        return {"python": platform.python_version()} | {name: version(name) for name in names}

    def _compile(self, name: str, tokens: int) -> Run:
        paths = [self.folder / f"{name}{ending}" for ending in self.format.files]
        for path in paths:
            self._check(path.name)
        threads = int(os.environ.get(THREADS) or 0)
        return import_module(self.format.module).load(paths[0], tokens, threads, self._cache)

    def _check(self, name: str) -> None:
        wanted = self.record["sha256"].get(name)
        with (self.folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted:
            raise Trouble(
                f"{self.folder / name}: sha256 is {found[:12]}, the record says "
                f"{str(wanted)[:12]}: the file is not the one that was exported; export the "
                "model again."
            )


def bucket(length: int) -> int:
    """The length that a prompt of so many tokens is filled up to."""
    return next(size for size in BUCKETS if length <= size)


def read_record(folder: Path) -> dict[str, Any]:
    """What an exported model says of itself.

    Raises:
        Refusal: It is none, or one of another release.
    """
    path = folder / RECORD
    if not path.is_file():
        raise Refusal(
            f"{folder} holds no {RECORD}: an exported model is a folder that `lamina export` "
            "wrote where Lamina is installed; name that folder."
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    version = record.get("export_version")
    if version != FORMAT_VERSION:
        raise Refusal(
            f"{path} has export_version {version!r}: this runner reads {FORMAT_VERSION}; use the "
            "run.py beside it, or export the model again."
        )
    return record


def cache_folder(folder: Path, said: str | None = None) -> Path | None:
    """Where the compiled graphs of an exported model are kept; None where nowhere can be.

    Args:
        folder: Of the exported model.
        said: A folder, or ``off`` for none; by default one in the user's cache.
    """
    if said == "off":
        return None
    usual = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(said or Path(usual) / "lamina" / "runner")
    kept = place / str(read_record(folder)["digest"])[:16]
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return kept if os.access(kept, os.W_OK) else None
