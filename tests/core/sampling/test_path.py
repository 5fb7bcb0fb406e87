"""Every convention is the same statement in other words, to rounding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.families.table import denoiser
from core.sampling.path import (
    denoised_from_epsilon,
    denoised_from_score,
    denoised_from_vp_velocity,
    diffuse,
    edm_denoiser,
    epsilon_from_denoised,
    from_linear,
    score_from_denoised,
    to_linear,
    ve_level,
    velocity_from_denoised,
    vp_level,
    vp_velocity_from_denoised,
)

LEVEL = st.floats(0.01, 0.99)
NUMBER = st.floats(-3, 3)


def volume(*values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1, 1)


def number(value):
    return torch.tensor([value], dtype=torch.float64)


def near(a, b):
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9)


@given(x=NUMBER, e=NUMBER, t=LEVEL)
def test_from_the_truth_every_prediction_is_the_truth(x, e, t):
    x, e, t = volume(x), volume(e), number(t)
    z = diffuse(x, e, t)
    assert near(velocity_from_denoised(z, x, t), e - x)
    assert near(epsilon_from_denoised(z, x, t), e)
    assert near(denoised_from_epsilon(z, e, t), x)


@given(z=NUMBER, denoised=NUMBER, alpha_bar=LEVEL)
def test_variance_preserving_round_trips(z, denoised, alpha_bar):
    z, denoised, level = volume(z), volume(denoised), vp_level(number(alpha_bar))
    assert near(level.alpha**2 + level.sigma**2, number(1.0))
    assert near(to_linear(from_linear(z, level), level), z)
    v = vp_velocity_from_denoised(z, denoised, level)
    assert near(denoised_from_vp_velocity(z, v, level), denoised)
    score = score_from_denoised(z, denoised, level)
    assert near(denoised_from_score(z, score, level), denoised)


@given(x=NUMBER, e=NUMBER, sigma=st.floats(0.002, 80))
def test_variance_exploding_samples_are_the_same_sample(x, e, sigma):
    level = ve_level(number(sigma))
    z = to_linear(volume(x) + sigma * volume(e), level)
    assert near(z, diffuse(volume(x), volume(e), level.t))
    assert near(denoised_from_score(z, -volume(e) / sigma, level), volume(x))


def test_edm_denoiser_is_the_closed_form(gaussian, noise_field):
    """Karras et al. 2022: D(x; sigma) = m + s^2 / (s^2 + sigma^2) (x - m)."""
    sigma = torch.tensor([0.05, 3.0], dtype=torch.float64)
    gain = (gaussian.spread**2 / (gaussian.spread**2 + sigma**2)).view(-1, 1, 1, 1, 1)
    answer = edm_denoiser(gaussian.denoise)(noise_field, sigma)
    assert near(answer, gaussian.mean + gain * (noise_field - gaussian.mean))


def test_score_is_the_gradient_of_the_log_density(gaussian, noise_field):
    """For x_tau ~ N(alpha m, alpha^2 s^2 + sigma^2)."""
    level = vp_level(torch.tensor([0.1, 0.9], dtype=torch.float64))
    alpha, sigma = (part.view(-1, 1, 1, 1, 1) for part in level)
    x_tau = noise_field
    z = to_linear(x_tau, level)
    score = score_from_denoised(z, gaussian.posterior(z, level.t), level)
    variance = alpha**2 * gaussian.spread**2 + sigma**2
    assert near(score, -(x_tau - alpha * gaussian.mean) / variance)


def test_diffusing_meets_both_ends(noise_field):
    x = torch.ones_like(noise_field)
    assert torch.equal(diffuse(x, noise_field, torch.zeros(2)), x)
    assert torch.equal(diffuse(x, noise_field, torch.ones(2)), noise_field)


def test_noise_predictions_are_refused_at_pure_noise():
    z = volume(0.3)
    with pytest.raises(ValueError, match=r"t=1\.0000: .* start .* t <= 0\.999"):
        denoised_from_epsilon(z, z, number(1.0))


@pytest.mark.parametrize("objective", ["average_velocity", "flow_matching"])
def test_denoiser_is_the_line_along_the_network(tiny, objective):
    """Only a network trained on average velocities is told where the step lands."""
    network = tiny(trained_objective=objective)
    z = torch.randn(2, 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    t, r = torch.tensor([0.8, 0.4]), torch.tensor([0.1, 0.0])
    landing = r if objective == "average_velocity" else t
    expected = z - t.view(-1, 1, 1, 1, 1) * network(z, t, landing)
    assert torch.equal(denoiser(network)(z, t, r), expected)


def test_denoiser_keeps_the_walk_in_float32_when_the_network_is_not(tiny):
    z = torch.randn(1, 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    denoise = denoiser(tiny().to(torch.bfloat16))
    assert denoise(z, torch.tensor(0.5), torch.tensor(0.5)).dtype is torch.float32
