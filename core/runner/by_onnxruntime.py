"""Graphs that ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

if TYPE_CHECKING:
    from core.runner.graphs import Run

onnxruntime.disable_telemetry_events()


def load(path: Path, tokens: int, threads: int, kept: Path | None) -> Run:
    """What computes one graph.

    Args:
        path: Of its ``.onnx``.
        tokens: Not needed: one session takes prompts of every length.
        threads: That compute; 0 leaves it to ONNX Runtime.
        kept: Not needed: nothing is compiled.
    """
    del tokens, kept
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # threads that wait for work would otherwise take processor time
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return cast("Any", session.run(None, dict(inputs)))[0]

    return run
