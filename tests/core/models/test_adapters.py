"""LoRA files as others write them: what decides the result is told, what is wrong is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

from core.models.adapters import ADAPTER, ADAPTER_CONFIG, DOWN, OF_PEFT, UP, Lora
from core.models.merging import read, take
from core.refusal import Refusal

LAYER = "layer"


def write(folder, *, up=(6, 2), rank=2, said=None, beside=None, value=1.0):
    tensors = {
        f"{OF_PEFT}{LAYER}{DOWN}": torch.full((rank, 4), value),
        f"{OF_PEFT}{LAYER}{UP}": torch.ones(up),
    }
    save_file(tensors, folder / ADAPTER, said)
    if beside is not None:
        (folder / ADAPTER_CONFIG).write_text(json.dumps(beside))
    return folder / ADAPTER


def share(lora):
    return read(lora)[LAYER].share


def test_alpha_of_the_settings_beside_is_told(tmp_path):
    low = Lora.of(write(tmp_path, beside={"r": 2, "lora_alpha": 2}))
    assert share(low) == 1.0
    high = Lora.of(write(tmp_path, beside={"r": 2, "lora_alpha": 64}))
    assert share(high) == 32.0
    assert low.digest == high.digest
    assert low != high
    assert low.told() != high.told()
    assert high.told()["lora"]["alpha"] == 64.0
    (tmp_path / ADAPTER_CONFIG).unlink()
    assert share(high) == 32.0  # as it was asked for
    plain = Lora.of(tmp_path / ADAPTER)
    assert share(plain) == 1.0
    assert "alpha" not in plain.told()["lora"]


def test_alpha_of_the_file_itself_goes_first(tmp_path):
    lora = Lora.of(write(tmp_path, said={"alpha": "4"}, beside={"lora_alpha": 64}))
    assert share(lora) == 2.0
    assert lora.told()["lora"].keys() == {"sha256", "scale"}


@pytest.mark.parametrize("name", ["use_rslora", "use_dora", "fan_in_fan_out"])
def test_other_kinds_of_change_are_refused(tmp_path, name):
    path = write(tmp_path, beside={"lora_alpha": 2, name: True})
    with pytest.raises(Refusal, match=f"{name}.*; train one without"):
        Lora.of(path)
    write(tmp_path, beside={"lora_alpha": 2, name: False, "alpha_pattern": {}})
    assert Lora.of(path).alpha == 2.0


@pytest.mark.parametrize("alpha", ["nan", "inf", "two", ""])
def test_an_alpha_that_is_no_number_is_refused(tmp_path, alpha):
    with pytest.raises(Refusal, match=f"alpha='{alpha}'"):
        Lora.of(write(tmp_path, said={"alpha": alpha}))
    with pytest.raises(Refusal, match=f"lora_alpha='{alpha}'"):
        Lora.of(write(tmp_path, beside={"lora_alpha": alpha}))


def test_settings_that_cannot_be_read_are_refused(tmp_path):
    path = write(tmp_path)
    (tmp_path / ADAPTER_CONFIG).write_text("{")
    with pytest.raises(Refusal, match="cannot be read"):
        Lora.of(path)


@pytest.mark.parametrize("shape", [{"rank": 0, "up": (6, 0)}, {"up": (6, 2, 3)}])
def test_odd_shapes_are_refused(tmp_path, shape):
    with pytest.raises(Refusal, match="are no A and B"):
        read(Lora.of(write(tmp_path, **shape)))


def test_a_scale_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(Refusal, match="scale nan"):
        Lora.of(write(tmp_path), float("nan"))


def test_numbers_that_are_not_finite_never_reach_a_network(tmp_path, monkeypatch):
    layer = torch.nn.Linear(4, 6)
    network, before = torch.nn.ModuleDict({LAYER: layer}), layer.weight.clone()
    monkeypatch.setattr("core.models.merging.check", lambda *_: None)
    with pytest.raises(Refusal, match="not finite"):
        take(network, tmp_path, Lora.of(write(tmp_path, value=float("nan"))))
    assert torch.equal(layer.weight, before)
