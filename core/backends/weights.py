"""Weights of a graph in eight bits: smaller files, the same arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

LEAST = 4096  # numbers, below which a table of scales costs more than it saves
NARROW = 64  # inputs of a product; with OpenVINO 2026.4 some of those do not compile
READERS = ("MatMul", "Convolution", "Gather")


def in_integers(graph: ov.Model) -> ov.Model:
    """The same graph, its large weights as whole numbers of -127 to 127 with a scale for each row.

    They are read back as floating-point numbers when the graph is compiled; activations stay what
    they are.
    """
    for node in graph.get_ordered_ops():
        if node.get_type_name() not in READERS or not node.get_attributes().get(
            "transpose_b", True
        ):  # what is not turned is no weight, but averages over groups
            continue
        place = 0 if node.get_type_name() == "Gather" else 1
        source: Any = node.input_value(place).get_node()
        if source.get_type_name() != "Constant":
            continue
        values = source.get_data()
        narrow = node.get_type_name() == "MatMul" and values.shape[1] <= NARROW
        if values.dtype == np.float32 and values.size >= LEAST and not narrow:
            node.input(place).replace_source_output(_stored(values).output(0))
    graph.validate_nodes_and_infer_types()
    return graph


def _stored(values: np.ndarray) -> Any:
    """Whole numbers, and what brings the values back from them."""
    axes = tuple(range(1, values.ndim))
    scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True) / 127, 1e-12)
    numbers = np.rint(values / scale).clip(-127, 127).astype(np.int8)
    floats = op.convert(op.constant(numbers), "f32")
    return op.multiply(floats, op.constant(scale.astype(np.float32)))
