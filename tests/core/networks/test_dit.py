"""The transformer answers as the U-Net does: any size, every weight alive, everything heard."""

from dataclasses import replace

import pytest
import torch
from diffusers import ModelMixin

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.models.checkpoints import load_model, save_model
from core.networks.dit import SpatioTemporalDiT
from core.networks.pretrained import twin_of
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import linear

T, R = torch.tensor([0.7, 0.4]), torch.tensor([0.2, 0.4])
SETTINGS = {
    "in_channels": 2, "concat_channels": 2, "width": 32, "layers": 2, "patch_size": (1, 2, 2),
    "text_channels": 12, "num_labels": 3, "head_dim": 16,
}  # fmt: skip


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build(**changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SpatioTemporalDiT(**(SETTINGS | changes))
        for weight in network.parameters():  # zero-initialized layers would hide mistakes
            if weight.ndim and not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
    return network.eval()


@pytest.fixture
def told():
    return Conditioning(
        tokens=draw(2, 5, 12, seed=1),
        token_mask=torch.tensor([[True] * 5, [True, True, False, False, False]]),
        concat=draw(2, 2, 4, 6, 6, seed=2),
        label=torch.tensor([0, 2]),
        spacing=torch.tensor([[0.5, 1.0, 1.0], [0.125, 1.0, 1.0]]),
        resolution=torch.tensor([[4.0, 1.0, 1.0], [2.0, 1.0, 1.0]]),
        guidance=torch.tensor([1.0, 3.0]),
    )


@pytest.mark.parametrize("prediction", ["velocity", "sample"])
@pytest.mark.parametrize("size", [(1, 8, 8), (1, 1, 1), (5, 7, 9), (2, 3, 11)])
def test_any_size_comes_back_as_it_went_in(size, prediction):
    network = build(concat_channels=0, patch_size=(2, 4, 4), prediction=prediction)
    z = draw(2, 2, *size)
    u = network(z, T, R)
    assert u.shape == z.shape
    assert torch.isfinite(u).all()


def test_gradients_reach_every_weight(told):
    network = build().train()
    network(draw(2, 2, 4, 6, 6), T, R, told).square().mean().backward()
    network(draw(2, 2, 4, 6, 6), T, R, Conditioning(concat=told.concat)).sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_shut_gates_open(told):
    """Zeros behind zeros would never learn: three steps must wake every block."""
    torch.manual_seed(0)
    network = SpatioTemporalDiT(**SETTINGS).train()
    assert not network(draw(2, 2, 4, 6, 6), T, R, told).any()
    adam = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(4):
        adam.zero_grad()
        (network(draw(2, 2, 4, 6, 6), T, R, told) - 1).square().mean().backward()
        adam.step()
    silent = [n for n, p in network.blocks.named_parameters() if not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize(
    "part", ["tokens", "token_mask", "concat", "label", "spacing", "resolution", "guidance"]
)
def test_every_part_of_the_conditioning_is_heard(told, part):
    network, z, value = build(), draw(2, 2, 4, 6, 6), getattr(told, part)
    other = {
        "token_mask": lambda: ~value | torch.tensor([True, False, False, False, False]),
        "label": lambda: value + torch.tensor([1, -1]),
    }.get(part, lambda: value * 1.5)()
    changed = network(z, T, R, replace(told, **{part: other}))
    assert not torch.allclose(changed, network(z, T, R, told), atol=1e-4)


def test_cells_know_where_they_are():
    """Without positions a transformer is blind to order; with them, along all three axes."""
    network = build(concat_channels=0)
    z = draw(1, 2, 4, 6, 6)
    for axis in (2, 3, 4):
        turned = network(z.flip(axis), T[:1]).flip(axis)
        assert not torch.allclose(network(z, T[:1]), turned, atol=1e-3)


def test_rows_do_not_see_each_other_and_a_kept_prompt_answers_as_a_read_one(told):
    network, z = build(), draw(2, 2, 4, 6, 6)
    both = network(z, T, R, told)
    assert torch.equal(network(z, T, R, told, memory=network.read(told, 2)), both)
    for row in range(2):
        one = slice(row, row + 1)
        assert torch.allclose(
            network(z[one], T[one], R[one], told.take(one)), both[one], atol=1e-5
        )


def test_checkpointing_changes_no_gradient(told):
    def gradients(network):
        network.zero_grad()
        network(draw(2, 2, 4, 6, 6), T, R, told).square().mean().backward()
        return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}

    network = build().train()
    plain = gradients(network)
    network.enable_gradient_checkpointing()
    assert all(torch.equal(plain[n], g) for n, g in gradients(network).items())


def test_a_model_folder_holds_it_and_diffusers_reads_it(tmp_path, told):
    network = build()
    record = {"name": "dit", "kind": "video"}
    save_model(tmp_path / "dit", network, record, dtype=torch.float32)
    again, _ = load_model(tmp_path / "dit", dtype=torch.float32)
    assert type(again) is SpatioTemporalDiT
    theirs = SpatioTemporalDiT.from_pretrained(tmp_path / "dit")
    assert isinstance(theirs, ModelMixin)
    assert twin_of(SpatioTemporalDiT)._repeated_blocks == ("DiTBlock",)
    z = draw(2, 2, 4, 6, 6)
    for sampler in SAMPLERS.values():
        drawn = sampler.walk(denoiser(again, told), z, linear(2))
        assert torch.equal(drawn, sampler.walk(denoiser(theirs, told), z, linear(2)))
        assert not torch.equal(drawn, z)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="prediction='noise'"):
        build(prediction="noise")
