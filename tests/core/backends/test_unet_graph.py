"""A graph answers as the network that it was built from, by OpenVINO and by ONNX Runtime."""

from importlib import import_module

import numpy as np
import pytest
import torch

from core.conditioning import Conditioning
from core.networks.unet import SpatioTemporalUNet
from core.runner.graphs import FORMATS

pytest.importorskip("openvino")

from core.backends.artefact import save_graph
from core.backends.unet import Asked, build
from core.backends.weights import in_integers

BASE = {
    "in_channels": 2,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_strides": ((1, 2, 2),),
    "attention_levels": (False, True),
    "spatial_attention_levels": (False, True),
    "head_dim": 8,
}
CASES = {
    "plain": ({}, (3, 8, 8), ("spacing",)),
    "a single frame": ({}, (1, 8, 8), ()),
    "all frames at once": ({"joint_attention": True}, (4, 8, 8), ("spacing", "resolution")),
    "sizes that no cell divides": ({"patch_size": (2, 2, 2)}, (5, 9, 10), ("spacing",)),
    "a sample is said": ({"prediction": "sample"}, (3, 8, 8), ("guidance",)),
    "pure noise enters as 0": ({"input_scaling": "wiener"}, (3, 8, 8), ("spacing",)),
    "strides along D": ({"down_strides": ((2, 2, 2),)}, (4, 8, 8), ("spacing",)),
    "channels beside it": ({"concat_channels": 2}, (3, 8, 8), ("concat",)),
    "text": ({"text_channels": 12}, (3, 8, 8), ("tokens", "spacing")),
    "text that is not told": ({"text_channels": 12}, (3, 8, 8), ()),
    "a sketch": (
        {"sketch_channels": 3, "sketch_grain": (1, 2, 2), "patch_size": (1, 2, 2)},
        (3, 8, 8),
        ("sketch",),
    ),
}
SHAPES = {
    "tokens": (2, 6, 12),
    "concat": (2, 2, 3, 8, 8),
    "sketch": (2, 3, 3, 4, 4),
    "spacing": (2, 3),
    "resolution": (2, 3),
    "guidance": (2,),
}


def made(settings):
    """A network none of whose weights is zero, so that every part of it shows."""
    torch.manual_seed(0)
    network = SpatioTemporalUNet(**{**BASE, **settings})
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


@pytest.fixture(params=FORMATS)
def answer(request, tmp_path):
    """From a graph and its inputs to the answer, read back from the files of a format."""
    form = FORMATS[request.param]
    if request.param == "onnx":
        pytest.importorskip("onnx")
    pytest.importorskip(form.library)

    def run(graph, inputs, *, half=False, tokens=0):
        save_graph(graph, tmp_path / "graph", request.param, half=half)
        path = tmp_path / f"graph{form.files[0]}"
        plain = {name: np.asarray(value) for name, value in inputs.items()}
        return import_module(form.module).load(path, tokens, 1, None)(plain)

    return run


@pytest.mark.parametrize("case", CASES)
def test_a_graph_answers_as_its_network(case, answer):
    settings, size, parts = CASES[case]
    network = made(settings)
    told = {name: torch.rand(SHAPES[name]) + 0.5 for name in parts}
    z, t, r = torch.randn(2, 2, *size), torch.tensor([0.7, 0.2]), torch.tensor([0.5, 0.2])
    inputs = {"z": z, "t": t, "r": r, **told}
    cond = Conditioning(**told)
    if "tokens" in told:
        real = torch.tensor([[True] * 4 + [False] * 2, [False] * 6])
        inputs["token_mask"], cond = real.float(), Conditioning(**told, token_mask=real)
    if "sketch" in told:
        inputs["shown"] = torch.ones(2)
    with torch.inference_mode():
        want = network(z, t, r, cond).numpy()
    got = answer(build(network, Asked(2, size, frozenset(parts))), inputs, tokens=6)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()


def test_a_sketch_that_is_not_shown_is_none(answer):
    settings, size, _ = CASES["a sketch"]
    network = made(settings)
    sketch = torch.rand(SHAPES["sketch"])
    z, t = torch.randn(2, 2, *size), torch.tensor([0.7, 0.2])
    graph = build(network, Asked(2, size, frozenset({"sketch"})))
    inputs = {"z": z, "t": t, "r": t, "sketch": sketch, "shown": torch.tensor([1.0, 0.0])}
    got = answer(graph, inputs)
    with torch.inference_mode():
        shown = network(z, t, t, Conditioning(sketch=sketch)).numpy()
        hidden = network(z, t, t, Conditioning()).numpy()
    assert np.abs(got[0] - shown[0]).max() < 1e-4 * np.abs(shown).max()
    assert np.abs(got[1] - hidden[1]).max() < 1e-4 * np.abs(hidden).max()
    assert np.abs(shown[1] - hidden[1]).max() > 0.01


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_weights_in_fewer_bits_answer_nearly_the_same(weights, answer, tmp_path):
    wide = {"block_out_channels": (64, 128), "head_dim": 64}
    network = made(wide)
    torch.nn.init.normal_(network.head.mix.weight, std=0.05)
    for parameter in network.parameters():
        parameter.mul_(0.2)
    z, t = torch.randn(1, 2, 3, 8, 8), torch.tensor([0.7])
    inputs = {"z": z, "t": t, "r": t}
    asked = Asked(1, (3, 8, 8), frozenset())
    want = answer(build(network, asked), inputs)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    graph = build(network, asked)
    graph = in_integers(graph) if weights == "int8" else graph
    got = answer(graph, inputs, half=True)
    assert 0 < np.abs(got - want).mean() < 0.02 * np.abs(want).mean()
    smaller = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert smaller < size * (0.65 if weights == "float16" else 0.5)
