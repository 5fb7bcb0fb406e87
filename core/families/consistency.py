"""Consistency models: from any point of a path, the network names the path's end at once.

f(z, t) = z - t u(z, t, 0), so that f(z, 0) = z. Two points of one path must be mapped to the
same end: |f(z_t, t) - sg f(z_r, r)|^2 / (t - r). z_r is made from the same data and noise
(consistency training by the easy recipe, Geng et al. 2024: begin with r = 0, which is
denoising, and halve the gap from stage to stage), or reached by one step of a finished model
(consistency distillation, Song et al. 2023, Algorithm 2). Walk it with
``core.sampling.stochastic.multistep``, which adds noise again between its jumps (Algorithm 1).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families import flow
from core.families.family import Draw, Family, Predict
from core.sampling.path import Denoise, answers, diffuse
from core.seeds import normal
from core.tensors import Volumes, align, inference_dtype, sent

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """One stage: how far apart the two points lie.

    Attributes:
        gap: r = (1 - gap) t; 1 compares with the data itself. A run halves it stage by stage.
        distilled: Whether the lower point is reached by a finished flow instead of drawn.
        teacher: That flow, frozen; given when the stage begins.
        level_mean: Mean of logit(t).
        level_std: Standard deviation of logit(t).
        pure_noise_share: Share of the batch at exactly t = 1, where sampling starts.
        dropout: Probability of dropping the prompt, for guidance.
    """

    name: ClassVar[str] = "consistency"

    gap: float = 1.0
    distilled: bool = False
    teacher: ConditionedNetwork | None = None
    level_mean: float = 0.0
    level_std: float = 1.0
    pure_noise_share: float = 0.2
    dropout: float = 0.1

    @property
    def cost(self) -> float:
        """Work of a step, in steps of flow matching: a forward pass is a third of one."""
        return 1 + (self.gap < 1) / 3 + self.distilled / 3

    @property
    def rate(self) -> float:
        """Its learning rate, as a share of the run's."""
        return 0.25 if self.distilled else 1.0

    def taught_by(self, network: ConditionedNetwork) -> Family:
        """The same; where it distills, with a frozen copy of ``network`` as its teacher."""
        if not self.distilled:
            return self
        teacher = deepcopy(network).eval().requires_grad_(False)
        for weights in teacher.parameters():
            weights.data = weights.data.to(inference_dtype(weights.device))
        return replace(self, teacher=teacher)

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Noise, the two levels and prompt dropout; everything from ``generator``."""
        logits = torch.randn(len(x), generator=generator) * self.level_std + self.level_mean
        chance = torch.rand(2, len(x), generator=generator)
        t = torch.where(chance[0] < self.pure_noise_share, 1.0, torch.sigmoid(logits))
        return Draw(
            noise=normal(x.shape, generator, x.device),
            t=sent(t, x.device),
            r=sent(t * (1 - self.gap), x.device),
            keep=sent(chance[1] >= self.dropout, x.device),
        )

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """The weighted loss to descend and the mean squared distance of the two ends."""
        cond = cond.told(drawn.keep)
        t, r, zero = drawn.t, drawn.r, torch.zeros_like(drawn.t)
        z = diffuse(x, drawn.noise, t)
        end = z - align(t, z) * predict(z, t, zero, cond).float()
        with torch.no_grad():
            if self.gap >= 1:
                same = x
            else:
                lower = self._lower(x, z, cond, drawn)
                same = lower - align(r, z) * predict(lower, r, zero, cond).float()
        errors = (end - same).square().flatten(1).mean(1)  # (B,)
        return (errors / (t - r).clamp_min(1e-3)).mean(), errors.detach()

    def _lower(self, x: Volumes, z: Volumes, cond: Conditioning, drawn: Draw) -> Volumes:
        """The point of the same path at the lower level."""
        if not self.distilled:
            return diffuse(x, drawn.noise, drawn.r)
        assert self.teacher is not None, "taught_by comes first"
        share = align(drawn.r / drawn.t, z)
        estimate = flow.denoiser(self.teacher, cond)(z, drawn.t, drawn.t)
        return share * z + (1 - share) * estimate


def denoiser(network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """The consistency function: every estimate is an end, whichever level comes next."""
    answer = answers(network, cond)

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        return z - align(t, z) * answer(z, t, torch.zeros_like(t))

    return denoise
