"""Average velocities: the network learns where the flow leads from t down to r, at once.

Improved MeanFlow (Geng et al. 2025b): V = u(z, t, r) + (t - r) sg(du/dt) must equal the
velocity, with du/dt along the network's own velocity. The derivative is a central finite
difference under ``no_grad`` in float32: no forward-mode AD, so any attention kernel will do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.family import Draw, Predict
from core.families.flow import FlowMatching
from core.sampling.path import Denoise, answers
from core.seeds import normal
from core.tensors import Volumes, align, sent

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork


@dataclass(frozen=True, kw_only=True)
class AverageVelocity(FlowMatching):
    """Flow matching in which a share of the rows learns jumps.

    Attributes:
        jump_share: Share of the batch with r < t.
        land_on_data_share: Share of the jumps that land on r = 0, where every walk ends.
        finite_step: Half width of the finite difference in t.
        guidance_max: Above 1, guidance is trained in: each row draws a scale w, log-uniform
            from 1 to this, which the network is told and must apply itself.
    """

    name: ClassVar[str] = "average_velocity"

    jump_share: float = 0.5
    land_on_data_share: float = 0.0
    finite_step: float = 0.02
    guidance_max: float = 1.0

    @property
    def cost(self) -> float:
        """Work of a step, in steps of flow matching.

        Those rows that jump take three more passes forward; trained-in guidance takes two of all.
        """
        return 1 + self.jump_share + (2 / 3 if self.guidance_max > 1 else 0)

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Noise, levels t >= r and prompt dropout for a batch; everything from ``generator``.

        Jumps are the last rows of the batch.
        """
        batch = len(x)
        (a, b), chance = self._random(batch, generator)
        a = torch.where(chance[0] < self.pure_noise_share, torch.ones_like(a), a)
        b = torch.where(chance[1] < self.land_on_data_share, torch.zeros_like(b), b)
        jumps = round(batch * self.jump_share)
        t, r = a.clone(), a.clone()
        if jumps:
            t[-jumps:] = torch.maximum(a, b)[-jumps:]
            r[-jumps:] = torch.minimum(a, b)[-jumps:]
        guided = self.guidance_max > 1
        scale = self.guidance_max ** chance[3]
        return Draw(
            noise=normal(x.shape, generator, x.device),
            t=sent(t, x.device),
            r=sent(r, x.device),
            keep=sent(chance[2] >= self.dropout, x.device),
            guidance=sent(scale, x.device) if guided else None,
        )

    def _answer_and_target(
        self, predict: Predict, z: Volumes, v: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Volumes, Volumes]:
        """The answers, to which those rows that jump add (t - r) du/dt, and the velocity."""
        v = _guided_target(predict, z, v, cond, drawn)
        u = predict(z, drawn.t, drawn.r, cond).float()
        jumps = (drawn.t > drawn.r).nonzero()[:, 0]
        if not len(jumps):
            return u, v
        part = z[jumps], drawn.t[jumps], drawn.r[jumps], cond.take(jumps)
        gap = align(drawn.t - drawn.r, z)[jumps]
        return u.index_add(0, jumps, gap * _slope(predict, *part, self.finite_step)), v


@torch.no_grad()
def total_derivative(
    predict: Predict,
    z: Volumes,
    t: Tensor,
    r: Tensor,
    cond: Conditioning,
    *,
    velocity: Volumes,
    step: float,
) -> Volumes:
    """du/dt along the flow, v . grad_z u + d_t u, as a finite difference in float32.

    Ahead is cut at t = 1 and behind at r, so the probe never leaves the path.
    """
    ahead = torch.clamp(1 - t, max=step)
    behind = torch.minimum(torch.full_like(t, step), t - r)
    width = (ahead + behind).clamp_min(1e-4)
    with torch.autocast(z.device.type, enabled=False):
        high = predict(z + align(ahead, z) * velocity, t + ahead, r, cond)
        low = predict(z - align(behind, z) * velocity, t - behind, r, cond)
    return (high - low) / align(width, z)


@torch.no_grad()
def _slope(
    predict: Predict, z: Volumes, t: Tensor, r: Tensor, cond: Conditioning, step: float
) -> Volumes:
    """du/dt along the network's own velocity, the tangent of improved MeanFlow."""
    own = predict(z, t, t, cond).float()
    return total_derivative(predict, z, t, r, cond, velocity=own, step=step)


@torch.no_grad()
def _guided_target(
    predict: Predict, z: Volumes, v: Volumes, cond: Conditioning, drawn: Draw
) -> Volumes:
    """v + (1 - 1/w) (v_c - v_u), whose fixed point is guidance w. Geng et al. 2025b, Eq. 19."""
    if drawn.guidance is None:
        return v
    nobody = torch.zeros_like(drawn.keep)
    plain = replace(cond, guidance=torch.ones_like(drawn.guidance))
    with_prompt = predict(z, drawn.t, drawn.t, cond).float()
    without = predict(z, drawn.t, drawn.t, plain.told(nobody)).float()
    return v + align(1 - 1 / drawn.guidance, z) * (with_prompt - without)


def denoiser(network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """A network that knows where a step lands: x_hat = z - t u(z, t, r)."""
    answer = answers(network, cond)

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        return z - align(t, z) * answer(z, t, r)

    return denoise
