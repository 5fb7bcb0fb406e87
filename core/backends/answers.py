"""What a network's blocks answer, computed by OpenVINO; all around them stays torch's.

Levels, positions and prompts are turned into vectors in float32 by torch, so that bfloat16 loses
nothing there; the blocks, where the time goes, are one graph for each shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import openvino as ov
import torch
from torch import Tensor
from torch.nn.functional import pad

from core.backends.kept import compiled
from core.backends.layers import Told
from core.backends.ops import Node, constant, model, permuted
from core.backends.unet import FARTHEST, Asked, Builder, merge
from core.conditioning import Conditioning
from core.networks.text_memory import TextMemory
from core.networks.unet import SpatioTemporalUNet

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

MOST = 8  # graphs in memory, each with weights of its own; those beyond are read again when asked
TOKENS = 16  # prompts are filled up to multiples of so many, so that few graphs are made


@dataclass(frozen=True)
class Shape:
    """What one graph is made for.

    Attributes:
        batch: B.
        size: D, H, W, whole cells.
        spacing: Rows of spacing along D; one where all are the same.
        tokens: L of keys and values, some of which may be no words; 0 where there are none.
    """

    batch: int
    size: tuple[int, int, int]
    spacing: tuple[float, ...]
    tokens: int


class Answer:
    """Stands in the place of a network's ``answer``.

    Args:
        network: Whose blocks are computed; in float32 or bfloat16, on the CPU.
        digest: Of its weights: graphs are kept by it.
    """

    def __init__(self, network: SpatioTemporalUNet, digest: str) -> None:
        self.network, self.digest = network, digest
        self.slow: Callable[..., Tensor] = network.answer
        self.graph = lru_cache(MOST)(self._graph)

    def __call__(
        self, x: Tensor, emb: Tensor, cond: Conditioning, memory: TextMemory | None
    ) -> Tensor:
        """What the last layer says; see ``ConditionedNetwork.answer``."""
        shown = self.network.given is not None and cond.concat is not None
        shown = shown or cond.control is not None or cond.reference is not None
        if shown or torch.is_grad_enabled():
            return self.slow(x, emb, cond, memory)
        inputs = {"x": _plain(x), "emb": _plain(emb)}
        tokens = 0
        if memory is not None and memory.keys_values:
            told, tokens = _told(memory, len(x))
            inputs |= told
        if self.network.sketch is not None:
            inputs |= self._sketch(x, cond)
        rows = tuple(float(row) for row in self.network.spacing_of(cond)[:, 0])
        spacing = rows[:1] if len(set(rows)) == 1 else rows
        d, h, w = x.shape[2:]
        shape = Shape(len(x), (d, h, w), spacing, tokens)
        found = self.graph(shape, torch.get_num_threads())(inputs, share_inputs=True)[0]
        return torch.from_numpy(found.copy()).to(x.dtype)

    def _sketch(self, x: Tensor, cond: Conditioning) -> dict[str, np.ndarray]:
        """The sketch and whether it counts: with one and without, a walk asks the same graph."""
        config = self.network.config
        size = (n // step for n, step in zip(x.shape[2:], config["sketch_grain"], strict=True))
        none = x.new_zeros(len(x), config["sketch_channels"], *size)
        shown = np.full(len(x), float(cond.sketch is not None), np.float32)
        return {"sketch": _plain(none if cond.sketch is None else cond.sketch), "shown": shown}

    def _graph(self, shape: Shape, threads: int) -> Any:
        del threads  # ``compiled`` asks torch for them; here they tell graphs apart
        precision = "bf16" if self.network.dtype == torch.bfloat16 else "f32"
        name = f"{self.digest} {shape} {precision}"
        return compiled(name, precision, lambda: build(self.network, shape))


def build(network: SpatioTemporalUNet, shape: Shape) -> ov.Model:
    """The graph from (x, emb, keys, values, bias, sketch) to what the last layer says."""
    return _Blocks(network, shape).model()


class _Blocks(Builder):
    """The graph of the blocks alone."""

    def __init__(self, network: SpatioTemporalUNet, shape: Shape) -> None:
        parts = frozenset({"sketch"} if network.sketch is not None else ())
        super().__init__(network, Asked(shape.batch, shape.size, parts, shape.tokens))
        self.shape = shape

    def model(self) -> ov.Model:
        """The whole of it."""
        shape = self.shape
        width = self.network.stem.mix.in_features // int(np.prod(self.network.patch))
        x = self.input("x", (shape.batch, width, *shape.size))
        emb = self.input("emb", (shape.batch, 4 * self.config["block_out_channels"][0]))
        self.spacing = constant([[row, 1.0, 1.0] for row in shape.spacing])
        pairs, bias = self._pairs()
        x = self.sketched(merge(permuted(x, 0, 2, 3, 4, 1), self.network.stem, self.full))
        said = self.walk(x, Told(emb, None, bias, pairs))
        return model([said], list(self.inputs.values()), "blocks")

    def _along_d(self) -> Node:
        return constant([[row] for row in self.shape.spacing])

    def _pairs(self) -> tuple[dict[Any, tuple[Node, Node]], Node | None]:
        batch, tokens = self.shape.batch, self.shape.tokens
        if not tokens:
            return {}, None
        pairs = {}
        for i, reader in enumerate(self.network.readers):
            wide = (batch, tokens, reader.heads, reader.to_q.out_features // reader.heads)
            pairs[reader] = (self.input(f"k{i}", wide), self.input(f"v{i}", wide))
        return pairs, self.input("bias", (batch, 1, 1, tokens))


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().float().contiguous().numpy()


def _told(memory: TextMemory, batch: int) -> tuple[dict[str, np.ndarray], int]:
    """Keys, values and what is added to their scores, filled up; and how many there are."""
    length = memory.keys_values[0][0].shape[1]
    mask, more = memory.mask, -length % TOKENS
    if mask is None:  # also of the one token of no prompt: its graph is that of most prompts
        mask = torch.ones(batch, 1, 1, length, dtype=torch.bool)
    found: dict[str, np.ndarray] = {}
    for i, pair in enumerate(memory.keys_values):
        for name, values in zip("kv", pair, strict=True):
            rows = values.expand(batch, -1, -1, -1)
            found[f"{name}{i}"] = _plain(pad(rows, (0, 0, 0, 0, 0, more)))
    real = pad(mask.expand(batch, -1, -1, -1), (0, more))
    found["bias"] = _plain(torch.where(real, 0.0, FARTHEST))
    return found, length + more


def accelerate(network: ConditionedNetwork, digest: str) -> None:
    """Have OpenVINO compute a network's blocks, and those of its layout network."""
    for name, part in (("", network), ("layouts", getattr(network, "layouts", None))):
        if isinstance(part, SpatioTemporalUNet):
            cast("Any", part).answer = Answer(part, f"{digest} {name}")
