"""Samplers that add noise, on data solved by hand and against those of diffusers."""

import pytest
import torch

from core.families import ddpm, score_sde
from core.sampling.diffusers_bridge import sample_with
from core.sampling.likelihood import log_likelihood
from core.sampling.path import vp_level
from core.sampling.samplers import euler
from core.sampling.schedules import karras, linear
from core.sampling.stochastic import STOCHASTIC, ancestral, churned, multistep
from core.seeds import generator

LEVELS = {
    "ancestral": ddpm.levels(1000, highest=1.0),
    "churned": karras(128),
    "predictor_corrector": score_sde.levels(400, sde="ve"),
    "multistep": linear(8),
}


def ends(gaussian):
    """An exact consistency function as a ``Denoise``."""
    return lambda z, t, r: gaussian.at(z, t, torch.zeros_like(t))


@pytest.mark.parametrize("name", STOCHASTIC)
def test_mean_and_spread_are_those_of_the_data(name, gaussian):
    z = torch.randn(1, 1, 16, 32, 32, dtype=torch.float64, generator=generator(0))
    denoise = ends(gaussian) if name == "multistep" else gaussian.denoise
    more = {"inflation": 1.0} if name == "churned" else {}  # it is there to widen
    x = STOCHASTIC[name].walk(denoise, z, LEVELS[name], generator=generator(1), **more)
    assert float(x.mean()) == pytest.approx(gaussian.mean, rel=0.02)
    assert float(x.std()) == pytest.approx(gaussian.spread, rel=0.02)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_evaluations_are_as_the_table_says_and_noise_follows_from_its_generator(name, gaussian):
    z = torch.randn(1, 1, 2, 4, 4, generator=generator(0))
    asked = []

    def counted(z, t, r):
        asked.append(float(t))
        return gaussian.denoise(z, t, r)

    levels = linear(6) * 0.95
    sampler = STOCHASTIC[name]
    first = sampler.walk(counted, z, levels, generator=generator(3))
    whole = (len(levels) - 1) * sampler.evaluations
    assert len(asked) in {whole, whole - sampler.evaluations + 1}
    torch.manual_seed(5)
    assert torch.equal(first, sampler.walk(counted, z, levels, generator=generator(3)))
    assert not torch.equal(first, sampler.walk(counted, z, levels, generator=generator(4)))


def test_ddim_without_noise_is_euler_on_the_same_grid(gaussian, noise_field):
    levels = ddpm.levels(12)
    ours = ancestral(gaussian.denoise, noise_field, levels, generator=generator(0), eta=0.0)
    assert torch.allclose(ours, euler(gaussian.denoise, noise_field, levels), atol=1e-6)


def test_churning_nothing_is_heun(gaussian, noise_field):
    from core.sampling.samplers import heun

    ours = churned(gaussian.denoise, noise_field, karras(9), generator=generator(0), churn=0.0)
    assert torch.allclose(ours, heun(gaussian.denoise, noise_field, karras(9)), atol=1e-12)


def test_one_consistent_jump_needs_no_noise(gaussian, noise_field):
    x = multistep(ends(gaussian), noise_field, linear(1), generator=generator(0))
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    assert torch.allclose(x, gaussian.at(noise_field, one, zero))


def on_their_grid(scheduler, x):
    """Their times as our levels, and their start as ours."""
    level = vp_level(scheduler.alphas_cumprod[scheduler.timesteps].double())
    start = x / (level.alpha + level.sigma)[0].to(x)
    return torch.cat([level.t, level.t.new_zeros(1)]), start


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ancestral_steps_are_those_of_ddim_in_diffusers(eta, gaussian):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    x = torch.randn(1, 1, 4, 8, 8, generator=generator(0))
    theirs = sample_with(scheduler, gaussian.denoise, x, 10, generator=generator(1), eta=eta)
    scheduler.set_timesteps(10)
    levels, start = on_their_grid(scheduler, x)
    if eta:  # DDIM of diffusers draws noise at its last step too, of size 0
        assert scheduler.config["set_alpha_to_one"]
    ours = ancestral(gaussian.denoise, start, levels, generator=generator(1), eta=eta)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_ancestral_steps_are_those_of_ddpm_in_diffusers(gaussian):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(clip_sample=False, timestep_spacing="trailing")
    x = torch.randn(1, 1, 4, 8, 8, generator=generator(0))
    theirs = sample_with(scheduler, gaussian.denoise, x, 20, generator=generator(1))
    scheduler.set_timesteps(20)
    levels, start = on_their_grid(scheduler, x)
    ours = ancestral(gaussian.denoise, start, levels, generator=generator(1))
    estimate_at_last = (ours - theirs).abs().max()
    assert float(estimate_at_last) < 2e-2  # their last step lands on time 0, which adds noise
    assert torch.allclose(ours.std(), theirs.std(), rtol=0.01)


def test_the_reverse_sde_does_not_begin_where_sigma_is_infinite(gaussian, noise_field):
    walk = STOCHASTIC["predictor_corrector"].walk
    with pytest.raises(ValueError, match=r"score_sde.levels"):
        walk(gaussian.denoise, noise_field, linear(4), generator=generator(0))


def closed_form(gaussian, x):
    return torch.distributions.Normal(gaussian.mean, gaussian.spread).log_prob(x).flatten(1).sum(1)


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_likelihood_is_within_one_percent_of_the_truth(spread, gaussian):
    gaussian = type(gaussian)(spread=spread)
    x = gaussian.mean + gaussian.spread * torch.randn(
        4, 1, 4, 8, 8, dtype=torch.float64, generator=generator(0)
    )
    levels = torch.cat([torch.linspace(1, 1e-3, 60, dtype=torch.float64), torch.zeros(1)])
    found = log_likelihood(gaussian.denoise, x, levels, generator=generator(1))
    truth = closed_form(gaussian, x)
    assert ((found - truth).abs() < 0.01 * truth.abs()).all()


def test_likelihood_falls_where_noise_is_added(gaussian):
    x = gaussian.mean + gaussian.spread * torch.randn(
        4, 1, 4, 8, 8, dtype=torch.float64, generator=generator(0)
    )
    levels = torch.cat([torch.linspace(1, 1e-3, 30, dtype=torch.float64), torch.zeros(1)])
    noisy = x + 0.3 * torch.randn(x.shape, dtype=torch.float64, generator=generator(2))
    plain, worse = (
        log_likelihood(gaussian.denoise, each, levels, generator=generator(1))
        for each in (x, noisy)
    )
    assert (worse < plain).all()


def test_likelihood_walks_the_whole_way_or_not_at_all(gaussian, noise_field):
    with pytest.raises(ValueError, match="exactly 1 to exactly 0"):
        log_likelihood(gaussian.denoise, noise_field, linear(4) * 0.9, generator=generator(0))
