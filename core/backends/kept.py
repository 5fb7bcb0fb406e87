"""Compiled graphs, kept in the state folder, so that each is compiled once on a machine."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import openvino as ov
import torch

from core.numerics import instructions
from core.records import atomic_path

FORMAT = 2  # of the graphs that are built; another number compiles all anew
MOST = 24
"""Graphs that are kept; the one that was used longest ago goes first."""
HOME = ".lamina"


@cache
def _core() -> ov.Core:
    return ov.Core()


def compiled(name: str, precision: str, build: Callable[[], ov.Model]) -> Any:
    """A compiled graph: read where it was compiled before, else compiled and kept.

    Args:
        name: All that the graph is made from, in words.
        precision: ``f32`` or ``bf16``.
        build: Makes the graph.
    """
    threads = torch.get_num_threads()
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    machine = f"{ov.get_version()} {platform.machine()} {instructions()} {threads} {FORMAT}"
    path = folder() / f"{hashlib.sha256(f'{name} {machine}'.encode()).hexdigest()[:32]}.blob"
    if (found := _read(path, config)) is not None:
        return found
    made = _core().compile_model(build(), "CPU", config)
    _keep(path, made)
    return made


def folder() -> Path:
    """Where graphs are kept."""
    return Path(os.environ.get("LAMINA_HOME") or HOME).expanduser() / "graphs"


def _read(path: Path, config: dict[str, Any]) -> Any:
    """A kept graph; None where there is none that can be read."""
    try:
        data = path.read_bytes()
        digest, blob = data[:32], data[32:]
        if hashlib.sha256(blob).digest() != digest:
            return None
        os.utime(path)
        return _core().import_model(blob, "CPU", config)
    except (OSError, RuntimeError):
        return None


def _keep(path: Path, made: Any) -> None:
    """Write a graph, and remove those beyond ``MOST``; a full disk keeps none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        blob = made.export_model()
        blob = blob if isinstance(blob, bytes) else blob.getvalue()
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_bytes(hashlib.sha256(blob).digest() + blob)
        kept = sorted(path.parent.glob("*.blob"), key=lambda file: file.stat().st_mtime)
        for old in kept[:-MOST]:
            old.unlink(missing_ok=True)
    except OSError:
        return
