"""Wrappers take a Denoise and return one, and touch only what they say."""

import pytest
import torch

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.sampling.guidance import clamped, guided, guided_at_once, inpainting, with_and_without
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import linear
from core.seeds import generator

T = torch.tensor(0.5, dtype=torch.float64)


def constant(value):
    return lambda z, t, r: torch.full_like(z, value)


def never(z, t, r):
    raise AssertionError("the unconditional was evaluated")


def test_guidance_extrapolates_from_the_unprompted(noise_field):
    answer = guided(constant(2.0), constant(1.0), 3.0)(noise_field, T, T)
    assert torch.equal(answer, torch.full_like(noise_field, 4.0))


def test_scale_one_costs_nothing(noise_field):
    assert guided(constant(2.0), never, 1.0)(noise_field, T, T).eq(2).all()


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_asked_at_once_both_questions_have_the_answers_they_have_apart(masked, tiny):
    network = tiny()
    z = torch.randn(2, 2, 2, 4, 4, generator=generator(0))
    mask = torch.tensor([[True, True, False], [True, False, False]]) if masked else None
    cond = Conditioning(tokens=torch.randn(2, 3, 12, generator=generator(1)), token_mask=mask)
    scale, t = torch.tensor([1.5, 3.0]), torch.tensor(0.6)
    once = guided_at_once(denoiser(network, with_and_without(cond)), scale)(z, t, t)
    twice = guided(denoiser(network, cond), denoiser(network, cond.null()), scale)(z, t, t)
    torch.testing.assert_close(once, twice)
    assert not torch.allclose(once, denoiser(network, cond)(z, t, t), atol=1e-3)


@pytest.mark.parametrize(("level", "expected"), [(0.1, 2.0), (0.5, 4.0), (0.9, 2.0)])
def test_guidance_acts_inside_its_interval(level, expected, noise_field):
    denoise = guided(constant(2.0), constant(1.0), 3.0, interval=(0.3, 0.8))
    level = torch.tensor(level, dtype=torch.float64)
    assert denoise(noise_field, level, level).eq(expected).all()
    skipped = guided(constant(2.0), never, 3.0, interval=(0.8, 0.9))
    assert skipped(noise_field, T, T).eq(2).all()


def test_clamping_keeps_the_range(noise_field):
    answer = clamped(lambda z, t, r: z, -0.5, 0.5)(noise_field, T, T)
    assert torch.equal(answer, noise_field.clamp(-0.5, 0.5))


@pytest.mark.parametrize("name", SAMPLERS)
def test_known_voxels_are_exact_in_the_final_sample(name, gaussian, noise_field):
    known = torch.linspace(0, 1, noise_field.numel(), dtype=torch.float64).view_as(noise_field)
    mask = torch.zeros_like(noise_field)
    mask[:, :, :4] = 1
    denoise = inpainting(gaussian.denoise, known, mask)
    x = SAMPLERS[name].walk(denoise, noise_field, linear(4))
    free = SAMPLERS[name].walk(gaussian.denoise, noise_field, linear(4))
    assert torch.allclose(x[:, :, :4], known[:, :, :4], atol=1e-12)
    assert torch.equal(x[:, :, 4:], free[:, :, 4:])
