"""The blocks of ``core.networks`` as parts of an OpenVINO graph, on (B, D, H, W, C)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from openvino import opset13 as op
from torch import nn

from core.backends.ops import (
    Node,
    attention,
    constant,
    convolution,
    group_scale,
    layer_norm,
    linear,
    permuted,
    root_mean_square_norm,
    scaled,
    shaped,
    silu,
    whole,
)
from core.networks.attention import Attention
from core.networks.blocks import (
    AttentionStage,
    DepthConv,
    GroupNorm,
    Merge,
    ResidualBlock,
    SketchStem,
    SpatioTemporalBlock,
    Split,
)
from core.tensors import Triple


class Sizes(NamedTuple):
    """Of the cells of one level: B, D, H, W."""

    b: int
    d: int
    h: int
    w: int

    @property
    def cells(self) -> int:
        """Cells of one sample."""
        return self.d * self.h * self.w

    def shrunk(self, stride: Triple) -> Sizes:
        """Of the next level."""
        p, q, r = stride
        return Sizes(self.b, self.d // p, self.h // q, self.w // r)


def wiener(z: Node, t: Node, batch: int) -> Node:
    """The best linear guess of the data, as ``core.networks.conditioned.wiener_gain`` says it."""
    signal = op.subtract(constant(1.0), t)
    power = op.add(op.multiply(signal, signal), op.multiply(t, t))
    return op.multiply(z, shaped(op.divide(signal, power), batch, 1, 1, 1, 1))


class Turning(NamedTuple):
    """Cosines and sines of rotary positions, (B or 1, S, 1, head_dim / 2) each."""

    cos: Node
    sin: Node


class Told(NamedTuple):
    """What every block is told.

    Attributes:
        emb: (B, emb).
        states: (B, L, E) token states; None where there are none, or where ``pairs`` stand for
            them.
        bias: (B, 1, 1, L), added to the scores of the tokens; or None.
        pairs: Keys and values that were made of the tokens before, by who attends to them.
    """

    emb: Node
    states: Node | None
    bias: Node | None
    pairs: dict[Attention, tuple[Node, Node]]


class Turns(NamedTuple):
    """Rotary positions of one level: along D, and of all cells."""

    axis: Turning
    grid: Turning | None


def residual(x: Node, block: ResidualBlock, emb: Node, size: Sizes) -> Node:
    """``ResidualBlock``: (B, D, H, W, C) -> (B, D, H, W, C')."""
    b, d, h, w = size
    width = block.conv1.out_channels
    told = shaped(linear(emb, block.modulation), b, 1, 2 * width)
    gain, offset = op.split(told, op.constant(2, dtype=np.int64), 2).outputs()
    y = _normalized(x, block.norm1, size, block.conv1.in_channels)
    y = convolution(y, block.conv1.weight, block.conv1.bias, _same(block.conv1))
    tokens = shaped(y, b, d * h * w, width)
    scale, shift = group_scale(tokens, block.norm2)
    gain = op.add(gain, constant(1.0))
    shift = op.add(op.multiply(shift, gain), offset)
    tokens = silu(scaled(tokens, op.multiply(scale, gain), shift))
    y = shaped(tokens, b * d, h, w, width)
    y = convolution(y, block.conv2.weight, block.conv2.bias, _same(block.conv2))
    if d > 1:
        y = op.add(y, _depth(y, block, size, width))
    skip = shaped(x, b * d, h, w, block.conv1.in_channels)
    if isinstance(block.skip, nn.Conv2d):
        skip = convolution(skip, block.skip.weight, block.skip.bias, (0, 0))
    return shaped(op.add(skip, y), b, d, h, w, width)


def _depth(y: Node, block: ResidualBlock, size: Sizes, width: int) -> Node:
    """``DepthConv`` over (B * D, H, W, C), as a plane of D and H * W."""
    b, d, h, w = size
    depth: DepthConv = block.depth
    x = shaped(_normalized(y, block.norm3, size, width), b, d, h * w, width)
    weight = depth.mix.weight.unflatten(1, (depth.kernel, -1)).transpose(1, 2)[..., None]
    y = convolution(x, weight, depth.mix.bias, (depth.kernel // 2, 0))
    return shaped(y, b * d, h, w, width)


def _normalized(x: Node, norm: GroupNorm, size: Sizes, width: int) -> Node:
    """The norm and its activation, with frames folded: (B * D, H, W, C)."""
    b, d, h, w = size
    tokens = shaped(x, b, d * h * w, width)
    tokens = silu(scaled(tokens, *group_scale(tokens, norm)))
    return shaped(tokens, b * d, h, w, width)


def _same(layer: nn.Conv2d) -> tuple[int, int]:
    height, width = layer.kernel_size
    return height // 2, width // 2


def rotated(x: Node, turning: Turning) -> Node:
    """The channel pairs (i, i + head_dim / 2) of (N, S, heads, head_dim) turned."""
    one, other = op.split(x, op.constant(3, dtype=np.int64), 2).outputs()
    first = op.subtract(op.multiply(one, turning.cos), op.multiply(other, turning.sin))
    second = op.add(op.multiply(other, turning.cos), op.multiply(one, turning.sin))
    return op.concat([first, second], 3)


def attend(
    x: Node,
    layer: Attention,
    context: Node | None = None,
    bias: Node | None = None,
    turning: Turning | None = None,
    pair: tuple[Node, Node] | None = None,
) -> Node:
    """``Attention``: (N, S, C) -> (N, S, C)."""
    source = x if context is None else context
    q = root_mean_square_norm(_heads(x, layer.to_q, layer), layer.norm_q)
    if pair is not None:
        k, v = pair
    else:
        k = root_mean_square_norm(_heads(source, layer.to_k, layer), layer.norm_k)
        v = _heads(source, layer.to_v, layer)
    if turning is not None:
        q, k = rotated(q, turning), rotated(k, turning)
    y = attention(q, k, v, bias)
    out = layer.to_out[0]
    assert isinstance(out, nn.Linear)
    return linear(shaped(y, 0, 0, out.in_features), out)


def _heads(x: Node, project: nn.Linear, layer: Attention) -> Node:
    return shaped(linear(x, project), 0, 0, layer.heads, project.out_features // layer.heads)


def stage(x: Node, block: AttentionStage, told: Told, size: Sizes, turns: Turns) -> Node:
    """``AttentionStage``: (B, D, H, W, C) -> (B, D, H, W, C)."""
    b, d, h, w = size
    width = block.feed.fall.out_features
    x = shaped(x, b, d * h * w, width)
    if block.spatial is not None:
        y = layer_norm(x, block.norms[0])
        rows = (b, d * h * w) if block.joint else (b * d, h * w)
        turning = turns.grid if block.joint else None
        y = attend(shaped(y, *rows, width), block.spatial, turning=turning)
        x = op.add(x, shaped(y, b, d * h * w, width))
    pair = None if block.text is None else told.pairs.get(block.text)
    if block.text is not None and (pair or told.states is not None):
        y = layer_norm(x, block.norms[1])
        x = op.add(x, attend(y, block.text, told.states, told.bias, pair=pair))
    if d > 1:
        y = shaped(layer_norm(x, block.norms[2]), b, d, h * w, width)
        y = shaped(permuted(y, 0, 2, 1, 3), b * h * w, d, width)
        y = attend(y, block.axis, turning=_for_each(turns.axis, size))
        y = permuted(shaped(y, b, h * w, d, width), 0, 2, 1, 3)
        x = op.add(x, shaped(y, b, d * h * w, width))
    y = op.gelu(linear(layer_norm(x, block.norms[3]), block.feed.rise), "erf")
    x = op.add(x, linear(y, block.feed.fall))
    return shaped(x, b, d, h, w, width)


def _for_each(turning: Turning, size: Sizes) -> Turning:
    """Positions along D, one row for each row of the samples' planes."""
    b, d, h, w = size
    if turning.cos.output(0).partial_shape[0].get_length() == 1:
        return turning
    wide = whole([b, h * w, d, 1, int(turning.cos.output(0).partial_shape[3].get_length())])
    cos, sin = (
        shaped(op.broadcast(shaped(x, b, 1, d, 1, -1), wide), b * h * w, d, 1, -1) for x in turning
    )
    return Turning(cos, sin)


def block_of(x: Node, block: SpatioTemporalBlock, told: Told, size: Sizes, turns: Turns) -> Node:
    """``SpatioTemporalBlock``: (B, D, H, W, C) -> (B, D, H, W, C')."""
    x = residual(x, block.residual, told.emb, size)
    return x if block.attention is None else stage(x, block.attention, told, size, turns)


def merge(x: Node, layer: Merge, size: Sizes) -> Node:
    """``Merge``: (B, D, H, W, C) -> (B, D / sd, H / sh, W / sw, C')."""
    b, d, h, w = size
    p, q, r = layer.stride
    width = layer.mix.in_features // (p * q * r)
    if (p, q, r) != (1, 1, 1):
        x = shaped(x, b, d // p, p, h // q, q, w // r, r, width)
        x = permuted(x, 0, 1, 3, 5, 2, 4, 6, 7)
    return linear(shaped(x, b, d // p, h // q, w // r, p * q * r * width), layer.mix)


def sketch_stem(x: Node, layer: SketchStem, size: Sizes) -> Node:
    """``SketchStem``: (B, D, H, W, C) of the sketch -> beside the sample's own stem."""
    return linear(silu(merge(x, layer, size)), layer.out)


def split(x: Node, layer: Split, size: Sizes) -> Node:
    """``Split``: (B, D, H, W, C) -> (B, D * sd, H * sh, W * sw, C')."""
    b, d, h, w = size
    p, q, r = layer.stride
    width = layer.mix.out_features // (p * q * r)
    x = linear(x, layer.mix)
    if (p, q, r) == (1, 1, 1):
        return x
    x = permuted(shaped(x, b, d, h, w, p, q, r, width), 0, 1, 4, 2, 5, 3, 6, 7)
    return shaped(x, b, d * p, h * q, w * r, width)
