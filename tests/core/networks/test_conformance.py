"""What diffusers documents of every model of its own, asked of every network of ours.

The list is that of the model tests of diffusers: saving and loading in every form, types, devices
and offload, training with checkpoints and averages, and configs. LoRA, compiling and pickles have
tests of their own beside this one.
"""

import copy
import inspect
import json

import pytest
import torch
from diffusers import ModelMixin
from diffusers.hooks import apply_group_offloading
from diffusers.training_utils import EMAModel

from core.conditioning import Conditioning
from core.networks.dit import SpatioTemporalDiT
from core.networks.latents import LatentNetwork
from core.networks.pretrained import as_diffusers
from core.networks.table import NETWORKS
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal

T, R = torch.tensor([0.7, 0.4]), torch.tensor([0.2, 0.4])
INDEX = "diffusion_pytorch_model.safetensors.index.json"
UNET = {
    "in_channels": 2, "block_out_channels": (16, 32), "down_strides": ((1, 2, 2),),
    "head_dim": 8, "text_channels": 12,
}  # fmt: skip
CASES = {
    "SpatioTemporalUNet": lambda: SpatioTemporalUNet(**UNET),
    "SpatioTemporalDiT": lambda: SpatioTemporalDiT(
        in_channels=2, width=32, layers=2, patch_size=(1, 2, 2), text_channels=12, head_dim=16
    ),
    "LatentNetwork": lambda: LatentNetwork(
        {"_class_name": "SpatioTemporalUNet", **UNET},
        {"in_channels": 1, "latent_channels": 2, "block_out_channels": (8, 8)},
    ),
}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=CASES)
def network(request):
    """In evaluation mode, no weight zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = CASES[request.param]()
        for weight in made.parameters():
            if weight.ndim and not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
    return as_diffusers(made).eval()


def inputs(dtype=torch.float32):
    tokens = draw(2, 5, 12, seed=1).to(dtype)
    told = Conditioning(tokens=tokens, token_mask=torch.ones(2, 5, dtype=torch.bool))
    return draw(2, 2, 4, 8, 8, seed=2).to(dtype), T, R, told


def answer(network):
    with torch.no_grad():
        return network(*inputs(network.dtype))


def reloaded(network, folder, **options):
    return type(network).from_pretrained(folder, **options)


def test_every_network_of_the_table_is_asked():
    assert set(CASES) == set(NETWORKS)


def test_the_same_input_gives_the_same_answer_of_its_shape(network):
    first = answer(network)
    assert torch.equal(first, answer(network))
    assert first.shape == inputs()[0].shape
    assert first.isfinite().all()
    assert list(inspect.signature(network.forward).parameters)[:4] == ["z", "t", "r", "cond"]


def test_saved_and_loaded_it_answers_the_same(network, tmp_path):
    network.save_pretrained(tmp_path)
    again = reloaded(network, tmp_path)
    assert torch.equal(answer(again), answer(network))
    assert not again.training
    assert again.num_parameters() == network.num_parameters() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_it_loads_in_the_type_that_is_asked(network, tmp_path, dtype):
    network.save_pretrained(tmp_path)
    again = reloaded(network, tmp_path, torch_dtype=dtype)
    assert again.dtype == dtype
    kept = dict(network.named_parameters())
    assert all(torch.equal(p, kept[n].to(p.dtype)) for n, p in again.named_parameters())


def test_a_variant_stands_beside_the_usual_weights(network, tmp_path):
    network.save_pretrained(tmp_path)
    half = copy.deepcopy(network).to(torch.float16)
    half.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "diffusion_pytorch_model.fp16.safetensors").is_file()
    found = reloaded(network, tmp_path, variant="fp16", torch_dtype=torch.float16)
    assert all(
        torch.equal(p, q) for p, q in zip(found.parameters(), half.parameters(), strict=True)
    )
    assert torch.equal(answer(reloaded(network, tmp_path)), answer(network))


def test_weights_in_shards_load_as_one_file(network, tmp_path):
    network.save_pretrained(tmp_path, max_shard_size="16KB")
    index = json.loads((tmp_path / INDEX).read_text())
    assert len(set(index["weight_map"].values())) > 1
    assert torch.equal(answer(reloaded(network, tmp_path)), answer(network))
    on_map = reloaded(network, tmp_path, device_map={"": "cpu"})
    assert torch.equal(answer(on_map), answer(network))


def test_a_missing_shard_is_refused(network, tmp_path):
    network.save_pretrained(tmp_path, max_shard_size="16KB")
    next(tmp_path.glob("*-of-*.safetensors")).unlink()
    with pytest.raises((OSError, Refusal)):
        reloaded(network, tmp_path)


def test_a_config_builds_the_same_network(network, tmp_path):
    network.save_config(tmp_path)
    config = type(network).load_config(tmp_path)
    again = type(network).from_config(config)
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in network.named_parameters()
    }
    assert isinstance(again, ModelMixin)
    own = {k: v for k, v in json.loads(network.to_json_string()).items() if k[0] != "_"}
    assert own == {k: v for k, v in json.loads(again.to_json_string()).items() if k[0] != "_"}


def test_training_moves_every_weight_that_it_teaches(network):
    network.train()
    taught = {n: p for n, p in network.named_parameters() if not n.startswith("autoencoder.")}
    network(*inputs()).square().mean().backward()
    # what only a guidance or a label moves is held in the tests of each network
    moved = [n for n, p in taught.items() if p.grad is not None and p.grad.any()]
    assert len(moved) > 0.8 * len(taught)
    assert all(p.grad.isfinite().all() for p in taught.values() if p.grad is not None)


def test_an_average_of_the_weights_is_kept_by_diffusers_too(network):
    network.train()
    average = EMAModel(network.parameters())
    network(*inputs()).square().mean().backward()
    with torch.no_grad():
        for weight in network.parameters():
            weight.sub_(0.0 if weight.grad is None else 0.1 * weight.grad)
    average.step(network.parameters())
    averaged = copy.deepcopy(network)
    average.copy_to(averaged.parameters())
    assert answer(averaged.eval()).isfinite().all()


def test_checkpointing_changes_memory_and_no_gradient(network):
    def gradients():
        network.zero_grad()
        network(*inputs()).square().mean().backward()
        return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}

    network.train()
    assert type(network)._supports_gradient_checkpointing
    plain = gradients()
    network.enable_gradient_checkpointing()
    assert network.is_gradient_checkpointing
    again = gradients()
    network.disable_gradient_checkpointing()
    assert not network.is_gradient_checkpointing
    assert plain.keys() == again.keys()
    assert all(torch.allclose(plain[n], again[n], atol=1e-6) for n in plain)


def test_layers_stored_in_eight_bits_compute_in_more(network):
    wanted = answer(network)
    network.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32
    )
    stored = {p.dtype for p in network.parameters()}
    assert torch.float8_e4m3fn in stored
    found = network(*inputs())
    assert found.dtype == torch.float32
    assert (found - wanted).square().mean() < 0.1 * wanted.square().mean()


@pytest.mark.parametrize("kind", ["leaf_level", "block_level"])
def test_groups_that_wait_elsewhere_answer_the_same(network, kind):
    wanted = answer(network)
    apply_group_offloading(
        network,
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type=kind,
        num_blocks_per_group=1 if kind == "block_level" else None,
    )
    assert torch.equal(answer(network), wanted)


def test_it_moves_to_another_type_and_back(network):
    wanted = answer(network)
    half = copy.deepcopy(network).to(torch.bfloat16)
    assert half.dtype == torch.bfloat16
    near = answer(half).float()
    assert (near - wanted).square().mean() < 1e-3 * wanted.square().mean()
    assert network.device == torch.device("cpu")


def test_weights_of_another_shape_are_refused(network, tmp_path):
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    inner = config.get("network", config)
    inner["in_channels"] = 3
    if "autoencoder" in config:
        config["autoencoder"]["latent_channels"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises((ValueError, RuntimeError), match=r"in_channels|shape|size|weights"):
        reloaded(network, tmp_path)
