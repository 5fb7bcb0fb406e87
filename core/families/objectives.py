"""What the network is trained for: velocities first, then average velocities.

Flow matching: |u(z, t, t) - (e - x)|^2 (Lipman et al. 2023). Average velocity: improved
MeanFlow (Geng et al. 2025b): V = u(z, t, r) + (t - r) sg(du/dt) must equal the velocity, with
du/dt along the network's own velocity. The derivative is a central finite difference under
``no_grad`` in float32: no forward-mode AD, so any attention kernel will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from core.conditioning import Conditioning
from core.sampling.path import diffuse
from core.seeds import normal
from core.tensors import Volumes, align, sent

if TYPE_CHECKING:
    from core.networks.unet import SpatioTemporalUNet

Predict = Callable[[Tensor, Tensor, Tensor, Conditioning], Tensor]
"""(z, t, r, cond) -> u, the network, wrapped or not."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The random part of one training batch, drawn before anything is computed."""

    noise: Tensor
    t: Tensor
    r: Tensor
    keep: Tensor
    guidance: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How noise levels are drawn and the error is weighed.

    Attributes:
        jump_share: Share of the batch with r < t; 0 is plain flow matching.
        level_mean: Mean of logit(t).
        level_std: Standard deviation of logit(t).
        pure_noise_share: Share of the batch at exactly t = 1, where every walk starts.
        land_on_data_share: Share of the jumps that land on r = 0, where every walk ends.
        power: Adaptive weight (|error|^2 + 1e-3)^-power per sample; 0 weighs all alike.
        dropout: Probability of dropping the prompt, for guidance.
        finite_step: Half width of the finite difference in t.
        focus: How many times more an error counts, besides once, where the first channel of a
            sketch says that there is something; what is best to answer stays the same.
        guidance_max: Above 1, guidance is trained in: each row draws a scale w, log-uniform
            from 1 to this, which the network is told and must apply itself.
    """

    jump_share: float = 0.0
    level_mean: float = 0.0
    level_std: float = 1.0
    pure_noise_share: float = 0.0
    land_on_data_share: float = 0.0
    power: float = 0.5
    dropout: float = 0.1
    finite_step: float = 0.02
    focus: float = 0.0
    guidance_max: float = 1.0

    @property
    def cost(self) -> float:
        """Time of a step, in steps of flow matching."""
        return 1 + 6 * self.jump_share

    @property
    def rate(self) -> float:
        """Its learning rate, as a share of the run's."""
        return 1.0

    @property
    def jumps(self) -> bool:
        """Whether average velocities are learned."""
        return self.jump_share > 0

    def taught_by(self, network: SpatioTemporalUNet) -> Objective:
        """The same: data and the network itself are the teachers."""
        del network
        return self

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Noise, levels t >= r and prompt dropout for a batch; everything from ``generator``.

        Jumps, where there are any, are the last rows of the batch.
        """
        batch = len(x)
        logits = torch.randn(2, batch, generator=generator) * self.level_std
        a, b = torch.sigmoid(logits + self.level_mean)
        chance = torch.rand(4, batch, generator=generator)
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

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """The weighted loss to descend and the plain mean squared error per sample, (), (B,).

        Args:
            predict: The network (wrapped for several processes, or not).
            x: (B, C, D, H, W) data.
            cond: What the data shows.
            drawn: From ``draw``.
        """
        cond = replace(cond, guidance=drawn.guidance).told(drawn.keep)
        z, v = diffuse(x, drawn.noise, drawn.t), drawn.noise - x
        v = _guided_target(predict, z, v, cond, drawn)
        u = predict(z, drawn.t, drawn.r, cond).float()
        if self.jumps:  # where there are none, nobody waits for a GPU to say so
            u = self._with_slopes(predict, u, z, cond, drawn)
        squares = (u - v).square()
        errors = self._focused(squares, cond).flatten(1).mean(1)  # (B,)
        weights = (errors.detach() + 1e-3) ** -self.power
        return (weights * errors).mean(), squares.detach().flatten(1).mean(1)

    def _focused(self, squares: Volumes, cond: Conditioning) -> Volumes:
        """The squared errors, those counting more that lie where something is to be."""
        if not self.focus or cond.sketch is None:
            return squares
        inside = functional.interpolate(cond.sketch[:, :1].float(), squares.shape[2:])
        weights = 1 + self.focus * inside.clamp(0, 1)
        return squares * weights / weights.mean(dim=(1, 2, 3, 4), keepdim=True)

    def _with_slopes(
        self, predict: Predict, u: Volumes, z: Volumes, cond: Conditioning, drawn: Draw
    ) -> Volumes:
        """The answers, to which those rows that jump add (t - r) du/dt."""
        jumps = (drawn.t > drawn.r).nonzero()[:, 0]
        if not len(jumps):
            return u
        part = z[jumps], drawn.t[jumps], drawn.r[jumps], cond.take(jumps)
        gap = align(drawn.t - drawn.r, z)[jumps]
        return u.index_add(0, jumps, gap * _slope(predict, *part, self.finite_step))


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
