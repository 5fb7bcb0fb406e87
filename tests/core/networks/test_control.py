"""A branch for a control: nothing at first, nothing without one, and learned alone."""

from dataclasses import replace

import pytest
import torch

from core.conditioning import Conditioning
from core.families.flow import FlowMatching
from core.models import controls
from core.models.checkpoints import load_model, save_model
from core.networks.control import ControlBranch, with_control
from core.networks.dit import SpatioTemporalDiT
from core.refusal import Refusal
from core.seeds import generator
from core.training.plan import Plan
from core.training.stages import Stage, train_stages


def sample(size=2):
    random = generator(3)
    z = torch.randn(size, 2, 3, 6, 10, generator=random)  # no whole cells
    told = Conditioning(tokens=torch.randn(size, 3, 12, generator=random))
    return z, told, torch.rand(size, 1, 3, 6, 10, generator=random)


def answered(network, z, cond):
    with torch.no_grad():
        return network.eval()(z, torch.full((len(z),), 0.5), None, cond)


def learned(tiny, folder, steps=3):
    """A base, and the same with a branch that learned something."""

    def batch(size, random):
        told = Conditioning(tokens=torch.randn(size, 3, 12, generator=random))
        x = torch.randn(size, 2, 2, 4, 8, generator=random)
        return x, replace(told, control=x[:, :1])

    network = with_control(tiny(), 1, seed=1)
    plan = Plan(steps=steps, batch_size=2, warmup=1, learning_rate=0.01)
    return train_stages(network, batch, [Stage("control", FlowMatching(), plan)], folder)[0]


def test_a_new_branch_changes_nothing_bit_for_bit(tiny):
    z, cond, control = sample()
    expected = answered(tiny(), z, cond)
    network = with_control(tiny(), 1, seed=0)
    assert torch.equal(answered(network, z, cond), expected)
    assert torch.equal(answered(network, z, replace(cond, control=control)), expected)


def test_the_branch_alone_is_learned_and_answers_only_where_a_control_is(tiny, tmp_path):
    base, network = tiny(), learned(tiny, tmp_path)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith("control.") for name in trained)
    for name, weights in base.named_parameters():
        assert torch.equal(weights, network.get_parameter(name)), name
    z, cond, control = sample()
    expected = answered(base, z, cond)
    assert torch.equal(answered(network, z, cond), expected)
    seen = answered(network, z, replace(cond, control=control))
    assert not torch.allclose(seen, expected, atol=1e-5)
    other = answered(network, z, replace(cond, control=1 - control))
    assert not torch.allclose(seen, other, atol=1e-5)
    network.control.scale = 0.0
    assert torch.equal(answered(network, z, replace(cond, control=control)), expected)


def test_every_weight_of_the_branch_is_reached(tiny):
    network = with_control(tiny(), 1, seed=0)
    for out in network.control.outs:
        torch.nn.init.ones_(out.weight)
    for name, weights in network.named_parameters():
        if "to_out" in name or "fall" in name or "head" in name:  # zero in a new network
            torch.nn.init.normal_(weights)
    z, cond, control = sample()
    network(z, torch.full((2,), 0.5), None, replace(cond, control=control)).sum().backward()
    for name, weights in network.control.named_parameters():
        assert weights.grad is not None, name


def test_a_control_of_another_size_is_refused_before_work(tiny):
    network = with_control(tiny(), 1, seed=0)
    z, cond, control = sample()
    wrong = replace(cond, control=control[..., :8])
    with pytest.raises(Refusal, match=r"1 x 3 x 6 x 8 beside .* 3 x 6 x 10: .*1 x 3 x 6 x 10"):
        answered(network, z, wrong)
    with pytest.raises(Refusal, match=r"has 1 channels"):
        answered(network, z, replace(cond, control=control.expand(-1, 2, -1, -1, -1)))
    with pytest.raises(Refusal, match=r"network without a branch.*leave it out"):
        answered(tiny(), z, replace(cond, control=control))


def test_a_control_is_cut_with_its_window_and_stays_without_a_prompt():
    _, cond, control = sample()
    cond = replace(cond, control=control)
    window = (slice(0, 2), slice(1, 4), slice(2, 9))
    cut = cond.crop(window).control
    assert cut is not None
    assert torch.equal(cut, control[:, :, :2, 1:4, 2:9])
    assert cond.null().control is control


@pytest.fixture
def kept(tiny, tmp_path):
    """A model folder and the control that was learned beside it."""
    record = {"name": "base", "kind": "video"}
    folder = save_model(tmp_path / "base", tiny(), record, dtype=torch.float32)
    network = learned(tiny, tmp_path / "run")
    network.control.to(torch.bfloat16).float()
    said = load_model(folder)[1]
    (found,) = controls.files_of(network.control, shows="edges", base="base", record=said).items()
    (tmp_path / found[0]).write_bytes(found[1])
    return folder, network, tmp_path / found[0]


def test_a_kept_control_answers_as_it_was_learned(kept):
    folder, network, path = kept
    control = controls.Control.of(path)
    assert (control.channels, control.shows, control.base_name) == (1, "edges", "base")
    controls.check(control, folder)
    again, _ = load_model(folder, dtype=torch.float32)
    controls.take(again, control)
    z, cond, shown = sample()
    cond = replace(cond, control=shown)
    rounded = ControlBranch(network, 1)
    rounded.load_state_dict(
        {k: v.to(torch.bfloat16) for k, v in network.control.state_dict().items()}
    )
    network.control = rounded
    assert torch.equal(answered(again, z, cond), answered(network, z, cond))
    half = controls.Control.of(path, 0.5)
    assert half.told()["control"]["scale"] == 0.5
    controls.take(again, half)
    assert not torch.equal(answered(again, z, cond), answered(network, z, cond))


def test_controls_that_do_not_fit_are_refused(kept, tiny, tmp_path):
    folder, _, path = kept
    other = save_model(tmp_path / "other", tiny(seed=5), {"name": "other", "kind": "video"})
    control = controls.Control.of(path)
    with pytest.raises(Refusal, match=r"learned beside base .* not other: .* name that model"):
        controls.check(control, other)
    with pytest.raises(Refusal, match=r"differs from the network in .*: .* name base"):
        controls.take(tiny(block_out_channels=(16, 48)), control)
    with pytest.raises(Refusal, match=r"for a SpatioTemporalDiT: .*name a model"):
        controls.take(SpatioTemporalDiT(width=16, layers=1, head_dim=8), control)
    with pytest.raises(Refusal, match=r"no such file"):
        controls.Control.of(tmp_path / "none.safetensors")
    with pytest.raises(Refusal, match=r"says nothing of a control"):
        controls.Control.of(folder / "weights.safetensors")
    with pytest.raises(Refusal, match=r"scale nan"):
        controls.Control.of(path, float("nan"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(Refusal, match=r"cannot be read|not what it was"):
        controls.take(tiny(), control)
