"""Adapters and kept graphs: no model answers with the weights of another."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lamina
from core.conditioning import Conditioning
from core.models.adapters import ADAPTER, DOWN, OF_PEFT, UP

pytest.importorskip("openvino")

MODEL = "tiny-video"


@pytest.fixture
def adapter(models, tmp_path, monkeypatch) -> Path:
    """Changes every matrix of the model's way down, so that nobody can miss it."""
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LAMINA_BACKEND", "torch")
    torch.manual_seed(0)
    network, tensors = lamina.load(MODEL, device="cpu").network, {}
    for name, layer in network.named_modules():
        if (isinstance(layer, torch.nn.Linear) and ".attn" in name) or name.endswith("to_q"):
            outputs, inputs = layer.weight.shape
            tensors[f"{OF_PEFT}{name}{DOWN}"] = torch.randn(2, inputs)
            tensors[f"{OF_PEFT}{name}{UP}"] = torch.randn(outputs, 2)
    assert tensors
    save_file(tensors, tmp_path / ADAPTER)
    return tmp_path / ADAPTER


def answer(loras: dict[str, float]) -> torch.Tensor:
    network = lamina.load(MODEL, loras=loras, device="cpu").network.float()
    dice = torch.Generator().manual_seed(1)
    z = torch.randn((1, 3, 4, 16, 16), generator=dice)
    tokens = torch.randn((1, 5, network.config["text_channels"]), generator=dice)
    level = torch.tensor([0.5])
    with torch.inference_mode():
        return network(z, level, level, Conditioning(tokens=tokens))


def test_what_an_adapter_changed_is_not_kept_as_the_model(adapter, monkeypatch):
    cases = [{str(adapter): 1.0}, {}, {str(adapter): 0.5}]
    want = [answer(loras) for loras in cases]
    monkeypatch.setenv("LAMINA_BACKEND", "openvino")
    got = [answer(loras) for loras in cases]
    for mine, theirs, other in zip(got, want, want[1:] + want[:1], strict=True):
        near, far = ((mine - one).abs().max().item() for one in (theirs, other))
        assert near < 0.1 * far  # torch keeps the weights in bfloat16
