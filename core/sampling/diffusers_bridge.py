"""Any scheduler of diffusers as a sampler over ``Denoise``: one function, ``sample_with``.

A scheduler walks x_tau = alpha x + sigma e on its own path and asks for its own kind of
prediction. Each step therefore carries x_tau to the linear path, asks ``denoise`` there, and
answers in the scheduler's words; all conversions are exact and come from ``core.sampling.path``.

Traps worth knowing: DDIM and DDPM clip the sample to [-1, 1] unless built with
``clip_sample=False``; SD-style betas end at a noise level below 1, so few steps lose variance;
``use_flow_sigmas=True`` with ``prediction_type="flow_prediction"`` suits our networks best.
"""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from core.refusal import Refusal
from core.sampling.path import (
    Denoise,
    Level,
    epsilon_from_denoised,
    from_linear,
    to_linear,
    ve_level,
    velocity_from_denoised,
    vp_level,
    vp_velocity_from_denoised,
)
from core.sampling.samplers import OnStep, Walk, ignore
from core.tensors import Levels, Volumes, align

Scheduler = Any
"""A diffusers scheduler; they share methods but no useful type."""

Predict = Callable[[Volumes, Volumes, Level], Volumes]
"""(z, x_hat, level) -> the same answer as the scheduler wants it."""


def _discrete_level(scheduler: Scheduler, index: int) -> Level:
    """DDPM's table of alpha_bar, looked up by the integer time step."""
    return vp_level(scheduler.alphas_cumprod[scheduler.timesteps[index].long()].double())


def _solver_level(scheduler: Scheduler, index: int) -> Level:
    """DPM-Solver's kin: flow sigmas, or EDM sigmas on a variance-preserving path."""
    sigma = scheduler.sigmas[index].double()
    if scheduler.config.use_flow_sigmas:
        return Level(1 - sigma, sigma)
    alpha = (1 + sigma**2).rsqrt()
    return Level(alpha, sigma * alpha)


def _exploding_level(scheduler: Scheduler, index: int) -> Level:
    """Euler's kin and EDM: alpha is 1."""
    return ve_level(scheduler.sigmas[index].double())


def _flow_level(scheduler: Scheduler, index: int) -> Level:
    """The linear path itself."""
    sigma = scheduler.sigmas[index].double()
    return Level(1 - sigma, sigma)


LEVELS: dict[str, Callable[[Scheduler, int], Level]] = {
    "DDIMScheduler": _discrete_level,
    "DDPMScheduler": _discrete_level,
    "DPMSolverMultistepScheduler": _solver_level,
    "DPMSolverSinglestepScheduler": _solver_level,
    "UniPCMultistepScheduler": _solver_level,
    "DEISMultistepScheduler": _solver_level,
    "SASolverScheduler": _solver_level,
    "EulerDiscreteScheduler": _exploding_level,
    "EulerAncestralDiscreteScheduler": _exploding_level,
    "HeunDiscreteScheduler": _exploding_level,
    "LMSDiscreteScheduler": _exploding_level,
    "EDMEulerScheduler": _exploding_level,
    "EDMDPMSolverMultistepScheduler": _exploding_level,
    "FlowMatchEulerDiscreteScheduler": _flow_level,
    "FlowMatchHeunDiscreteScheduler": _flow_level,
    "FlowMapEulerDiscreteScheduler": _flow_level,
}
"""Where each scheduler stands on its own path before step ``index``."""

LANDS_ON_NEXT = ("FlowMapEulerDiscreteScheduler",)
"""Schedulers that ask for the average velocity down to the next level."""


def _epsilon(z: Volumes, denoised: Volumes, level: Level) -> Volumes:
    return epsilon_from_denoised(z, denoised, level.t)


def _sample(z: Volumes, denoised: Volumes, level: Level) -> Volumes:
    return denoised


def _v(z: Volumes, denoised: Volumes, level: Level) -> Volumes:
    size = (level.alpha**2 + level.sigma**2).sqrt()  # 1 on a variance-preserving path
    return vp_velocity_from_denoised(z, denoised, Level(level.alpha / size, level.sigma / size))


def _velocity(z: Volumes, denoised: Volumes, level: Level) -> Volumes:
    return velocity_from_denoised(z, denoised, level.t)


PREDICTIONS: dict[str, Predict] = {
    "epsilon": _epsilon,
    "sample": _sample,
    "v_prediction": _v,
    "flow_prediction": _velocity,
}


def _edm_prediction(scheduler: Scheduler) -> Predict:
    """F of D = c_skip x + c_out F. Karras et al. 2022, Eq. 7 and Table 1."""
    spread = scheduler.config.sigma_data
    sign = -1 if scheduler.config.prediction_type == "v_prediction" else 1

    def predict(z: Volumes, denoised: Volumes, level: Level) -> Volumes:
        sigma = align(level.sigma, z)
        total = sigma**2 + spread**2
        skip = spread**2 / total * from_linear(z, level)
        return sign * (denoised - skip) * total.sqrt() / (sigma * spread)

    return predict


def _prediction(scheduler: Scheduler) -> Predict:
    if hasattr(scheduler, "precondition_outputs"):
        return _edm_prediction(scheduler)
    return PREDICTIONS[getattr(scheduler.config, "prediction_type", "flow_prediction")]


def sample_with(
    scheduler: SchedulerMixin,
    denoise: Denoise,
    z: Volumes,
    steps: int,
    *,
    generator: torch.Generator | None = None,
    on_step: OnStep = ignore,
    **step_options: float,
) -> Volumes:
    """Walk ``z`` down to data with a scheduler of diffusers; the scheduler is left untouched.

    Args:
        scheduler: As configured by its owner; its time steps are set here, on a copy.
        denoise: Network, guidance, tiling, data consistency: whatever answers with x_hat.
        z: (B, C, D, H, W) standard normal noise; scaled by ``init_noise_sigma`` as in diffusers.
        steps: ``num_inference_steps``.
        generator: For the schedulers that add noise.
        on_step: Called after each evaluation with (done, total, estimate of the data).
        **step_options: Of the scheduler's ``step``, such as ``eta`` for DDIM.
    """
    name = type(scheduler).__name__
    if name not in LEVELS:
        raise Refusal(
            f"scheduler={name}: its noise path is not known here; use one of {sorted(LEVELS)} "
            "or add its path to LEVELS."
        )
    walk: Scheduler = copy.deepcopy(scheduler)
    walk.set_timesteps(steps, device=z.device)
    if hasattr(walk, "set_begin_index"):
        walk.set_begin_index(0)
    accepted = inspect.signature(walk.step).parameters
    options: dict[str, Any] = dict(step_options)
    if "generator" in accepted:
        options["generator"] = generator
    predict = _prediction(walk)
    total = len(walk.timesteps)
    x = z * float(getattr(walk, "init_noise_sigma", 1.0))
    for index, time in enumerate(walk.timesteps):
        level = _cast(LEVELS[name](walk, index), z)
        landing = _cast(LEVELS[name](walk, index + 1), z).t if name in LANDS_ON_NEXT else level.t
        if hasattr(walk, "scale_model_input"):
            walk.scale_model_input(x, time)  # keeps its own count; the scaling is done above
        here = to_linear(x, level)
        estimate = denoise(here, level.t, landing)
        answer = predict(here, estimate, level)
        x = walk.step(answer, time, x, return_dict=False, **options)[0]
        on_step(index + 1, total, estimate)
    return x


def walk_with(scheduler: SchedulerMixin, *, generator: torch.Generator | None = None) -> Walk:
    """A scheduler of diffusers where a sampler is asked for, named after its class.

    It takes as many steps as the levels it is given have, and chooses levels of its own.

    Args:
        scheduler: As configured by its owner.
        generator: For the schedulers that add noise.
    """

    def walk(denoise: Denoise, z: Volumes, levels: Levels, *, on_step: OnStep = ignore) -> Volumes:
        steps = len(levels) - 1
        return sample_with(scheduler, denoise, z, steps, generator=generator, on_step=on_step)

    walk.__name__ = type(scheduler).__name__
    return walk


def _cast(level: Level, z: Tensor) -> Level:
    return Level(level.alpha.to(z), level.sigma.to(z))
