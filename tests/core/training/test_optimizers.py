"""Muon's updates are nearly orthogonal, of AdamW's size, and go on where they stopped."""

import copy

import pytest
import torch
from torch import nn

from core.training.optimizers import Muon, muon, orthogonalize


@pytest.mark.parametrize("shape", [(32, 32), (64, 16), (16, 64), (8, 300)])
def test_singular_values_end_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    nearly = orthogonalize(matrix)
    values = torch.linalg.svdvals(nearly)
    assert nearly.shape == matrix.shape
    assert nearly.dtype is matrix.dtype
    assert 0.6 < values.median() < 1.3
    assert values.max() < 1.3
    if shape[0] != shape[1]:  # a square random matrix has singular values near 0
        assert values.min() > 0.6


def test_orthogonalizing_keeps_the_directions():
    u, _, v = torch.linalg.svd(torch.randn(6, 10, generator=torch.Generator().manual_seed(0)),
                               full_matrices=False)  # fmt: skip
    nearly = orthogonalize(u @ torch.diag(torch.tensor([3.0, 2.5, 2.0, 1.5, 1.2, 1.0])) @ v)
    turned = u.T @ nearly @ v.T
    assert (turned - torch.diag(turned.diag())).abs().max() < 0.05
    assert turned.diag().min() > 0.6


def regression(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
        x = torch.randn(64, 8)
        return network, x, torch.tanh(x @ torch.randn(8, 4))


@torch.no_grad()
def error(network, x, y):
    return float((network(x) - y).square().mean())


def descend(network, optimizer, x, y, steps):
    for _ in range(steps):
        loss = (network(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return error(network, x, y)


def test_muon_reduces_a_loss():
    network, x, y = regression()
    before = error(network, x, y)
    after = descend(network, muon(network, lr=0.02), x, y, 100)
    assert after < 0.1 * before


def test_edges_and_vectors_go_to_adamw(tiny):
    network = tiny(num_labels=2)
    optimizer = muon(network, lr=1e-3)
    names = {id(p): n for n, p in network.named_parameters()}
    inner, outer = ({names[id(p)] for p in g["params"]} for g in optimizer.param_groups)
    assert inner | outer == set(names.values())
    assert not inner & outer
    assert {"stem.mix.weight", "head.mix.weight", "null_token", "label_embedding.weight"} <= outer
    assert "mid_block.0.residual.conv1.weight" in inner
    assert "mid_block.0.attention.axis.to_q.weight" in inner
    assert not [n for n in inner if n.endswith("bias")]


def test_an_inner_update_has_the_size_of_adamws():
    weight = nn.Parameter(torch.zeros(32, 4, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([weight], [], lr=1.0, weight_decay=0.0).step()
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.2, abs=0.06)


def test_outer_weights_take_adamws_own_steps():
    network, x, y = regression()
    twin = copy.deepcopy(network)
    descend(network, Muon([], network.parameters(), lr=0.01), x, y, 5)
    reference = torch.optim.AdamW(twin.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    descend(twin, reference, x, y, 5)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_weight_decay_shrinks_inner_weights_only():
    inner, outer = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    inner.grad, outer.grad = torch.zeros(2, 2), torch.zeros(2)
    Muon([inner], [outer], lr=0.1, weight_decay=0.5).step()
    assert inner.eq(0.95).all()
    assert outer.eq(1).all()


def test_weights_without_a_gradient_are_left_alone():
    idle = nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([idle], [], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert idle.eq(1).all()
    assert not optimizer.state


def test_a_saved_state_goes_on_bit_for_bit():
    network, x, y = regression()
    optimizer = muon(network, lr=0.02)
    descend(network, optimizer, x, y, 3)
    twin, saved = copy.deepcopy(network), copy.deepcopy(optimizer.state_dict())
    again = muon(twin, lr=0.02)
    again.load_state_dict(saved)
    descend(network, optimizer, x, y, 3)
    descend(twin, again, x, y, 3)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)
