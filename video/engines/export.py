"""A video model of ours as graphs that run without torch; what runs them is ``video.runner``."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from torch import nn

from core.backends.artefact import LANDINGS, Artefact
from core.backends.ops import (
    Node,
    asked,
    attention,
    constant,
    layer_norm,
    linear,
    model,
    shaped,
    whole,
)
from core.backends.unet import FARTHEST, Asked, build
from core.networks.conditioned import ConditionedNetwork
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from video.engines.layouts import APART, CHANNELS, STEPS, TRIES, fits
from video.engines.minilm import HEADS, Layer, MiniLM
from video.engines.own import PAINTING_GUIDANCE, SHIFT
from video.engines.own_engine import SIDES
from video.engines.served_prompts import knows_only_scenes
from video.engines.text import MOST_TOKENS, WIDTH, TextEncoder, packaged_folder
from video.world.scene_table import SLOTS
from video.world.scenes import NUM_FRAMES

MODULES = (
    "core.numerics",
    "core.progress",
    "core.records",
    "core.refusal",
    "core.runner.command",
    "core.runner.graphs",
    "core.runner.noise",
    "core.runner.walks",
    "core.trouble",
    "video.files.animations",
    "video.files.clip",
    "video.files.footage",
    "video.files.formats",
    "video.files.likeness",
    "video.files.stills",
    "video.files.upright",
    "video.files.wholeness",
    "video.runner.clips",
    "video.runner.layouts",
    "video.runner.words",
    "video.world.color_lists",
    "video.world.prompts",
    "video.world.scenes",
    "video.world.spelling",
    "video.world.synonyms",
    "video.world.tolerant_reader",
    "video.world.understanding",
    "video.world.wording",
    "video.world.words",
)
NEEDS = ("av", "decord2", "imageio", "numpy", "pillow", "tokenizers")
USUAL_SIZE = (16, 64, 64)
MOST_FRAMES = 4096


def check_size(frames: int, height: int, width: int) -> None:
    """Refuse clips that no exported model can make.

    Raises:
        Refusal: They are longer, larger or smaller than the network takes.
    """
    least, most = SIDES
    told = {"frames": (frames, 1, MOST_FRAMES), "height": (height, least, most)}
    for name, (number, low, high) in (told | {"width": (width, least, most)}).items():
        if not low <= number <= high:
            raise Refusal(
                f"{name}={number}: an exported model makes clips of {low} to {high} {name}; try "
                f"{low if number < low else high}."
            )


def exported(
    network: ConditionedNetwork, record: dict[str, Any], size: tuple[int, int, int] = USUAL_SIZE
) -> Artefact:
    """What stands for a video model, for clips of one size.

    Args:
        network: In float32.
        record: Of the model.
        size: Frames, height and width of every clip it will make.

    Raises:
        Refusal: It is a network, or was taught in a way, that is not exported, or the size is
            one that it cannot take.
    """
    check_size(*size)
    painter, landings = _checked(network, record)
    parts = {"tokens", "spacing"}
    graphs: dict[str, ov.Model] = {"reader": reader(TextEncoder().model)}
    layouts = painter.layouts if fits((3, *size)) else None
    facts: dict[str, Any] = {}
    if layouts is not None:
        assert isinstance(layouts, SpatioTemporalUNet)
        shape = (CHANNELS, NUM_FRAMES, SLOTS, 1)
        graphs["layouts"] = build(layouts, Asked(2, shape[1:], frozenset({"tokens"})))
        facts = {"shape": shape, "tries": TRIES, "steps": STEPS, "apart": APART}
        parts |= {"sketch"}
    graphs["painter"] = build(painter, Asked(2, size, frozenset(parts)))
    sampling = {
        "size": size,
        "shift": SHIFT,
        "painting_guidance": PAINTING_GUIDANCE,
        "landings": landings,
        "layouts": facts,
        "world": knows_only_scenes(record),
        "most_tokens": MOST_TOKENS,
    }
    return Artefact(
        graphs,
        {"tokenizer.json": packaged_folder() / "tokenizer.json"},
        MODULES,
        NEEDS,
        "video.runner.clips",
        "A clip from a sentence",
        'python run.py "two red circles move left" clip.mp4 --seed 6',
        {"sampling": sampling},
    )


def _checked(
    network: ConditionedNetwork, record: dict[str, Any]
) -> tuple[SpatioTemporalUNet, bool]:
    """The network, and whether it knows landings."""
    family = network.config["trained_objective"]
    fits_in = isinstance(network, SpatioTemporalUNet) and family in LANDINGS
    if not fits_in or not network.config["text_channels"]:
        raise Refusal(
            f"model {record['name']} is a {type(network).__name__} taught by {family}: exported "
            f"are networks of the class SpatioTemporalUNet that read prompts, of the families "
            f"{' and '.join(LANDINGS)}; run this one with torch."
        )
    if record.get("guidance_trained_in"):
        raise Refusal(
            f"model {record['name']} was trained with jumps, and so with one guidance in its "
            "weights: exported are models whose guidance is chosen with each clip; train one with "
            "--jump-steps 0, or run this one with torch."
        )
    assert isinstance(network, SpatioTemporalUNet)
    return network, LANDINGS[family]


def reader(encoder: nn.Module) -> ov.Model:
    """MiniLM: token numbers (1, L) and 1 where there is one -> states (1, L, C)."""
    assert isinstance(encoder, MiniLM)
    ids = op.parameter(ov.PartialShape([1, -1]), np.int64, name="ids")
    real = asked("real", (1, -1))
    rows = op.constant(0, dtype=np.int64)
    x = op.gather(constant(encoder.words), ids, rows)
    length = op.gather(op.shape_of(ids), op.constant([1], dtype=np.int64), rows)
    places = op.slice(constant(encoder.places), whole([0]), length, whole([1]), whole([0]))
    x = op.add(op.add(x, constant(encoder.kinds[:1])), places)
    x = layer_norm(x, _Norm(encoder.norm))
    bias = op.multiply(op.subtract(constant(1.0), real), constant(FARTHEST))
    bias = op.unsqueeze(op.unsqueeze(bias, whole([1])), whole([1]))
    for layer in encoder.layers:
        assert isinstance(layer, Layer)
        x = _layer(x, layer, bias)
    states = op.multiply(x, op.unsqueeze(real, whole([2])))
    return model([states], [ids, real], "MiniLM")


class _Norm:
    """What ``layer_norm`` reads."""

    eps = 1e-12

    def __init__(self, norm: Any) -> None:
        self.weight, self.bias = norm.weight, norm.bias


def _layer(x: Node, layer: Layer, bias: Node) -> Node:
    q, k, v = (
        shaped(linear(x, each), 0, 0, HEADS, WIDTH // HEADS)
        for each in (layer.query, layer.key, layer.value)
    )
    y = shaped(attention(q, k, v, bias), 0, 0, WIDTH)
    x = layer_norm(op.add(linear(y, layer.out), x), _Norm(layer.norm_attention))
    y = linear(op.gelu(linear(x, layer.rise), "erf"), layer.fall)
    return layer_norm(op.add(y, x), _Norm(layer.norm))
