"""``SpatioTemporalUNet`` as one OpenVINO graph of a fixed shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import openvino as ov
from openvino import opset13 as op
from torch import nn

from core.backends.layers import (
    Sizes,
    Told,
    Turning,
    Turns,
    block_of,
    merge,
    sketch_stem,
    split,
    wiener,
)
from core.backends.ops import (
    Node,
    asked,
    constant,
    group_scale,
    layer_norm,
    linear,
    model,
    permuted,
    scaled,
    shaped,
    silu,
    whole,
)
from core.networks.blocks import Merge, SpatioTemporalBlock, Split
from core.networks.conditioned import LEAST_LEVEL
from core.networks.embeddings import NumberEmbedding
from core.networks.unet import SpatioTemporalUNet

FARTHEST = -1e9  # added to scores of tokens that are not there


@dataclass(frozen=True)
class Asked:
    """What a graph is built for.

    Attributes:
        batch: B.
        size: D, H, W of the sample.
        parts: Which parts of a ``Conditioning`` are told, of ``PARTS``.
        tokens: L, or -1 where that is told later.
    """

    batch: int
    size: tuple[int, int, int]
    parts: frozenset[str]
    tokens: int = -1


PARTS = ("tokens", "token_mask", "concat", "sketch", "spacing", "resolution", "guidance")
"""Parts of a ``Conditioning`` that a graph can be told; of labels none can."""


def build(network: SpatioTemporalUNet, what: Asked) -> ov.Model:
    """The graph from (z, t, r, parts ...) to the answer of ``network(z, t, r, cond)``.

    A row of tokens of which none is real is answered as without a prompt. Where there is a sketch,
    an input ``shown``, (B,), says for which rows.
    """
    return Builder(network, what).model()


class Builder:
    """Holds what the parts of one graph share."""

    def __init__(self, network: SpatioTemporalUNet, what: Asked) -> None:
        self.network, self.what = network, what
        self.config = network.config
        self.inputs: dict[str, Node] = {}
        grown = (n + -n % cell for n, cell in zip(what.size, network.cell, strict=True))
        self.full = Sizes(what.batch, *grown)
        first = self.full.shrunk(network.patch)
        self.sizes = [first]
        for stride in network.strides:
            self.sizes.append(self.sizes[-1].shrunk(stride))

    def model(self) -> ov.Model:
        """The whole graph."""
        batch, channels = self.what.batch, self.config["in_channels"]
        z = self.input("z", (batch, channels, *self.what.size))
        t, r = self.input("t", (batch,)), self.input("r", (batch,))
        states, bias, pooled = self._text()
        told = Told(self._embed(t, r, pooled), states, bias, {})
        enters = wiener(z, t, batch) if self.config.get("input_scaling") == "wiener" else z
        said = self.walk(self.stem(enters), told)
        if self.config["prediction"] == "sample":
            least = op.maximum(t, constant(LEAST_LEVEL))
            said = op.divide(op.subtract(z, said), shaped(least, batch, 1, 1, 1, 1))
        return model([said], list(self.inputs.values()), type(self.network).__name__)

    def input(self, name: str, shape: tuple[int, ...]) -> Node:
        """A new input of the graph."""
        self.inputs[name] = asked(name, shape)
        return self.inputs[name]

    def _text(self) -> tuple[Node | None, Node | None, Node | None]:
        """States, what is added to their scores, and the pooled meaning."""
        network, batch = self.network, self.what.batch
        if network.null_token is None or network.text_embedding is None:
            return None, None, None
        norm, project = cast("tuple[nn.LayerNorm, nn.Linear]", tuple(network.text_embedding))
        null = constant(network.null_token)  # (1, 1, E)
        if "tokens" not in self.what.parts:
            width = self.config["text_channels"]
            states = op.broadcast(null, whole([batch, 1, width]))
            return states, None, linear(layer_norm(shaped(states, batch, width), norm), project)
        length, width = self.what.tokens, self.config["text_channels"]
        tokens = self.input("tokens", (batch, length, width))
        real = self.input("token_mask", (batch, length))
        some = op.reduce_max(real, whole([1]), True)  # (B, 1), 0 without a token
        none = op.subtract(constant(1.0), some)
        states = op.add(
            op.multiply(tokens, shaped(some, batch, 1, 1)),
            op.multiply(null, shaped(none, batch, 1, 1)),
        )
        first = op.add(real, none)  # without a token all hold the null, and count alike
        total = op.reduce_sum(first, whole([1]), True)
        pooled = op.reduce_sum(op.multiply(states, op.unsqueeze(first, whole([2]))), whole([1]))
        pooled = op.divide(pooled, total)
        bias = op.multiply(op.subtract(constant(1.0), first), constant(FARTHEST))
        bias = op.unsqueeze(op.unsqueeze(bias, whole([1])), whole([1]))
        return states, bias, linear(layer_norm(pooled, norm), project)

    def _embed(self, t: Node, r: Node, pooled: Node | None) -> Node:
        """(B, emb) all that modulates the blocks."""
        network, batch = self.network, self.what.batch
        emb = op.add(
            self._number(t, network.level_embedding),
            self._number(op.subtract(t, r), network.step_embedding),
        )
        self.spacing = spacing = self._spacing("spacing", self.config["default_spacing"])
        resolution = spacing
        if "resolution" in self.what.parts:
            resolution = self.input("resolution", (batch, 3))
        both = op.log(op.maximum(op.concat([spacing, resolution], 1), constant(1e-6)))
        emb = op.add(emb, _two_layers(both, network.spacing_embedding.layers))
        if "guidance" in self.what.parts:
            scale = op.log(self.input("guidance", (batch,)))
            emb = op.add(emb, self._number(scale, network.guidance_embedding))
        if pooled is not None:
            emb = op.add(emb, pooled)
        return silu(emb)

    def _spacing(self, name: str, usual: Sequence[float]) -> Node:
        if name in self.what.parts:
            return self.input(name, (self.what.batch, 3))
        return op.broadcast(constant([list(usual)]), whole([self.what.batch, 3]))

    def _number(self, values: Node, layer: NumberEmbedding) -> Node:
        exponents = np.linspace(0, 1, layer.features // 2, dtype=np.float32)
        waves = layer.low * (layer.high / layer.low) ** exponents
        angles = op.multiply(shaped(values, self.what.batch, 1), constant(waves[None]))
        return _two_layers(op.concat([op.sin(angles), op.cos(angles)], 1), layer.layers)

    def stem(self, z: Node) -> Node:
        """(B, D', H', W', width) from the sample, what lies beside it, and the sketch."""
        what, full = self.what, self.full
        x = z
        if "concat" in what.parts:
            beside = (what.batch, self.config["concat_channels"], *what.size)
            x = op.concat([z, self.input("concat", beside)], 1)
        x = permuted(x, 0, 2, 3, 4, 1)
        missing = [grown - n for grown, n in zip(full[1:], what.size, strict=True)]
        if any(missing):
            ends = op.constant(np.array([0, *missing, 0], dtype=np.int64))
            x = op.pad(x, whole([0] * 5), ends, "edge")
        return self.sketched(merge(x, self.network.stem, full))

    def sketched(self, x: Node) -> Node:
        """(B, D', H', W', width) with what the stem says of the sketch, in the rows ``shown``."""
        network, what = self.network, self.what
        if network.sketch is None or "sketch" not in what.parts:
            return x
        grain = self.config["sketch_grain"]
        size = Sizes(what.batch, *(n // step for n, step in zip(what.size, grain, strict=True)))
        sketch = self.input("sketch", (what.batch, self.config["sketch_channels"], *size[1:]))
        seen = sketch_stem(permuted(sketch, 0, 2, 3, 4, 1), network.sketch, size)
        shown = shaped(self.input("shown", (what.batch,)), what.batch, 1, 1, 1, 1)
        return op.add(x, op.multiply(seen, shown))

    def _turns(self, level: int, width: int) -> Turns:
        """Rotary positions of one level, from the spacing along D."""
        network, size = self.network, self.sizes[level]
        head = width // max(1, width // self.config["head_dim"])
        short, long = self.config["rope_periods"]
        exponents = np.linspace(0, 1, head // 2, dtype=np.float32)
        waves = 2 * math.pi / (short * (long / short) ** exponents)
        index = (np.arange(size.d, dtype=np.float32) + 0.5) * network.cells[level][0]
        places = op.multiply(shaped(self._along_d(), -1, 1), constant(index[None]))  # (B, D)
        angles = op.multiply(op.unsqueeze(places, whole([2])), constant(waves[None, None]))
        axis = _turning(op.unsqueeze(angles, whole([2])))
        if not self.config["joint_attention"]:
            return Turns(axis, None)
        return Turns(axis, _turning(_grid(places, waves, size)))

    def _along_d(self) -> Node:
        """Spacing along D, (B or 1, 1)."""
        first = op.constant(np.array([0], dtype=np.int64))
        spacing = self.spacing
        if "spacing" not in self.what.parts:
            spacing = constant([list(self.config["default_spacing"])])
        return op.gather(spacing, first, op.constant(1, dtype=np.int64))

    def walk(self, x: Node, told: Told) -> Node:
        """Down, through the middle, up again, and out: (B, C, D, H, W)."""
        network, widths = self.network, self.config["block_out_channels"]
        turns = [self._turns(level, width) for level, width in enumerate(widths)]

        def run(block: nn.Module, x: Node, level: int) -> Node:
            typed = cast("SpatioTemporalBlock", block)
            return block_of(x, typed, told, self.sizes[level], turns[level])

        skips: list[Node] = []
        last = len(widths) - 1
        for level, blocks in enumerate(network.down_blocks):
            for block in cast("nn.ModuleList", blocks):
                x = run(block, x, level)
                skips.append(x)
            x = merge(x, cast("Merge", network.merges[level]), self.sizes[level])
        for block in network.mid_block:
            x = run(block, x, last)
        ways = zip(reversed(range(last)), network.splits, network.up_blocks, strict=True)
        for level, layer, blocks in ways:
            x = split(x, cast("Split", layer), self.sizes[level + 1])
            for block in cast("nn.ModuleList", blocks):
                x = run(block, op.concat([x, skips.pop()], 4), level)
        return self._head(x)

    def _head(self, x: Node) -> Node:
        network, size = self.network, self.sizes[0]
        width = self.config["block_out_channels"][0]
        x = shaped(x, size.b, size.cells, width)
        x = silu(scaled(x, *group_scale(x, network.norm_out)))
        x = split(shaped(x, *size, width), network.head, size)
        if tuple(self.full[1:]) != self.what.size:
            ends = whole([self.what.batch, *self.what.size, self.config["in_channels"]])
            x = op.slice(x, whole([0] * 5), ends, whole([1] * 5))
        return permuted(x, 0, 4, 1, 2, 3)


def _two_layers(x: Node, layers: nn.Sequential) -> Node:
    first, _, second = layers
    return linear(silu(linear(x, cast("nn.Linear", first))), cast("nn.Linear", second))


def _turning(angles: Node) -> Turning:
    return Turning(op.cos(angles), op.sin(angles))


def _grid(places: Node, waves: np.ndarray, size: Sizes) -> Node:
    """Angles of all cells, (B or 1, D * H * W, 1, P), as ``embeddings.grid_angles``."""
    pairs = len(waves)
    along_d = waves[::2]
    rest = pairs - len(along_d)
    rows, columns = rest // 2, rest - rest // 2
    angles = op.multiply(op.unsqueeze(places, whole([2])), constant(along_d[None, None]))
    batch = int(places.output(0).partial_shape[0].get_length())
    spread = shaped(angles, batch, size.d, 1, 1, len(along_d))
    wide = whole([batch, size.d, size.h, size.w, len(along_d)])
    fixed = np.concatenate(
        [
            np.broadcast_to(
                _plain(size.h, rows)[None, None, :, None], (batch, size.d, size.h, size.w, rows)
            ),
            np.broadcast_to(
                _plain(size.w, columns)[None, None, None],
                (batch, size.d, size.h, size.w, columns),
            ),
        ],
        axis=-1,
    )
    joined = op.concat([op.broadcast(spread, wide), constant(fixed)], 4)
    return shaped(joined, batch, size.cells, 1, pairs)


def _plain(length: int, count: int) -> np.ndarray:
    """Angles of cells counted from 0, (length, count); periods of 4 to 64 cells."""
    exponents = np.linspace(0, 1, count, dtype=np.float32)
    waves = 2 * math.pi / (4.0 * (64.0 / 4.0) ** exponents)
    return np.arange(length, dtype=np.float32)[:, None] * waves
