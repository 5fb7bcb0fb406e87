"""Each sampler must converge at its order on Gaussian data, where the answer is known."""

import pytest
import torch

from core.sampling.samplers import SAMPLERS, flow_map
from core.sampling.schedules import linear, shifted

ZERO = torch.tensor(0.0, dtype=torch.float64)


def instantaneous(gaussian):
    """A network that knows velocities only: its answer does not depend on r."""
    return lambda z, t, r: gaussian.denoise(z, t, t)


def smooth(steps):
    """Levels that crowd at both ends, so that no single step rules the error."""
    return (torch.pi / 2 * linear(steps)).sin() ** 2


@pytest.mark.parametrize("name", SAMPLERS)
def test_error_falls_at_the_declared_order(name, gaussian, noise_field):
    sampler = SAMPLERS[name]
    end = gaussian.at(noise_field, ZERO + 1, ZERO)
    denoise = instantaneous(gaussian)
    coarse, fine = (
        (sampler.walk(denoise, noise_field, smooth(n)) - end).abs().max() for n in (64, 128)
    )
    assert torch.log2(coarse / fine) == pytest.approx(sampler.order, abs=0.25)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_spread_of_the_data_comes_back(name, gaussian, noise_field):
    """What few-step sampling loses first; 0.250 is right."""
    x = SAMPLERS[name].walk(instantaneous(gaussian), noise_field, linear(100))
    assert x.std() / noise_field.std() == pytest.approx(gaussian.spread, abs=0.006)
    assert (x - gaussian.spread * noise_field).mean() == pytest.approx(gaussian.mean, abs=0.006)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_flow_map_is_exact_with_exact_average_velocities(gaussian, noise_field, steps):
    end = gaussian.at(noise_field, ZERO + 1, ZERO)
    x = flow_map(gaussian.denoise, noise_field, shifted(steps))
    assert torch.allclose(x, end, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_evaluations_per_step_are_as_declared(name, gaussian, noise_field):
    asked, seen = [], []

    def counted(z, t, r):
        asked.append((float(t), float(r)))
        return gaussian.denoise(z, t, r)

    sampler = SAMPLERS[name]
    sampler.walk(counted, noise_field, linear(6), on_step=lambda *progress: seen.append(progress))
    free_at_the_end = sampler.evaluations - 1
    assert len(asked) == 6 * sampler.evaluations - free_at_the_end
    assert [(done, total) for done, total, _ in seen] == [(i, 6) for i in range(1, 7)]
    assert all(estimate.shape == noise_field.shape for *_, estimate in seen)
    assert all(t > 0 for t, _ in asked)  # the path is not divided by 0
    if name != "flow_map":
        assert all(t == r for t, r in asked)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    "levels",
    [[1.0, 0.5], [1.0, 0.5, 0.6, 0.0], [1.0, 0.5, 0.5, 0.0], [0.0], [1.5, 0.5, 0.0],
     [1.0, float("nan"), 0.0]],
    ids=str,
)  # fmt: skip
def test_levels_that_do_not_fall_to_zero_are_refused(name, levels, gaussian, noise_field):
    with pytest.raises(ValueError, match=r"levels=\[.*walks down .* to exactly 0; give falling"):
        SAMPLERS[name].walk(gaussian.denoise, noise_field, torch.tensor(levels))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_walk_may_begin_below_pure_noise(name, gaussian, noise_field):
    """Editing starts from a diffused sample; levels need not begin at 1."""
    levels = 0.6 * linear(200)
    start = gaussian.at(noise_field, ZERO + 1, ZERO + 0.6)
    end = gaussian.at(noise_field, ZERO + 1, ZERO)
    x = SAMPLERS[name].walk(instantaneous(gaussian), start, levels)
    assert torch.allclose(x, end, atol=0.01)


def test_the_input_is_left_as_it_was(gaussian, noise_field):
    before = noise_field.clone()
    for sampler in SAMPLERS.values():
        sampler.walk(gaussian.denoise, noise_field, linear(3))
    assert torch.equal(noise_field, before)
