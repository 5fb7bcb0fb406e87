"""LoRA: nothing at first, the base as it was, merged to the bit, and as peft merges it."""

import json
from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.conditioning import Conditioning
from core.models.adapters import ADAPTER, ADAPTER_CONFIG, Lora, check
from core.models.checkpoints import load_model, save_model
from core.models.files import WEIGHTS, read_record
from core.models.installed import Installed
from core.models.merging import files_of, merged_model, read, take
from core.networks.dit import SpatioTemporalDiT
from core.networks.lora import changes, merge, merged, with_lora
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.seeds import generator

RANK = 3


def small(width=16):
    network = SpatioTemporalUNet(
        in_channels=1,
        concat_channels=2,
        block_out_channels=(width, 2 * width),
        layers_per_block=1,
        patch_size=(2, 2, 2),
        down_strides=((2, 2, 2),),
        attention_levels=(False, True),
        spatial_attention_levels=(False, False),
        head_dim=8,
        prediction="sample",
    )
    return filled(network)


def filled(network):
    """No weight is zero, so that every change is seen."""
    dice = generator(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.1 * torch.randn(weight.shape, generator=dice))
    return network


def answer(network):
    z = torch.randn((1, 1, 4, 8, 8), generator=generator(2))
    beside = torch.randn((1, 2, 4, 8, 8), generator=generator(3))
    t = torch.tensor([0.5])
    with torch.inference_mode():
        return network(z, t, t, Conditioning(concat=beside, spacing=torch.ones(1, 3)))


def learned(network):
    """The network after it has learned something."""
    with_lora(network, RANK, seed=4, alpha=2.0)
    dice = generator(5)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=dice))
    return network


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Two models of one width, one of another, and an adapter of the first."""
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path))
    for name, width in (("first", 16), ("second", 16), ("wide", 24)):
        network = small(width)
        with torch.no_grad():
            network.head.mix.bias.add_(1.0 if name == "second" else 0.0)
        record = {"name": name, "kind": "mri", "objective": "flow matching"}
        save_model(tmp_path / name, network, record, dtype=torch.float32)
    found = changes(learned(small()))
    record = read_record(tmp_path / "first")
    for name, data in files_of(found, rank=RANK, base="first", record=record).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_it_changes_nothing_at_first_and_never_the_base():
    network, plain = small(), small()
    with_lora(network, RANK, seed=4)
    assert torch.equal(answer(network), answer(plain))
    chosen = [n for n, p in network.named_parameters() if p.requires_grad]
    assert {n.rpartition(".")[2] for n in chosen} == {"down", "up"}
    assert any("conv1" in n for n in chosen)
    assert any("to_q" in n for n in chosen)

    cond, level = Conditioning(concat=torch.randn(1, 2, 8, 16, 16)), torch.ones(1)
    with torch.autocast("cpu", torch.bfloat16):  # as training computes
        network(torch.randn(1, 1, 8, 16, 16), level, level, cond).square().mean().backward()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.grad is not None:
                weight.sub_(weight.grad)
    assert not torch.equal(answer(network), answer(plain))
    base = dict(plain.named_parameters())
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            usual = name.replace("parametrizations.weight.original", "weight")
            assert torch.equal(weight, base[usual])


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_merged_it_answers_as_it_did_apart(kind):
    if kind == "unet":
        network = small()
    else:
        shape = {"width": 32, "layers": 1, "patch_size": (2, 2, 2), "head_dim": 8}
        network = filled(SpatioTemporalDiT(1, 2, **shape))
    plain = deepcopy(network)
    apart = answer(learned(network))
    found = changes(network)
    merge(plain, found)
    torch.testing.assert_close(answer(plain), apart, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(answer(merged(network)), apart, atol=1e-5, rtol=1e-5)
    assert not changes(network)
    assert sorted(network.state_dict()) == sorted(plain.state_dict())
    merge(plain, found, -1.0)  # and out again, but for rounding
    torch.testing.assert_close(answer(plain), answer(deepcopy(plain)))


def test_several_add_up_each_to_its_scale():
    first, second = changes(learned(small())), changes(learned(small()))
    one, two = small(), small()
    merge(one, first, 0.25)
    merge(one, second, 0.5)
    merge(two, first, 0.75)
    torch.testing.assert_close(answer(one), answer(two), atol=1e-5, rtol=1e-5)


def test_peft_reads_the_file_and_merges_it_alike(shelf):
    from peft import PeftModel

    with_peft = PeftModel.from_pretrained(small(), shelf)
    other = with_peft.merge_and_unload()
    ours, _ = load_model(shelf / "first", dtype=torch.float32)
    take(ours, shelf / "first", Lora.of(shelf / ADAPTER))
    torch.testing.assert_close(answer(other), answer(ours), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(answer(ours), answer(learned(small())), atol=1e-5, rtol=1e-5)
    settings = json.loads((shelf / ADAPTER_CONFIG).read_text())
    assert (settings["r"], settings["lora_alpha"]) == (RANK, 2.0)


def test_an_installed_model_takes_it_in_and_is_itself_without(shelf):
    lora = Lora.of(shelf / ADAPTER, 0.5)
    source = Installed("first", "mri", lora)
    assert source.record()["lora"] == {"sha256": lora.digest, "scale": 0.5}
    assert source != Installed("first", "mri")
    assert source.record()["sha256"] == Installed("first", "mri").record()["sha256"]
    changed = source.load("cpu").network
    plain = Installed("first", "mri").load("cpu").network
    assert not torch.equal(answer(changed), answer(plain))
    stored = load_file(shelf / "first" / WEIGHTS)
    assert all(torch.equal(p, stored[n].to(p.dtype)) for n, p in plain.named_parameters())


def test_a_model_is_made_of_another_and_adapters(shelf):
    folder = merged_model(
        shelf / "both", "first", [(shelf / ADAPTER, 1.0), (shelf / ADAPTER, 0.5)]
    )
    made, record = load_model(folder, dtype=torch.float32)
    ours, _ = load_model(shelf / "first", dtype=torch.float32)
    merge(ours, read(Lora.of(shelf / ADAPTER)), 1.5)
    torch.testing.assert_close(answer(made), answer(ours), atol=0.02, rtol=0.02)  # in bfloat16
    assert [said["scale"] for said in record["merged"]["loras"]] == [1.0, 0.5]
    assert record["name"] == "both"


@pytest.mark.parametrize(
    ("model", "words"), [("second", "was learned on first"), ("wide", "was learned on first")]
)
def test_another_model_is_refused(shelf, model, words):
    with pytest.raises(Refusal, match=f"lora=.*{words}.*not on {model}"):
        Installed(model, "mri", Lora.of(shelf / ADAPTER)).record()


def test_another_width_is_refused_though_the_file_does_not_say_its_model(shelf):
    tensors = load_file(shelf / ADAPTER)
    path = shelf / "plain.safetensors"
    save_file(tensors, path)
    check(Lora.of(path), shelf / "first")
    check(Lora.of(path), shelf / "second")
    with pytest.raises(Refusal, match=r"changes .* which wide has of .*its own width"):
        check(Lora.of(path), shelf / "wide")
    renamed = {name.replace("mid_block", "middle"): value for name, value in tensors.items()}
    save_file(renamed, path)
    with pytest.raises(Refusal, match="which first lacks"):
        check(Lora.of(path), shelf / "first")
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    save_file(tensors, path)
    with pytest.raises(Refusal, match="half of"):
        check(Lora.of(path), shelf / "first")


def test_what_is_no_adapter_is_refused(shelf):
    with pytest.raises(Refusal, match="no such file of safetensors"):
        Lora.of(shelf / "none.safetensors")
    (shelf / "cut.safetensors").write_bytes((shelf / ADAPTER).read_bytes()[:100])
    with pytest.raises(Refusal, match="cannot be read"):
        check(Lora.of(shelf / "cut.safetensors"), shelf / "first")
    with pytest.raises(Refusal, match=r"other tensors|half of"):
        check(Lora.of(shelf / "first" / WEIGHTS), shelf / "first")
    lora = Lora.of(shelf / ADAPTER)
    (shelf / ADAPTER).write_bytes((shelf / ADAPTER).read_bytes() + b" ")
    with pytest.raises(Refusal, match="not what it was"):
        read(lora)
