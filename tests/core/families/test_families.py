"""Every family against data whose answers are known: what is taught is what is read."""

import pytest
import torch

from core.conditioning import Conditioning
from core.families import consistency, ddpm, edm, score_sde
from core.families.table import FAMILIES, denoiser, family_of
from core.networks.unet import SpatioTemporalUNet
from core.sampling.path import diffuse, epsilon_from_denoised
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import linear
from core.sampling.stochastic import STOCHASTIC
from core.seeds import generator
from core.tensors import align
from core.training.plan import Plan
from core.training.stages import Stage, train_stages

NOTHING = Conditioning()
ONE_LEVEL = {
    "ddpm, cosine": ddpm.DDPM(),
    "ddpm, linear": ddpm.DDPM(betas="linear"),
    "ddpm_v": ddpm.DDPMVelocity(),
    "score_sde, vp": score_sde.ScoreSDE(),
    "score_sde, ve": score_sde.ScoreSDE(sde="ve"),
    "edm": edm.EDM(),
}


@pytest.fixture(params=ONE_LEVEL)
def family(request):
    return ONE_LEVEL[request.param]


def exact(family, gaussian):
    """The best answer to what the family asks: its target, of which all is known on average."""

    def answer(shown, t, r, cond=NOTHING, memory=None):
        z = shown / family.shown(torch.ones_like(shown), t)
        x = gaussian.posterior(z, t)
        return family.target(x, epsilon_from_denoised(z, x, t), t)

    return answer


class Network:
    """Answers by a function, as networks do."""

    def __init__(self, answer, name):
        self.answer, self.config = answer, {"trained_objective": name}

    def read(self, cond, batch):
        return None

    def __call__(self, z, t, r, cond, memory):
        return self.answer(z, t, r, cond)


def test_what_is_taught_is_read_as_the_posterior_mean(family, gaussian, noise_field):
    network = Network(exact(family, gaussian), family.name)
    for level in (0.001, 0.3, 0.9, 0.99):
        t = torch.full((2,), level, dtype=torch.float64)
        found = denoiser(network)(noise_field, t, t)
        assert torch.allclose(found, gaussian.posterior(noise_field, t), atol=1e-9), level


def test_the_loss_is_stationary_at_the_exact_network(family, gaussian):
    x = gaussian.mean + gaussian.spread * torch.randn(
        4000, 1, 1, 2, 2, dtype=torch.float64, generator=generator(0)
    )
    drawn = family.draw(x, generator(1))
    best = exact(family, gaussian)

    def slope_of_loss(value):
        scale = torch.tensor(value, requires_grad=True)

        def predict(z, t, r, cond):
            return scale * best(z, t, r)

        total, errors = family.loss(predict, x, NOTHING, drawn)
        assert torch.allclose(errors.mean(), total)
        return torch.autograd.grad(total, scale)[0]

    assert slope_of_loss(1.0).abs() < 0.06 * slope_of_loss(1.2).abs()
    assert slope_of_loss(0.8) < 0 < slope_of_loss(1.2)


def test_edm_is_defined_at_pure_noise_and_its_network_sees_and_says_unit_sizes(gaussian):
    family = edm.EDM()
    data = type(gaussian)(mean=0.0, spread=edm.DATA_STD)
    one = torch.ones(2, dtype=torch.float64)
    z = torch.randn(2, 1, 8, 8, 8, dtype=torch.float64, generator=generator(0))
    network = Network(exact(family, data), "edm")
    assert torch.allclose(denoiser(network)(z, one, one), torch.zeros_like(z), atol=1e-12)
    x = edm.DATA_STD * torch.randn(2, 1, 32, 32, 32, dtype=torch.float64, generator=generator(1))
    for level in (0.01, 0.5, 0.99):
        t = one * level
        e = torch.randn(x.shape, dtype=torch.float64, generator=generator(2))
        assert float(family.shown(diffuse(x, e, t), t).std()) == pytest.approx(1, abs=0.02)
        assert float(family.target(x, e, t).std()) == pytest.approx(1, abs=0.02)


def test_levels_of_ddpm_are_those_of_diffusers():
    from diffusers import DDPMScheduler

    for betas, theirs in (("linear", "linear"), ("cosine", "squaredcos_cap_v2")):
        bar = DDPMScheduler(beta_schedule=theirs).alphas_cumprod.double()
        level = (1 - bar).sqrt() / (bar.sqrt() + (1 - bar).sqrt())
        assert torch.allclose(ddpm.ladder(betas), level, atol=1e-5)


@pytest.mark.parametrize("make", [ddpm.levels, score_sde.levels])
def test_levels_fall_to_zero_and_stay_where_a_noise_prediction_says_something(make):
    for steps in (2, 10, 100):
        found = make(steps)
        assert len(found) == steps + 1
        assert (found.diff() < 0).all()
        assert found[0] <= 0.999
        assert found[-1] == 0


def exact_ends(gaussian):
    """Average velocities down to r: of an exact consistency function, where r is 0."""
    return lambda z, t, r, cond=NOTHING: gaussian.average_velocity(z, t, r)


def test_the_exact_consistency_function_is_read(gaussian, noise_field):
    network = Network(exact_ends(gaussian), "consistency")
    t = torch.full((2,), 0.7, dtype=torch.float64)
    zero = torch.zeros_like(t)
    found = denoiser(network)(noise_field, t, t)
    assert torch.allclose(found, gaussian.at(noise_field, t, zero), atol=1e-12)


def test_distilled_consistency_has_no_residual_at_the_exact_function(gaussian, monkeypatch):
    """A teacher's single step is first order: the residual falls with the gap."""
    x = gaussian.mean + gaussian.spread * torch.randn(
        64, 1, 1, 4, 4, dtype=torch.float64, generator=generator(0)
    )
    monkeypatch.setattr(consistency.flow, "denoiser", lambda network, cond: gaussian.denoise)
    residuals = []
    for gap in (0.2, 0.05):
        taught = consistency.Consistency(gap=gap, distilled=True, teacher=object())
        drawn = taught.draw(x, generator(1))
        _, errors = taught.loss(exact_ends(gaussian), x, NOTHING, drawn)
        residuals.append(float(errors.mean()))
    assert residuals[1] < residuals[0] / 16
    assert residuals[1] < 1e-5


def test_consistency_against_the_data_itself_is_denoising(gaussian):
    x = torch.randn(5, 1, 2, 3, 3, dtype=torch.float64, generator=generator(0))
    taught = consistency.Consistency(gap=1.0)
    drawn = taught.draw(x, generator(1))

    def perfect(z, t, r, cond):
        return (z - x) / align(t, z)

    assert (drawn.r == 0).all()
    total, errors = taught.loss(perfect, x, NOTHING, drawn)
    assert float(total) < 1e-12
    assert float(errors.max()) < 1e-12


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_trains_is_kept_and_walks(name, tiny, tmp_path):
    def make_batch(size, random):
        told = Conditioning(tokens=torch.randn(size, 3, 12, generator=random))
        return torch.randn(size, 2, 2, 4, 8, generator=random), told

    entry = FAMILIES[name]
    plan = Plan(steps=2, batch_size=2, warmup=1)
    stages = [Stage("taught", entry.teach(), plan)]
    network, done = train_stages(tiny(), make_batch, stages, tmp_path / "run")
    assert done
    network.save_pretrained(tmp_path / "kept")
    again = SpatioTemporalUNet.from_pretrained(tmp_path / "kept")
    assert again.config["trained_objective"] == name
    assert family_of(again) is entry
    z = torch.randn(1, 2, 2, 4, 8, generator=generator(0))
    levels = linear(4) * 0.9
    with torch.no_grad():
        if entry.sampler in SAMPLERS:
            x = SAMPLERS[entry.sampler].walk(denoiser(again), z, levels)
        else:
            walk = STOCHASTIC[entry.sampler].walk
            x = walk(denoiser(again), z, levels, generator=generator(1))
    assert x.shape == z.shape
    assert x.isfinite().all()


def test_unknown_names_are_refused(tiny):
    network = tiny()
    network.register_to_config(trained_objective="by_hand")
    with pytest.raises(ValueError, match=r"by_hand.*families are ddpm"):
        denoiser(network)
    with pytest.raises(ValueError, match=r"betas='square'.*linear or cosine"):
        ddpm.DDPM(betas="square").draw(torch.zeros(1, 1, 1, 1, 1), generator(0))
    with pytest.raises(ValueError, match=r"sde='sub'.*vp and ve"):
        score_sde.ScoreSDE(sde="sub").draw(torch.zeros(1, 1, 1, 1, 1), generator(0))


def test_a_noise_prediction_is_not_asked_at_pure_noise(tiny):
    network = tiny()
    network.register_to_config(trained_objective="ddpm")
    one = torch.ones(1)
    with pytest.raises(ValueError, match=r"t <= 0\.999"):
        denoiser(network)(torch.zeros(1, 2, 2, 4, 8), one, one)
