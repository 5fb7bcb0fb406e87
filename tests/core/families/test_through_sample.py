"""Families whose answer is computed from the sample that a last layer predicts."""

import pytest
import torch

from core.conditioning import Conditioning
from core.families import average_velocity, consistency, ddpm, edm, flow, score_sde
from core.families.distillation import Distillation
from core.families.table import FAMILIES, denoiser
from core.networks.conditioned import LEAST_LEVEL
from core.networks.unet import SpatioTemporalUNet
from core.sampling.path import diffuse
from core.seeds import generator
from core.tensors import align
from core.training.plan import Plan
from core.training.stages import Stage, taught, train_stages

ONE_LEVEL = {
    "ddpm": ddpm.DDPM(),
    "ddpm_v": ddpm.DDPMVelocity(),
    "score_sde": score_sde.ScoreSDE(),
    "edm": edm.EDM(),
}


def batch(size, random):
    told = Conditioning(tokens=torch.randn(size, 3, 12, generator=random))
    return torch.randn(size, 2, 2, 4, 8, generator=random), told


def trained(network, name, folder):
    plan = {"steps": 2, "batch_size": 2, "warmup": 1}
    return train_stages(network, batch, taught(name, list, **plan), folder)[0]


@pytest.mark.parametrize("name", ONE_LEVEL)
def test_a_right_sample_is_the_right_answer(name):
    lesson = ONE_LEVEL[name]
    x = torch.randn((3, 1, 4, 8, 8), dtype=torch.float64, generator=generator(1))
    e = torch.randn(x.shape, dtype=torch.float64, generator=generator(2))
    t = torch.tensor([0.06, 0.6, 1.0], dtype=torch.float64)
    z = diffuse(x, e, t)
    shown = lesson.shown(z, t)

    def said(sample):
        return (shown - sample) / align(t, z)

    target = lesson.target(x, e, t)
    torch.testing.assert_close(lesson.answered(z, shown, said(x), t), target)
    assert not torch.allclose(lesson.answered(z, shown, said(x + 1), t), target, atol=0.01)


@pytest.mark.parametrize("name", ONE_LEVEL)
def test_what_is_taught_through_the_sample_is_kept_and_read_so(name, tiny, tmp_path):
    network = trained(tiny(prediction="sample"), name, tmp_path / "run")
    network.save_pretrained(tmp_path / "kept")
    again = SpatioTemporalUNet.from_pretrained(tmp_path / "kept")
    z = torch.randn(2, 2, 2, 4, 8, generator=generator(0))
    for level in (0.01, 0.5, 0.99):
        t = torch.full((2,), level)
        with torch.no_grad():
            found = denoiser(again)(z, t, t)
            shown = ONE_LEVEL[name].shown(z, t)
            sample = shown - max(level, LEAST_LEVEL) * again(shown, t, t)
        share = min(1.0, level / LEAST_LEVEL)
        torch.testing.assert_close(found, z + share * (sample - z), atol=1e-4, rtol=1e-4)


def test_the_loss_is_that_of_the_sample_in_the_family_s_terms(tiny):
    """e - e_hat is (1 - t) / t times x_hat - x: what stood in for e before was not e."""
    network = tiny(prediction="sample")
    lesson = ddpm.DDPM().taught_by(network)
    x, cond = batch(4, generator(0))
    drawn = lesson.draw(x, generator(1))
    _, errors = lesson.loss(network, x, cond, drawn)
    z = diffuse(x, drawn.noise, drawn.t)
    u = network(z, drawn.t, drawn.t, cond.told(drawn.keep))
    off = align((1 - drawn.t) / drawn.t, x) * (z - align(drawn.t, z) * u - x)
    torch.testing.assert_close(errors, off.square().flatten(1).mean(1).detach())


def test_networks_of_before_are_read_as_before(tiny, tmp_path):
    old = tiny(prediction="sample", trained_objective="ddpm")
    z, t = torch.randn(2, 2, 2, 4, 8, generator=generator(0)), torch.full((2,), 0.5)
    with torch.no_grad():
        expected = (z - 0.5 * old(z, t, t)) / 0.5
        assert torch.equal(denoiser(old)(z, t, t), expected)
    on = trained(tiny(prediction="sample", trained_objective="ddpm"), "ddpm", tmp_path)
    assert not on.config.get("through_sample")
    plain = trained(tiny(), "ddpm", tmp_path / "velocity")
    assert "through_sample" not in plain.config


def test_a_flow_that_goes_on_by_another_family_is_told_what_it_knows(tiny, tmp_path):
    """Of a finished flow, the estimates are the same before the first step."""
    network = tiny(prediction="sample")
    z, t = torch.randn(2, 2, 2, 4, 8, generator=generator(0)), torch.full((2,), 0.5)
    with torch.no_grad():
        before = denoiser(network)(z, t, t)
        network.register_to_config(trained_objective="ddpm", through_sample=True)
        torch.testing.assert_close(denoiser(network)(z, t, t), before)
    back = trained(network, "flow_matching", tmp_path)
    assert back.config["through_sample"] is False


def test_a_run_begun_otherwise_is_not_gone_on_with(tiny, tmp_path):
    plan = Plan(steps=4, batch_size=2, warmup=1)

    def run(network, stop):
        stages = [Stage("ddpm", ddpm.DDPM(), plan)]
        return train_stages(network, batch, stages, tmp_path, should_stop=lambda: stop)

    own = tiny(prediction="sample", trained_objective="ddpm")
    assert not run(own, stop=True)[1]
    with pytest.raises(ValueError, match=r"through the sample \(was"):
        run(tiny(prediction="sample"), stop=False)


LESSONS = {
    **{name: entry.teach for name, entry in FAMILIES.items()},
    "jumps, guided": lambda: average_velocity.AverageVelocity(guidance_max=3.0),
    "jumps, few": lambda: average_velocity.AverageVelocity(jump_share=0.25),
    "consistency, later": lambda: consistency.Consistency(gap=0.5),
    "flow": flow.FlowMatching,
    "distilled": lambda: Distillation(substeps=2),
    "distilled, guided": lambda: Distillation(substeps=2, guidance_max=3.0),
}


@pytest.mark.parametrize("name", LESSONS)
def test_cost_is_what_is_asked_of_the_network(name, tiny, monkeypatch):
    """A row forward counts a third, and with its gradient one."""
    network = tiny()
    work = [0.0]
    forward = SpatioTemporalUNet.forward

    def counted(self, z, *args, **kwargs):
        work[0] += len(z) * (1 if torch.is_grad_enabled() else 1 / 3)
        return forward(self, z, *args, **kwargs)

    monkeypatch.setattr(SpatioTemporalUNet, "forward", counted)
    lesson = LESSONS[name]().taught_by(network)
    x, cond = batch(8, generator(0))
    lesson.loss(network, x, cond, lesson.draw(x, generator(1)))
    assert work[0] / len(x) == pytest.approx(lesson.cost)
