"""Graphs that OpenVINO computes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

if TYPE_CHECKING:
    from core.runner.graphs import Run


@cache
def _core(kept: Path | None) -> ov.Core:
    core = ov.Core()
    if kept is not None:
        core.set_property({"CACHE_DIR": str(kept)})
    return core


def load(path: Path, tokens: int, threads: int, kept: Path | None) -> Run:
    """What computes one graph.

    Args:
        path: Of its ``.xml``.
        tokens: Length of prompts, in the place of what is open; 0 where nothing is.
        threads: That compute; 0 leaves it to OpenVINO.
        kept: Where compiled graphs are kept, so that the next start is quick; None for nowhere.
    """
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    core = _core(kept)
    graph = core.read_model(path)
    if tokens:
        graph.reshape({port: _told(port, tokens) for port in graph.inputs})
    compiled: Any = core.compile_model(graph, "CPU", config)

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return compiled(dict(inputs), share_inputs=True)[0].copy()

    return run


def _told(port: Any, tokens: int) -> ov.PartialShape:
    """The shape of an input with the length of prompts in the place of what is open."""
    shape = port.partial_shape
    sizes = [axis.get_length() if axis.is_static else tokens for axis in shape]
    return ov.PartialShape(sizes)
