"""An adapter for a reference: nothing at first, nothing without one, and learned alone."""

from dataclasses import replace

import pytest
import torch

from core.conditioning import Conditioning
from core.families.flow import FlowMatching
from core.families.table import denoiser
from core.models import controls
from core.models.checkpoints import load_model, save_model
from core.networks.reference import ReferenceAdapter, with_reference
from core.refusal import Refusal
from core.seeds import generator
from core.training.plan import Plan
from core.training.stages import Stage, train_stages

SIZE = (1, 16, 16)


def sample(size=2):
    random = generator(3)
    z = torch.randn(size, 2, 3, 6, 10, generator=random)  # no whole cells
    told = Conditioning(tokens=torch.randn(size, 3, 12, generator=random))
    return z, told, torch.rand(size, 3, *SIZE, generator=random)


def answered(network, z, cond):
    with torch.no_grad():
        return network.eval()(z, torch.full((len(z),), 0.5), None, cond)


def learned(tiny, folder, steps=3, **changes):
    """A base, and the same with an adapter that learned something."""

    def batch(size, random):
        told = Conditioning(reference=torch.randn(size, 3, *SIZE, generator=random))
        if not changes:
            told = replace(told, tokens=torch.randn(size, 3, 12, generator=random))
        return torch.randn(size, 2, 2, 4, 8, generator=random), told

    network = with_reference(tiny(**changes), 3, SIZE, seed=1)
    plan = Plan(steps=steps, batch_size=2, warmup=1, learning_rate=0.01)
    return train_stages(network, batch, [Stage("reference", FlowMatching(), plan)], folder)[0]


def test_a_new_adapter_changes_nothing_bit_for_bit(tiny):
    z, cond, reference = sample()
    expected = answered(tiny(), z, cond)
    network = with_reference(tiny(), 3, SIZE, seed=0)
    assert torch.equal(answered(network, z, cond), expected)
    assert torch.equal(answered(network, z, replace(cond, reference=reference)), expected)


@pytest.mark.parametrize("changes", [{}, {"text_channels": 0}], ids=["text", "no text"])
def test_the_adapter_alone_is_learned_and_answers_only_where_a_reference_is(
    tiny, tmp_path, changes
):
    base, network = tiny(**changes), learned(tiny, tmp_path, **changes)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith("reference.") for name in trained)
    for name, weights in base.named_parameters():
        assert torch.equal(weights, network.get_parameter(name)), name
    z, cond, reference = sample()
    cond = Conditioning() if changes else cond
    expected = answered(base, z, cond)
    assert torch.equal(answered(network, z, cond), expected)
    with torch.no_grad():
        for stage in network.reference.stages:  # a new base answers with nothing to be seen
            stage.attention.to_out[0].weight.normal_(0, 1, generator=generator(5))
        base.head.mix.weight.normal_(0, 1, generator=generator(6))
        network.head.mix.weight.copy_(base.head.mix.weight)
    expected = answered(base, z, cond)
    seen = answered(network, z, replace(cond, reference=reference))
    assert not torch.allclose(seen, expected, atol=1e-5)
    assert not torch.allclose(
        seen, answered(network, z, replace(cond, reference=-reference)), atol=1e-5
    )
    half = replace(cond, reference=reference * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1, 1))
    found = answered(network, z, half)
    assert torch.equal(found[1], expected[1])  # a row of zeros shows nothing
    assert torch.allclose(found[0], seen[0], atol=1e-6)
    network.reference.scale = 0.0
    assert torch.equal(answered(network, z, replace(cond, reference=reference)), expected)


def test_every_weight_of_the_adapter_is_reached(tiny):
    network = with_reference(tiny(), 3, SIZE, seed=0)
    for name, weights in network.named_parameters():
        if "to_out" in name or "fall" in name or "head" in name:  # zero in a new network
            torch.nn.init.normal_(weights)
    z, cond, reference = sample()
    network(z, torch.full((2,), 0.5), None, replace(cond, reference=reference)).sum().backward()
    for name, weights in network.reference.named_parameters():
        assert weights.grad is not None, name
        assert weights.grad.any(), name


def test_a_reference_is_read_once_for_all_steps(tiny, monkeypatch):
    network = with_reference(tiny(), 3, SIZE, seed=0).eval()
    z, cond, reference = sample()
    read, forward = [], ReferenceAdapter.forward
    monkeypatch.setattr(
        ReferenceAdapter, "forward", lambda self, x: read.append(1) or forward(self, x)
    )
    denoise = denoiser(network, replace(cond, reference=reference))
    for level in (0.9, 0.5):
        denoise(z, torch.full((2,), level), torch.full((2,), 0.0))
    assert len(read) == 1


def test_a_reference_of_another_size_is_refused_before_work(tiny):
    network = with_reference(tiny(), 3, SIZE, seed=0)
    z, cond, reference = sample()
    with pytest.raises(Refusal, match=r"of 3 x 1 x 16 x 8: .*3 x 1 x 16 x 16; scale it"):
        answered(network, z, replace(cond, reference=reference[..., :8]))
    with pytest.raises(Refusal, match=r"network without an adapter.*leave it out"):
        answered(tiny(), z, replace(cond, reference=reference))


def test_guidance_pushes_away_from_what_the_reference_shows():
    _, cond, reference = sample()
    cond = replace(cond, reference=reference)
    assert cond.null().reference is None
    told = cond.told(torch.tensor([True, False])).reference
    assert told is not None
    assert torch.equal(told[0], reference[0])
    assert not told[1].any()
    window = slice(0, 2), slice(1, 4), slice(2, 9)
    assert cond.crop(window).reference is reference  # it is no part of the sample


@pytest.fixture
def kept(tiny, tmp_path):
    """A model folder and the adapter that was learned beside it."""
    record = {"name": "base", "kind": "video"}
    folder = save_model(tmp_path / "base", tiny(), record, dtype=torch.float32)
    network = learned(tiny, tmp_path / "run")
    network.reference.to(torch.bfloat16).float()
    found = controls.taken_off(network)
    assert found is not None
    branch, part = found
    assert network.reference is None
    said = load_model(folder)[1]
    ((name, data),) = controls.files_of(
        branch, shows="reference", base="base", record=said, part=part
    ).items()
    (tmp_path / name).write_bytes(data)
    return folder, branch, tmp_path / name


def test_an_adapter_is_kept_and_taken_again(kept):
    folder, branch, path = kept
    control = controls.Control.of(path, 0.5)
    assert (control.shows, control.size, control.channels) == ("reference", SIZE, 3)
    controls.check(control, folder)
    network, _ = load_model(folder, dtype=torch.float32)
    controls.take(network, control)
    assert network.reference.scale == 0.5
    for name, weights in branch.state_dict().items():
        assert torch.equal(weights, network.reference.state_dict()[name]), name


def test_an_adapter_of_another_model_is_refused(kept, tiny, tmp_path):
    _, _, path = kept
    record = {"name": "other", "kind": "video"}
    other = save_model(tmp_path / "other", tiny(seed=1), record, dtype=torch.float32)
    control = controls.Control.of(path)
    with pytest.raises(Refusal, match=r"learned beside base .*not other"):
        controls.check(control, other)
    with pytest.raises(Refusal, match=r"differs from the network in"):
        controls.take(tiny(block_out_channels=(16, 48)), control)
