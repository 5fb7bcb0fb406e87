"""Jumps are learned from where a frozen network's own small steps lead."""

import pytest
import torch

from core.conditioning import Conditioning
from core.families import distillation
from core.families.distillation import Distillation
from core.families.family import Draw
from core.families.flow import FlowMatching
from core.networks.unet import SpatioTemporalUNet
from core.sampling.schedules import shifted
from core.seeds import generator
from core.tensors import align
from core.training.plan import Plan
from core.training.stages import Stage, train_stages

X = torch.zeros(400, 1, 1, 1, 1)


@pytest.fixture
def lesson(tiny, monkeypatch):
    """A lesson whose teacher has a known velocity: ``rate * z``, and 5 more with a prompt."""

    def make(rate, **settings):
        def denoiser(network, cond):
            assert cond.guidance is None

            def denoise(z, t, r):
                assert torch.equal(t, r)
                velocity = rate * z + (0.0 if cond.tokens is None else 5.0)
                return z - align(t, z) * velocity

            return denoise

        monkeypatch.setattr(distillation, "denoiser", denoiser)
        return Distillation(**settings).taught_by(tiny())

    return make


def test_jumps_are_those_of_a_sampler():
    drawn = Distillation(steps=(2, 4), shift=8.0).draw(X, generator(0))
    jumps = {
        (round(float(t), 5), round(float(r), 5))
        for steps in (2, 4)
        for t, r in zip(shifted(steps, shift=8.0), shifted(steps, shift=8.0)[1:], strict=False)
    }
    pairs = zip(drawn.t.tolist(), drawn.r.tolist(), strict=True)
    assert {(round(t, 5), round(r, 5)) for t, r in pairs} == jumps
    assert drawn.guidance is None


def test_guidance_scales_are_log_uniform():
    scale = Distillation(guidance_max=4.0).draw(X, generator(0)).guidance
    assert scale is not None
    assert 1 <= scale.min() < 1.05
    assert 3.8 < scale.max() <= 4
    assert scale.log().mean() == pytest.approx(0.5 * torch.tensor(4.0).log().item(), abs=0.1)


@pytest.mark.parametrize("substeps", [1, 2, 5])
def test_the_teacher_walks_in_even_steps_of_the_schedule(substeps, lesson):
    made = lesson(0.7, steps=(4,), substeps=substeps, shift=8.0)
    drawn = made.draw(X[:6], generator(1))
    whole, part = shifted(4, shift=8.0), shifted(4 * substeps, shift=8.0)

    def expected(z, t, r, cond):
        ends = []
        for one, start in zip(z, t, strict=True):
            place = int((whole - start).abs().argmin()) * substeps
            for a, b in zip(part[place:], part[place + 1 : place + substeps + 1], strict=False):
                one = one + float(b - a) * 0.7 * one  # noqa: PLW2901
            ends.append(one)
        return (z - torch.stack(ends)) / (t - r).reshape(-1, 1, 1, 1, 1)

    _, errors = made.loss(expected, X[:6], Conditioning(), drawn)
    assert errors.max() < 1e-10


def test_guidance_is_taken_inside(lesson):
    made = lesson(0.0, guidance_max=4.0)
    cond = Conditioning(tokens=torch.zeros(6, 1, 1))
    drawn = made.draw(X[:6], generator(2))

    def guided(z, t, r, cond):
        return 5.0 * cond.guidance.reshape(-1, 1, 1, 1, 1).expand_as(z)

    _, errors = made.loss(guided, X[:6], cond, drawn)
    assert errors.max() < 1e-8
    _, errors = made.loss(lambda z, t, r, cond: torch.full_like(z, 5.0), X[:6], cond, drawn)
    assert errors.max() > 1


def test_nobody_teaches_before_a_stage_begins():
    made = Distillation()
    with pytest.raises(AssertionError, match="taught_by"):
        made.loss(lambda *_: X, X, Conditioning(), made.draw(X, generator(0)))


def test_the_teacher_is_frozen_and_apart(tiny):
    network = tiny()
    teacher = Distillation().taught_by(network).teacher
    assert teacher is not None
    assert not any(weights.requires_grad for weights in teacher.parameters())
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
    assert any(weights.abs().sum() > 0 for weights in teacher.parameters())


def test_a_stage_of_jumps_comes_nearer_to_its_teacher(tiny, tmp_path):
    def make_batch(size, random):
        wave = torch.linspace(-1, 1, 8).reshape(1, 1, 1, 1, 8)
        sign = torch.randint(2, (size, 1, 1, 1, 1), generator=random) * 2.0 - 1
        return (sign * wave).expand(size, 2, 2, 4, 8).contiguous(), Conditioning()

    network: SpatioTemporalUNet = tiny()
    plan = {"batch_size": 8, "warmup": 5, "ema_decay": 0.9}
    jumps = Distillation(steps=(1,), substeps=4)
    stages = [
        Stage("flow", FlowMatching(power=0.0), Plan(steps=60, learning_rate=2e-3, **plan)),
        Stage("jumps", jumps, Plan(steps=60, learning_rate=5e-4, **plan)),
    ]
    errors = []

    def watch(stage, progress):
        if stage == "jumps":
            errors.append(progress.error)

    trained, finished = train_stages(network, make_batch, stages, tmp_path, on_progress=watch)
    assert finished
    assert trained.config["trained_objective"] == "average_velocity"
    assert sum(errors[-10:]) < 0.7 * sum(errors[:10])


def test_jumps_of_a_flow_that_has_gone_on_are_refused(tiny, tmp_path):
    def make_batch(size, random):
        return torch.zeros(size, 2, 2, 4, 8), Conditioning()

    def train(steps):
        plan = {"batch_size": 2, "warmup": 1}
        stages = [
            Stage("flow", FlowMatching(), Plan(steps=steps, **plan)),
            Stage("jumps", Distillation(steps=(1,), substeps=1), Plan(steps=1, **plan)),
        ]
        return train_stages(tiny(), make_batch, stages, tmp_path)

    assert train(1)[1]
    assert train(1)[1]
    with pytest.raises(ValueError, match="was at step 1, which has since gone on to 2"):
        train(2)


def test_a_draw_follows_from_its_generator_alone():
    made = Distillation(guidance_max=2.0)
    first, again = (made.draw(X[:5], generator(7)) for _ in range(2))
    assert isinstance(first, Draw)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.t, again.t)
    assert torch.equal(first.r, again.r)
