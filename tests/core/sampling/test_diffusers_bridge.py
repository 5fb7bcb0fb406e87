"""Diffusers' schedulers over our denoiser: the identity with Euler, and exact data."""

import diffusers
import pytest
import torch

from core.sampling.diffusers_bridge import LEVELS, sample_with
from core.sampling.path import to_linear, vp_level
from core.sampling.samplers import euler, flow_map
from core.sampling.schedules import linear

# diffusers hands tensors to numpy in a way numpy 2 comments on.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
UNCLIPPED = {"clip_sample": False}


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.fixture
def noise32(noise_field):
    return noise_field.float()


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_ddim_is_euler_on_the_linear_path(prediction, gaussian, noise32):
    """With eta = 0 on matched grids; about 4e-7 relative in float32."""
    scheduler = diffusers.DDIMScheduler(
        prediction_type=prediction, clip_sample=False, set_alpha_to_one=True
    )
    ddim = sample_with(scheduler, gaussian.denoise, noise32, 20)
    scheduler.set_timesteps(20)
    alpha_bar = scheduler.alphas_cumprod[scheduler.timesteps]
    levels = torch.cat([vp_level(alpha_bar).t, torch.zeros(1)])
    start = to_linear(noise32, vp_level(alpha_bar[0]))
    assert relative(euler(gaussian.denoise, start, levels), ddim) < 2e-6


def test_flow_map_scheduler_is_our_flow_map(gaussian, noise32):
    scheduler = diffusers.FlowMapEulerDiscreteScheduler()
    theirs = sample_with(scheduler, gaussian.denoise, noise32, 4)
    assert relative(flow_map(gaussian.denoise, noise32, linear(4)), theirs) < 1e-6


@pytest.mark.parametrize(
    ("name", "config", "steps"),
    [
        ("DDIMScheduler", UNCLIPPED, 200),
        ("DDPMScheduler", UNCLIPPED, 250),
        ("DPMSolverMultistepScheduler", FLOW, 20),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, 30),
        ("DPMSolverMultistepScheduler", {"prediction_type": "v_prediction"}, 100),
        ("DPMSolverSinglestepScheduler", FLOW, 21),
        ("UniPCMultistepScheduler", FLOW, 20),
        ("UniPCMultistepScheduler", {"prediction_type": "sample"}, 100),
        ("DEISMultistepScheduler", FLOW, 50),
        ("SASolverScheduler", FLOW, 50),
        ("EulerDiscreteScheduler", {}, 200),
        ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}, 200),
        ("EulerAncestralDiscreteScheduler", {}, 300),
        ("HeunDiscreteScheduler", {}, 60),
        ("LMSDiscreteScheduler", {}, 60),
        ("EDMEulerScheduler", {}, 200),
        ("EDMDPMSolverMultistepScheduler", {}, 40),
        ("EDMDPMSolverMultistepScheduler", {"prediction_type": "v_prediction"}, 40),
        ("FlowMatchEulerDiscreteScheduler", {}, 200),
        ("FlowMatchHeunDiscreteScheduler", {}, 50),
        ("FlowMapEulerDiscreteScheduler", {}, 1),
    ],
)  # fmt: skip
def test_gaussian_data_come_back(name, config, steps, gaussian, noise32):
    scheduler = getattr(diffusers, name)(**config)
    generator = torch.Generator().manual_seed(1)
    x = sample_with(scheduler, gaussian.denoise, noise32, steps, generator=generator)
    assert x.shape == noise32.shape
    assert x.mean() == pytest.approx(gaussian.mean, abs=0.02)
    assert x.std() == pytest.approx(gaussian.spread, abs=0.02)


def test_every_known_scheduler_exists():
    assert [name for name in LEVELS if not hasattr(diffusers, name)] == []


def test_the_scheduler_and_the_noise_are_left_untouched(gaussian, noise32):
    scheduler, before = diffusers.UniPCMultistepScheduler(**FLOW), noise32.clone()
    timesteps = scheduler.timesteps.clone()
    first = sample_with(scheduler, gaussian.denoise, noise32, 5)
    assert torch.equal(scheduler.timesteps, timesteps)
    assert torch.equal(noise32, before)
    assert torch.equal(sample_with(scheduler, gaussian.denoise, noise32, 5), first)


def test_noise_comes_from_the_generator(gaussian, noise32):
    scheduler = diffusers.DDIMScheduler(clip_sample=False)

    def run(seed, eta):
        generator = torch.Generator().manual_seed(seed)
        return sample_with(scheduler, gaussian.denoise, noise32, 10, generator=generator, eta=eta)

    assert torch.equal(run(0, 1.0), run(0, 1.0))
    assert not torch.equal(run(0, 1.0), run(1, 1.0))
    assert torch.equal(run(0, 0.0), run(1, 0.0))


def test_progress_is_told(gaussian, noise32):
    seen = []
    sample_with(
        diffusers.FlowMatchEulerDiscreteScheduler(), gaussian.denoise, noise32, 3,
        on_step=lambda done, total, estimate: seen.append((done, total, estimate.shape)),
    )  # fmt: skip
    assert seen == [(i, 3, noise32.shape) for i in (1, 2, 3)]


def test_an_unknown_scheduler_is_refused(gaussian, noise32):
    with pytest.raises(ValueError, match=r"scheduler=LCMScheduler: .* one of \['DDIM"):
        sample_with(diffusers.LCMScheduler(), gaussian.denoise, noise32, 2)
