"""The losses have their minimum where the theory says, and chance enters in one place only."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.conditioning import Conditioning
from core.families.average_velocity import AverageVelocity, total_derivative
from core.families.family import Draw
from core.families.flow import FlowMatching
from core.sampling.path import diffuse
from core.seeds import generator
from core.tensors import align

# torch.func.jvp imports decompositions that torch itself has deprecated.
JVP = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

GOLDEN = Path(__file__).with_name("golden") / "draw.json"
NOTHING = Conditioning()


def volumes(rows, *, seed=0, dtype=torch.float64):
    return torch.randn(rows, 1, 2, 3, 3, dtype=dtype, generator=generator(seed))


def relative(a, b):
    return float((a - b).norm() / b.norm())


MIXED = AverageVelocity(
    jump_share=0.5,
    level_mean=0.3,
    level_std=1.2,
    pure_noise_share=0.2,
    land_on_data_share=0.3,
    guidance_max=4.0,
)


def test_a_draw_follows_from_its_generator_alone():
    x = volumes(8, dtype=torch.float32)
    torch.manual_seed(1)
    first = MIXED.draw(x, generator(0, 5))
    torch.manual_seed(2)
    again = MIXED.draw(x + 1, generator(0, 5))
    other = MIXED.draw(x, generator(0, 6))
    for name in ("noise", "t", "r", "keep", "guidance"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.noise, other.noise)
    assert not torch.equal(first.t, other.t)


def test_draws_never_change_between_releases():
    """A run resumed by a later release must draw the same numbers."""
    drawn = MIXED.draw(torch.zeros(6, 1, 1, 1, 2), generator(0, 3, 0, 0))
    wanted = json.loads(GOLDEN.read_text())
    for name, values in wanted.items():
        assert getattr(drawn, name).flatten().tolist() == pytest.approx(values, abs=1e-6)


def test_levels_are_ordered_and_jumps_come_last():
    drawn = MIXED.draw(torch.zeros(4000, 1, 1, 1, 1), generator(0))
    assert (drawn.t >= drawn.r).all()
    assert (drawn.t[:2000] == drawn.r[:2000]).all()
    assert (drawn.t[2000:] > drawn.r[2000:]).float().mean() > 0.99
    assert drawn.t.min() > 0
    assert drawn.r.min() >= 0
    assert (drawn.t == 1).float().mean() == pytest.approx(0.2, abs=0.03)
    assert (drawn.r[2000:] == 0).float().mean() == pytest.approx(0.3, abs=0.03)


def test_logits_have_the_mean_and_spread_asked_for():
    drawn = FlowMatching(level_mean=-0.4, level_std=0.7).draw(torch.zeros(4000, 1, 1, 1, 1),
                 generator(0))  # fmt: skip
    assert torch.logit(drawn.t).mean() == pytest.approx(-0.4, abs=0.05)
    assert torch.logit(drawn.t).std() == pytest.approx(0.7, abs=0.05)
    assert torch.equal(drawn.t, drawn.r)
    assert drawn.guidance is None


def test_guidance_scales_are_log_uniform():
    scales = MIXED.draw(torch.zeros(4000, 1, 1, 1, 1), generator(0)).guidance
    assert scales.min() >= 1
    assert scales.max() <= 4
    assert (scales < 2).float().mean() == pytest.approx(0.5, abs=0.03)


def wave(z, t, r, cond):
    """A smooth function of everything, nonlinear in z, with neighbors mixed."""
    t, r = align(t, z), align(r, z)
    return torch.sin(1.3 * z + 2 * t) * torch.cos(z.roll(1, -1)) + t**2 * r + z.mean() * t


@JVP
@pytest.mark.parametrize(
    ("dtype", "step", "tolerance"), [(torch.float64, 1e-4, 1e-7), (torch.float32, 0.02, 2e-3)]
)
def test_the_finite_difference_is_the_derivative_along_the_flow(dtype, step, tolerance):
    z, velocity = volumes(3, dtype=dtype), volumes(3, seed=1, dtype=dtype)
    t, r = torch.tensor([0.9, 0.5, 0.6], dtype=dtype), torch.tensor([0.0, 0.2, 0.5], dtype=dtype)
    _, exact = torch.func.jvp(
        lambda z, t: wave(z, t, r, NOTHING), (z, t), (velocity, torch.ones_like(t))
    )
    found = total_derivative(wave, z, t, r, NOTHING, velocity=velocity, step=step)
    assert relative(found, exact) < tolerance


def test_the_finite_difference_of_the_network_is_its_derivative(tiny):
    network = tiny()
    z, velocity = torch.randn(2, 2, 2, 2, 4, 4, generator=generator(0))
    t, r = torch.tensor([0.8, 0.5]), torch.tensor([0.1, 0.2])
    _, exact = torch.autograd.functional.jvp(
        lambda z, t: network(z, t, r), (z, t), (velocity, torch.ones_like(t))
    )
    found = total_derivative(network, z, t, r, NOTHING, velocity=velocity, step=0.005)
    assert relative(found, exact) < 0.01


def test_the_probe_never_leaves_the_path():
    asked = []

    def watched(z, t, r, cond):
        asked.append((t, r))
        return wave(z, t, r, cond)

    z = volumes(3)
    t = torch.tensor([1.0, 0.5, 0.005], dtype=torch.float64)
    r = torch.tensor([0.9, 0.495, 0.0], dtype=torch.float64)
    total_derivative(watched, z, t, r, NOTHING, velocity=z, step=0.02)
    for probe_t, probe_r in asked:
        assert (probe_t <= 1).all()
        assert (probe_t >= probe_r).all()


def exact_network(gaussian):
    return lambda z, t, r, cond: gaussian.average_velocity(z, t, r)


def test_the_exact_average_velocity_has_no_residual(gaussian):
    """Geng et al. 2025: u + (t - r) du/dt is the velocity, everywhere, for the true u."""
    predict = exact_network(gaussian)
    z = volumes(4)
    t = torch.tensor([0.99, 0.7, 0.5, 0.3], dtype=torch.float64)
    r = torch.tensor([0.0, 0.2, 0.45, 0.01], dtype=torch.float64)
    velocity = predict(z, t, t, NOTHING)
    slope = total_derivative(predict, z, t, r, NOTHING, velocity=velocity, step=1e-4)
    compound = predict(z, t, r, NOTHING) + align(t - r, z) * slope
    assert torch.allclose(compound, velocity, atol=1e-6)


@pytest.mark.parametrize("jump_share", [0.0, 1.0])
def test_the_loss_is_stationary_at_the_exact_network(jump_share, gaussian):
    objective = AverageVelocity(jump_share=jump_share, power=0.0, finite_step=0.005)
    x = gaussian.mean + gaussian.spread * torch.randn(4000, 1, 1, 2, 2, generator=generator(0))
    drawn = objective.draw(x, generator(1))

    def slope_of_loss(value):
        scale = torch.tensor(value, requires_grad=True)

        def predict(z, t, r, cond):
            return scale * gaussian.average_velocity(z, t, r)

        total, _ = objective.loss(predict, x, NOTHING, drawn)
        return torch.autograd.grad(total, scale)[0]

    assert slope_of_loss(1.0).abs() < 0.05 * slope_of_loss(1.2).abs()
    assert slope_of_loss(0.8) < 0 < slope_of_loss(1.2)


def test_flow_matching_is_the_mean_squared_error_of_the_velocity():
    x = volumes(5, dtype=torch.float32)
    objective = FlowMatching(power=0.0)
    drawn = objective.draw(x, generator(1))
    total, errors = objective.loss(wave, x, NOTHING, drawn)
    z = diffuse(x, drawn.noise, drawn.t)
    expected = (wave(z, drawn.t, drawn.r, NOTHING) - (drawn.noise - x)).square()
    assert torch.allclose(errors, expected.flatten(1).mean(1))
    assert total == pytest.approx(float(expected.mean()), rel=1e-6)


def test_adaptive_weights_divide_by_a_power_of_the_error():
    x = volumes(5, dtype=torch.float32)
    drawn = FlowMatching().draw(x, generator(1))
    total, errors = FlowMatching(power=1.0).loss(wave, x, NOTHING, drawn)
    assert total == pytest.approx(float((errors / (errors + 1e-3)).mean()), rel=1e-6)


def sketched():
    """Five sketches beside `volumes(5)`: there is something in the left third of each."""
    inside = torch.zeros(5, 2, 2, 3, 3)
    inside[:, 0, :, :, 0] = 1.0
    return Conditioning(sketch=inside)


def test_focus_weighs_errors_where_a_sketch_shows_something():
    x = volumes(5, dtype=torch.float32)
    drawn = FlowMatching().draw(x, generator(1))
    _, plain = FlowMatching(power=0.0).loss(wave, x, NOTHING, drawn)
    total, errors = FlowMatching(power=0.0, focus=3.0).loss(wave, x, sketched(), drawn)
    z = diffuse(x, drawn.noise, drawn.t)
    squares = (wave(z, drawn.t, drawn.r, NOTHING) - (drawn.noise - x)).square()
    there, elsewhere = squares[..., :1].mean(), squares[..., 1:].mean()
    assert total == pytest.approx(float((4 * there + 2 * elsewhere) / 6), rel=1e-5)
    assert torch.equal(errors, plain)


@pytest.mark.parametrize("cond", [NOTHING, Conditioning(sketch=torch.zeros(5, 2, 2, 3, 3))])
def test_focus_changes_nothing_where_no_sketch_shows_anything(cond):
    x = volumes(5, dtype=torch.float32)
    drawn = FlowMatching().draw(x, generator(1))
    plain, _ = FlowMatching().loss(wave, x, NOTHING, drawn)
    focused, _ = FlowMatching(focus=3.0).loss(wave, x, cond, drawn)
    assert focused == pytest.approx(float(plain), rel=1e-6)


def test_no_gradient_flows_through_the_slope():
    """The loss must see u alone: its two probes run without a graph."""
    graphs = []

    def watched(z, t, r, cond):
        graphs.append(torch.is_grad_enabled())
        return wave(z, t, r, cond)

    x = volumes(4, dtype=torch.float32)
    drawn = replace(MIXED, guidance_max=1.0).draw(x, generator(1))
    MIXED.loss(watched, x, NOTHING, drawn)
    assert graphs == [True, False, False, False]


def test_guidance_trained_in_is_a_fixed_point():
    """A network that answers v_u + w (v_c - v_u) has no error left. Geng et al. 2025b, Eq. 19."""
    told, untold = 2.0, -1.0

    def predict(z, t, r, cond):
        prompted = cond.token_mask.any(dim=1).to(z)
        answer = untold + cond.guidance.to(z) * prompted * (told - untold)
        return align(answer, z).expand_as(z)

    noise = volumes(4, dtype=torch.float32)
    drawn = Draw(
        noise=noise,
        t=torch.tensor([1.0, 0.8, 0.6, 0.4]),
        r=torch.tensor([1.0, 0.8, 0.2, 0.0]),
        keep=torch.tensor([True, True, True, True]),
        guidance=torch.tensor([1.0, 2.5, 4.0, 3.0]),
    )
    cond = Conditioning(tokens=torch.ones(4, 3, 5))
    _, errors = MIXED.loss(predict, noise - told, cond, drawn)
    assert errors.max() < 1e-10
    dropped = replace(drawn, keep=torch.zeros(4, dtype=torch.bool))
    _, errors = MIXED.loss(predict, noise - untold, cond, dropped)
    assert errors.max() < 1e-10


def test_dropout_takes_the_prompt_and_nothing_else():
    seen = []

    def watched(z, t, r, cond):
        seen.append(cond)
        return wave(z, t, r, cond)

    x = volumes(4, dtype=torch.float32)
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
    cond = Conditioning(tokens=torch.ones(4, 2, 5), token_mask=mask, concat=x)
    drawn = replace(
        FlowMatching().draw(x, generator(0)), keep=torch.tensor([True, True, False, True])
    )
    FlowMatching().loss(watched, x, cond, drawn)
    assert seen[0].token_mask.tolist() == [[True, True], [True, False], [False] * 2, [True] * 2]
    assert seen[0].concat is x
    share = FlowMatching(dropout=0.3).draw(torch.zeros(4000, 1, 1, 1, 1), generator(0)).keep
    assert (~share).float().mean() == pytest.approx(0.3, abs=0.03)
