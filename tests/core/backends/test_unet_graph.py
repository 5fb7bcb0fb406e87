"""An OpenVINO graph answers as the network that it was built from."""

import numpy as np
import pytest
import torch

from core.conditioning import Conditioning
from core.networks.unet import SpatioTemporalUNet

pytest.importorskip("openvino")

from core.backends.unet import Asked, build

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


@pytest.mark.parametrize("case", CASES)
def test_a_graph_answers_as_its_network(case):
    import openvino as ov

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
    graph = build(network, Asked(2, size, frozenset(parts), 6))
    core = ov.Core()
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = compiled({name: value.numpy() for name, value in inputs.items()})[0]
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()


def test_a_sketch_that_is_not_shown_is_none():
    import openvino as ov

    settings, size, _ = CASES["a sketch"]
    network = made(settings)
    sketch = torch.rand(SHAPES["sketch"])
    z, t = torch.randn(2, 2, *size), torch.tensor([0.7, 0.2])
    graph = build(network, Asked(2, size, frozenset({"sketch"})))
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    inputs = {"z": z, "t": t, "r": t, "sketch": sketch, "shown": torch.tensor([1.0, 0.0])}
    got = compiled({name: value.numpy() for name, value in inputs.items()})[0]
    with torch.inference_mode():
        shown = network(z, t, t, Conditioning(sketch=sketch)).numpy()
        hidden = network(z, t, t, Conditioning()).numpy()
    assert np.abs(got[0] - shown[0]).max() < 1e-4 * np.abs(shown).max()
    assert np.abs(got[1] - hidden[1]).max() < 1e-4 * np.abs(hidden).max()
    assert np.abs(shown[1] - hidden[1]).max() > 0.01


def test_weights_in_eight_bits_answer_nearly_the_same():
    import openvino as ov

    from core.backends.weights import in_integers

    wide = {"block_out_channels": (64, 128), "head_dim": 64}
    network = made(wide)
    torch.nn.init.normal_(network.head.mix.weight, std=0.05)
    for parameter in network.parameters():
        parameter.mul_(0.2)
    z, t = torch.randn(1, 2, 3, 8, 8), torch.tensor([0.7])
    inputs = {"z": z.numpy(), "t": t.numpy(), "r": t.numpy()}
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    asked = Asked(1, (3, 8, 8), frozenset())
    exact, stored = build(network, asked), in_integers(build(network, asked))
    constants = [op for op in stored.get_ops() if op.get_type_name() == "Constant"]
    kinds = [str(op.get_element_type()) for op in constants]
    assert sum("int8" in kind or "i8" in kind for kind in kinds) > 8
    core = ov.Core()
    want, got = (core.compile_model(g, "CPU", config)(inputs)[0] for g in (exact, stored))
    assert 0 < np.abs(got - want).mean() < 0.02 * np.abs(want).mean()
