"""Layers as nodes of an OpenVINO graph, built by hand from the weights of torch's modules.

OpenVINO's own converters are not used: they trace torch for half a minute, and they hold a
telemetry that nobody asked for. Activations are tokens, (B, T, C) or (B, D, H, W, C), as in
``core.networks.blocks``, so that nothing is copied between layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from torch import Tensor, nn

from core.networks.blocks import GroupNorm

Node = Any
"""What OpenVINO hands from operation to operation."""


def constant(values: Any) -> Node:
    """Numbers that are part of the graph, as float32."""
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy()
    return op.constant(np.ascontiguousarray(values, dtype=np.float32))


def whole(values: Sequence[int]) -> Node:
    """Whole numbers that are part of the graph: axes and shapes."""
    return op.constant(np.array(values, dtype=np.int64))


def asked(name: str, shape: Sequence[int]) -> Node:
    """An input; -1 stands for a length that is told later."""
    return op.parameter(ov.PartialShape(list(shape)), np.float32, name=name)


def shaped(x: Node, *shape: int) -> Node:
    """The same numbers in another shape; 0 keeps a length, one -1 is what is left."""
    return op.reshape(x, whole(shape), special_zero=True)


def permuted(x: Node, *axes: int) -> Node:
    """The axes in another order."""
    return op.transpose(x, whole(axes))


def linear(x: Node, layer: Any) -> Node:
    """(..., in) -> (..., out); ``layer`` has weight and bias."""
    y = op.matmul(x, constant(layer.weight), False, True)
    return y if layer.bias is None else op.add(y, constant(layer.bias))


def silu(x: Node) -> Node:
    """X times its logistic function."""
    return op.swish(x)


def layer_norm(x: Node, layer: Any) -> Node:
    """(..., C) -> (..., C), each vector normalized; ``layer`` has weight, bias and eps."""
    y = op.mvn(x, whole([-1]), True, layer.eps, "inside_sqrt")
    return op.add(op.multiply(y, constant(layer.weight)), constant(layer.bias))


def root_mean_square_norm(x: Node, layer: nn.RMSNorm) -> Node:
    """(..., C) -> (..., C), each vector divided by its length."""
    power = op.reduce_mean(op.power(x, constant(2.0)), whole([-1]), True)
    eps = layer.eps or 0.0
    inverse = op.divide(constant(1.0), op.sqrt(op.add(power, constant(eps))))
    return op.multiply(op.multiply(x, inverse), constant(layer.weight))


def group_scale(x: Node, norm: GroupNorm) -> tuple[Node, Node]:
    """Scale and shift of each channel, (B, 1, C), by which (B, T, C) is normalized in groups."""
    channels, groups = norm.num_channels, norm.num_groups
    members = channels // groups
    among = np.kron(np.eye(groups), np.full((members, members), 1 / members))
    mean = op.matmul(op.reduce_mean(x, whole([1]), True), constant(among), False, False)
    centered = op.subtract(x, mean)  # in one pass, bfloat16 would lose what is left
    power = op.reduce_mean(op.multiply(centered, centered), whole([1]), True)
    power = op.matmul(power, constant(among), False, False)
    deviation = op.sqrt(op.add(power, constant(norm.eps)))
    scale = op.divide(constant(norm.weight), deviation)
    return scale, op.subtract(constant(norm.bias), op.multiply(mean, scale))


def scaled(x: Node, scale: Node, shift: Node) -> Node:
    """X times scale, plus shift."""
    return op.add(op.multiply(x, scale), shift)


def convolution(x: Node, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Node:
    """(N, H, W, C) -> (N, H, W, C'), zeros beyond the ends."""
    if tuple(weight.shape[2:]) == (1, 1):  # a product, for which nothing changes its layout
        y = op.matmul(x, constant(weight.flatten(1)), False, True)
        return y if bias is None else op.add(y, constant(bias))
    ends = list(padding)
    y = op.convolution(permuted(x, 0, 3, 1, 2), constant(weight), [1, 1], ends, ends, [1, 1])
    if bias is not None:
        y = op.add(y, constant(bias.reshape(1, -1, 1, 1)))
    return permuted(y, 0, 2, 3, 1)


def attention(q: Node, k: Node, v: Node, bias: Node | None) -> Node:
    """Softmax attention; (N, S, heads, head_dim) layout, as in ``core.networks.attention``.

    Args:
        q: (N, S, heads, head_dim).
        k: (N or 1, L, heads, head_dim).
        v: Likewise.
        bias: (N or 1, 1, 1, L), added to the scores.
    """
    width = int(q.output(0).partial_shape[3].get_length())
    q, k, v = (permuted(x, 0, 2, 1, 3) for x in (q, k, v))
    scores = op.matmul(op.multiply(q, constant(1 / math.sqrt(width))), k, False, True)
    if bias is not None:
        scores = op.add(scores, bias)
    return permuted(op.matmul(op.softmax(scores, 3), v, False, False), 0, 2, 1, 3)


def model(answers: Sequence[Node], inputs: Sequence[Node], name: str) -> ov.Model:
    """A graph from its inputs to its answers."""
    results: Any = [op.result(answer) for answer in answers]
    made: Any = ov.Model(results, list(inputs), name)  # pyright: ignore[reportGeneralTypeIssues]
    made.validate_nodes_and_infer_types()
    return made
