"""OpenVINO graphs of ours as ONNX models, operation by operation; the only door to onnx.

Networks are built once, by ``core.backends.unet``, and both formats hold the same arithmetic.
``torch.onnx.export`` is not used: it takes minutes, and a second way of telling a network apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper, numpy_helper

from core.backends.weights import LEAST

OPSET, IR_VERSION = 20, 10
DTYPES = {"f32": TensorProto.FLOAT, "i64": TensorProto.INT64}
NAMES = {
    "Add": "Add",
    "Cos": "Cos",
    "Divide": "Div",
    "Gelu": "Gelu",
    "Log": "Log",
    "Maximum": "Max",
    "Multiply": "Mul",
    "Power": "Pow",
    "Reshape": "Reshape",
    "ShapeOf": "Shape",
    "Sin": "Sin",
    "Sqrt": "Sqrt",
    "Subtract": "Sub",
    "Unsqueeze": "Unsqueeze",
    "Broadcast": "Expand",
}
"""Operations that take the same inputs in both."""


def save(graph: ov.Model, path: Path, *, half: bool) -> None:
    """Write a graph as an ONNX model.

    Args:
        graph: That ``core.backends`` built.
        path: Such as ``painter.onnx``.
        half: Whether large weights are stored in sixteen bits.
    """
    model = _Translation(graph, half=half).model()
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


class _Translation:
    """One graph while it is written down again."""

    def __init__(self, graph: ov.Model, *, half: bool) -> None:
        self.graph, self.half = graph, half
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.names: dict[tuple[str, int], str] = {}
        self.written: dict[bytes, str] = {}

    def model(self) -> Any:
        """The whole of it."""
        inputs, outputs = [], []
        for node in self.graph.get_ordered_ops():
            kind = node.get_type_name()
            if kind == "Parameter":
                name = node.get_friendly_name()
                self.names[name, 0] = name
                inputs.append(_described(name, node.output(0)))
            elif kind == "Result":
                outputs.append(_described(self.name(node, 0), node.input_value(0)))
            elif kind != "Constant":
                self._add(node, kind)
        whole = helper.make_graph(
            self.nodes, self.graph.get_friendly_name(), inputs, outputs, self.weights
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION)

    def name(self, node: Any, place: int) -> str:
        """Of an input of a node; constants are written down when they are first read."""
        source = node.input_value(place)
        key = source.get_node().get_friendly_name(), source.get_index()
        if key not in self.names:
            self.names[key] = self.stored(source.get_node().get_data())
        return self.names[key]

    def stored(self, values: np.ndarray) -> str:
        """Numbers of the model, the same ones once; what widens those kept in sixteen bits."""
        narrow = self.half and values.dtype == np.float32 and values.size >= LEAST
        kept = numpy_helper.from_array(values.astype(np.float16) if narrow else values)
        key = kept.SerializeToString()
        if key not in self.written:
            kept.name = name = f"c{len(self.weights)}"
            self.weights.append(kept)
            wide = self.node("Cast", [name], to=TensorProto.FLOAT) if narrow else name
            self.written[key] = wide
        return self.written[key]

    def node(self, kind: str, inputs: list[str], count: int = 1, **attributes: Any) -> str:
        """A new node; the name of its first output."""
        outputs = [f"n{len(self.nodes)}.{k}" for k in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def _add(self, node: Any, kind: str) -> None:
        """What answers as one of OpenVINO's nodes."""
        if kind in NAMES:
            inputs = [self.name(node, k) for k in range(len(node.inputs()))]
            made = self.node(NAMES[kind], inputs)
        else:
            made = OTHERS[kind](self, node)
        stem = made.removesuffix("0")
        for k in range(len(node.outputs())):
            self.names[node.get_friendly_name(), k] = f"{stem}{k}"


def _described(name: str, port: Any) -> Any:
    """An input or output: its type and shape; what is told later is called L."""
    shape = [n.get_length() if n.is_static else "L" for n in port.get_partial_shape()]
    return helper.make_tensor_value_info(name, DTYPES[port.get_element_type().to_string()], shape)


def _numbers(node: Any, place: int) -> list[int]:
    """Whole numbers that an operation is told by a constant."""
    return node.input_value(place).get_node().get_data().reshape(-1).tolist()


def _matmul(to: _Translation, node: Any) -> str:
    first, second = to.name(node, 0), to.name(node, 1)
    if node.get_attributes()["transpose_b"]:
        axes = list(range(len(node.input_value(1).get_partial_shape())))
        second = to.node("Transpose", [second], perm=[*axes[:-2], axes[-1], axes[-2]])
    return to.node("MatMul", [first, second])


def _convolution(to: _Translation, node: Any) -> str:
    told = node.get_attributes()
    pads = [*told["pads_begin"], *told["pads_end"]]
    inputs = [to.name(node, 0), to.name(node, 1)]
    return to.node("Conv", inputs, pads=pads, strides=list(told["strides"]))


def _layer_norm(to: _Translation, node: Any) -> str:
    """Vectors less their mean, divided by their deviation."""
    width = node.input_value(0).get_partial_shape()[-1].get_length()
    ones = to.stored(np.ones(width, np.float32))
    eps = node.get_attributes()["eps"]
    return to.node("LayerNormalization", [to.name(node, 0), ones], axis=-1, epsilon=eps)


def _swish(to: _Translation, node: Any) -> str:
    x = to.name(node, 0)
    return to.node("Mul", [x, to.node("Sigmoid", [x])])


def _reduced(kind: str) -> Callable[[_Translation, Any], str]:
    def add(to: _Translation, node: Any) -> str:
        keeps = int(node.get_attributes()["keep_dims"])
        return to.node(kind, [to.name(node, 0), to.name(node, 1)], keepdims=keeps)

    return add


def _mean(to: _Translation, node: Any) -> str:
    """Of tokens, (B, T, C), by a product: ONNX Runtime sums over T slowly otherwise."""
    shape = node.input_value(0).get_partial_shape()
    if _numbers(node, 1) != [1] or len(shape) != 3:
        return _reduced("ReduceMean")(to, node)
    count = shape[1].get_length()
    total = to.node("MatMul", [to.stored(np.ones((1, count), np.float32)), to.name(node, 0)])
    return to.node("Mul", [total, to.stored(np.array(1 / count, np.float32))])


def _transpose(to: _Translation, node: Any) -> str:
    return to.node("Transpose", [to.name(node, 0)], perm=_numbers(node, 1))


def _split(to: _Translation, node: Any) -> str:
    count, (axis,) = node.get_attributes()["num_splits"], _numbers(node, 1)
    return to.node("Split", [to.name(node, 0)], count, axis=axis, num_outputs=count)


def _gather(to: _Translation, node: Any) -> str:
    (axis,) = _numbers(node, 2)
    return to.node("Gather", [to.name(node, 0), to.name(node, 1)], axis=axis)


def _slice(to: _Translation, node: Any) -> str:
    start, stop, step = (to.name(node, k) for k in (1, 2, 3))
    axes = to.stored(np.arange(len(_numbers(node, 1)), dtype=np.int64))
    return to.node("Slice", [to.name(node, 0), start, stop, axes, step])


def _pad(to: _Translation, node: Any) -> str:
    ends = to.stored(np.array([*_numbers(node, 1), *_numbers(node, 2)], dtype=np.int64))
    mode = node.get_attributes()["pad_mode"]
    return to.node("Pad", [to.name(node, 0), ends], mode=mode.lower())


def _along(kind: str) -> Callable[[_Translation, Any], str]:
    def add(to: _Translation, node: Any) -> str:
        inputs = [to.name(node, k) for k in range(len(node.inputs()))]
        return to.node(kind, inputs, axis=node.get_attributes()["axis"])

    return add


def _widened(to: _Translation, node: Any) -> str:
    return to.node("Cast", [to.name(node, 0)], to=TensorProto.FLOAT)


OTHERS: dict[str, Callable[[_Translation, Any], str]] = {
    "Concat": _along("Concat"),
    "Convert": _widened,
    "Convolution": _convolution,
    "Gather": _gather,
    "MVN": _layer_norm,
    "MatMul": _matmul,
    "Pad": _pad,
    "ReduceMax": _reduced("ReduceMax"),
    "ReduceMean": _mean,
    "ReduceSum": _reduced("ReduceSum"),
    "Slice": _slice,
    "Softmax": _along("Softmax"),
    "Split": _split,
    "Swish": _swish,
    "Transpose": _transpose,
}
"""Operations that are told otherwise."""
