"""Networks are loaded and saved as diffusers does it, from shipped folders and from a user's."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import ModelMixin
from safetensors.torch import load_file, save_file

from core.models.checkpoints import load_model, save_model
from core.models.files import CONFIG, WEIGHTS
from core.networks.pretrained import as_diffusers
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.trouble import Trouble

ROOT = Path(__file__).parents[3]
SHIPPED = [ROOT / "video/weights/scenes-64", ROOT / "medical/weights/heads-1mm"]
THEIRS = "diffusion_pytorch_model.safetensors"
T = torch.tensor(0.5)
BARE = """
import sys
import torch
from diffusers import ModelMixin
from core.networks.pretrained import as_diffusers
from core.networks.unet import SpatioTemporalUNet

network = SpatioTemporalUNet.from_pretrained(sys.argv[1], torch_dtype=torch.bfloat16)
assert isinstance(network, ModelMixin)
assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
z = torch.ones(1, 2, 3, 5, 7)
torch.save(network(z, torch.tensor(0.5)), sys.argv[2])
print(sorted(name for name in ("prefect", "flows") if name in sys.modules))
"""


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_shipped_folders_load_as_they_are(folder, dtype):
    network = SpatioTemporalUNet.from_pretrained(folder, torch_dtype=dtype)
    again, _ = load_model(folder, dtype=dtype)
    assert isinstance(network, ModelMixin)
    assert not network.training
    assert same(network, again)
    assert sorted(p.name for p in folder.iterdir()) == [
        "CARD.md", "config.json", "model.json", "weights.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_network_comes_back_as_it_was_saved(tiny, tmp_path, dtype):
    network = tiny().to(dtype)
    network.save_pretrained(tmp_path / "net")
    assert sorted(p.name for p in (tmp_path / "net").iterdir()) == [CONFIG, THEIRS]
    again = SpatioTemporalUNet.from_pretrained(tmp_path / "net", torch_dtype=dtype)
    assert {p.dtype for p in again.parameters()} == {dtype}
    assert same(network, again)
    z = torch.randn(1, 2, 3, 5, 7)
    assert torch.equal(network(z, T), again(z, T))


def test_a_saved_folder_of_a_loaded_one_names_no_place(tiny, tmp_path):
    folder = save_model(tmp_path / "toy", tiny(), {"name": "toy", "kind": "video"})
    network = SpatioTemporalUNet.from_pretrained(folder)
    assert network.config["_name_or_path"] == str(folder)
    network.save_pretrained(tmp_path / "again")
    assert str(tmp_path) not in (tmp_path / "again" / CONFIG).read_text()


def test_a_subfolder_and_a_device_map(tiny, tmp_path):
    save_model(tmp_path / "all" / "unet", tiny(), {"name": "toy", "kind": "video"})
    network = SpatioTemporalUNet.from_pretrained(
        tmp_path / "all", subfolder="unet", device_map="cpu"
    )
    assert network.device.type == "cpu"


def test_bytes_that_the_record_does_not_name_are_refused(tiny, tmp_path):
    folder = save_model(tmp_path / "toy", tiny(), {"name": "toy", "kind": "video"})
    config = json.loads((folder / CONFIG).read_text()) | {"head_dim": 8}
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(Trouble, match=r"sha256 is .* copy the model again"):
        SpatioTemporalUNet.from_pretrained(folder)


def test_weights_without_a_record_load_too(tiny, tmp_path):
    folder = save_model(tmp_path / "toy", network := tiny(), {"name": "toy", "kind": "video"},
                        dtype=torch.float32)  # fmt: skip
    (folder / "model.json").unlink()
    assert same(SpatioTemporalUNet.from_pretrained(folder), network)


@pytest.mark.parametrize("change", ["less", "more"])
def test_weights_of_another_network_are_refused(tiny, tmp_path, change):
    tiny().save_pretrained(tmp_path / "net")
    weights = load_file(tmp_path / "net" / THEIRS)
    if change == "less":
        weights.pop("head.mix.weight")
    else:
        weights["made.up"] = torch.zeros(1)
    save_file(weights, tmp_path / "net" / THEIRS)
    with pytest.raises(Refusal, match=r"head.mix.weight|made.up"):
        SpatioTemporalUNet.from_pretrained(tmp_path / "net")


@pytest.mark.parametrize("name", [None, "someone/some-model", "/nowhere"])
def test_nothing_is_fetched(name, monkeypatch):
    monkeypatch.setattr("socket.socket", pytest.fail)
    with pytest.raises(Refusal, match="networks are loaded from folders on this machine"):
        SpatioTemporalUNet.from_pretrained(name)


def test_pickles_are_neither_read_nor_written(tiny, tmp_path):
    network = tiny()
    with pytest.raises(Refusal, match="never pickles"):
        network.save_pretrained(tmp_path / "net", safe_serialization=False)
    network.save_pretrained(tmp_path / "net")
    (tmp_path / "net" / THEIRS).unlink()
    (tmp_path / "net" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(network.config))
    with pytest.raises(Refusal, match="never pickles"):
        SpatioTemporalUNet.from_pretrained(tmp_path / "net", use_safetensors=False)
    with pytest.raises(OSError, match=THEIRS):
        SpatioTemporalUNet.from_pretrained(tmp_path / "net")


@pytest.mark.parametrize("ours", [True, False])
def test_a_bare_python_loads_what_was_saved(tiny, tmp_path, ours):
    """In a fresh process, elsewhere, with diffusers and our packages alone."""
    network = tiny().to(torch.bfloat16)
    if ours:
        save_model(tmp_path / "net", network, {"name": "toy", "kind": "video"})
        assert (tmp_path / "net" / WEIGHTS).is_file()
    else:
        network.save_pretrained(tmp_path / "net")
    command = [sys.executable, "-W", "error", "-c", BARE, "net", "answer.pt"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    answer = torch.load(tmp_path / "answer.pt", weights_only=True)
    assert torch.equal(answer, network(torch.ones(1, 2, 3, 5, 7), T))


def test_a_network_needs_no_diffusers_to_compute(tiny, tmp_path):
    """Which takes two seconds to import; a model folder is read and a batch drawn without."""
    save_model(tmp_path / "net", tiny(), {"name": "toy", "kind": "video"})
    code = (
        "import sys, torch\n"
        "from core.models.checkpoints import load_model\n"
        "network, _ = load_model(sys.argv[1])\n"
        "network(torch.ones(1, 2, 3, 5, 7), torch.tensor(0.5))\n"
        "heavy = {'diffusers', 'transformers', 'accelerate', 'torch._dynamo'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "net")]
    subprocess.run(command, cwd=ROOT, check=True)


def test_diffusers_knows_a_network_made_of_the_same_layers(tiny):
    network = tiny()
    twin = as_diffusers(network)
    assert isinstance(twin, ModelMixin)
    assert isinstance(twin, SpatioTemporalUNet)
    assert as_diffusers(twin) is twin
    twin.enable_gradient_checkpointing()
    assert not network.is_gradient_checkpointing
    network.head.mix.bias.data += 1
    z = torch.randn(1, 2, 3, 5, 7)
    assert torch.equal(twin(z, T), network(z, T))
    assert twin.to_json_string() == network.to_json_string()


def test_settings_are_copied_with_a_network_and_never_changed_in_place(tiny):
    network = tiny()
    again = copy.deepcopy(network)
    again.register_to_config(head_dim=1)
    assert (network.config.head_dim, again.config.head_dim) == (tiny().config.head_dim, 1)
    with pytest.raises(TypeError, match="head_dim is set by register_to_config"):
        network.config["head_dim"] = 2
    with pytest.raises(AttributeError, match="no setting 'width'; there are in_channels"):
        _ = network.config.width
