"""Log-likelihood along the probability flow, exact up to the solver and the estimator.

log p(x) = log N(z_1; 0, I) + integral over t of div v(z_t, t), Chen et al. 2018 (Eq. 8) and
Song et al. 2021 (Section 4.3), on the linear path, where the flow ends in exactly N(0, I). The
divergence is Hutchinson's estimate, the mean of e . (J e) over signs e (Hutchinson 1989).
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from core.refusal import Refusal
from core.sampling.path import Denoise, velocity_from_denoised
from core.tensors import Levels, Volumes


def log_likelihood(
    denoise: Denoise,
    x: Volumes,
    levels: Levels,
    *,
    generator: torch.Generator,
    probes: int = 1,
) -> Tensor:
    """Natural log of the density at each sample: (B,) float64.

    Args:
        denoise: Differentiable in ``z``.
        x: (B, C, D, H, W) data; taken for z at the lowest level that is not 0.
        levels: Falling from 1 to 0, as samplers take them; walked upwards by Heun's rule.
        generator: Of the signs.
        probes: Signs drawn per evaluation; the error falls with their square root.

    Raises:
        Refusal: The levels do not fall from 1 to 0.
    """
    if len(levels) < 3 or levels[0] != 1 or levels[-1] != 0 or bool((levels.diff() >= 0).any()):
        raise Refusal(
            f"levels={[round(float(v), 4) for v in levels]}: the flow is followed between 1 and "
            "0; give falling levels from exactly 1 to exactly 0, at least three."
        )
    rising = levels[:-1].flip(0).to(x.device, x.dtype)
    signs = torch.randint(2, (probes, *x.shape), generator=generator).to(x) * 2 - 1
    z, change = x, torch.zeros(len(x), dtype=torch.float64, device=x.device)
    v, divergence = _velocity(denoise, z, rising[0], signs)
    for low, high in pairwise(rising):
        step = high - low
        end, there = _velocity(denoise, z + step * v, high, signs)
        z = z + step * (v + end) / 2
        change = change + float(step) * (divergence + there) / 2
        v, divergence = _velocity(denoise, z, high, signs)
    normal = -0.5 * (z.double().square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return normal + change


def _velocity(denoise: Denoise, z: Volumes, t: Tensor, signs: Tensor) -> tuple[Volumes, Tensor]:
    """The velocity and its estimated divergence, (B,)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        v = velocity_from_denoised(z, denoise(z, t, t), t)
        sums = [
            (torch.autograd.grad(v, z, probe, retain_graph=True)[0] * probe).flatten(1).sum(1)
            for probe in signs
        ]
    return v.detach(), torch.stack(sums).double().mean(0)
