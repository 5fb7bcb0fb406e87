"""Flow matching: the network learns the velocity e - x of the line from data to noise.

|u(z, t) - (e - x)|^2 at z = (1 - t) x + t e. Sources: Lipman et al. 2023, Liu et al. 2023
(rectified flow); levels from a logit-normal distribution, Esser et al. 2024, Eq. 19.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from core.conditioning import Conditioning
from core.families.family import Draw, Predict
from core.sampling.path import Denoise, answers, diffuse
from core.seeds import normal
from core.tensors import Volumes, align, sent

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

LEAST_HIDDEN = 0.01
"""Share of a sample below which what is not given counts no more for being little."""


@dataclass(frozen=True, kw_only=True)
class FlowMatching:
    """How noise levels are drawn and the error is weighed.

    Attributes:
        level_mean: Mean of logit(t).
        level_std: Standard deviation of logit(t).
        pure_noise_share: Share of the batch at exactly t = 1, where every walk starts.
        power: Adaptive weight (|error|^2 + 1e-3)^-power per sample; 0 weighs all alike.
        dropout: Probability of dropping the prompt, for guidance.
        focus: How many times more an error counts, besides once, where the first channel of a
            sketch says that there is something; what is best to answer stays the same.
        hidden: Whether only what is not given counts, by the last channel of ``concat``.
    """

    name: ClassVar[str] = "flow_matching"

    level_mean: float = 0.0
    level_std: float = 1.0
    pure_noise_share: float = 0.0
    power: float = 0.5
    dropout: float = 0.1
    focus: float = 0.0
    hidden: bool = False

    @property
    def cost(self) -> float:
        """Work of a step, in steps of flow matching."""
        return 1.0

    @property
    def rate(self) -> float:
        """Its learning rate, as a share of the run's."""
        return 1.0

    def taught_by(self, network: ConditionedNetwork) -> FlowMatching:
        """The same: the data is the teacher."""
        del network
        return self

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Noise, levels and prompt dropout for a batch; everything from ``generator``."""
        levels, chance = self._random(len(x), generator)
        t = torch.where(chance[0] < self.pure_noise_share, torch.ones_like(levels[0]), levels[0])
        return Draw(
            noise=normal(x.shape, generator, x.device),
            t=sent(t, x.device),
            r=sent(t, x.device),
            keep=sent(chance[2] >= self.dropout, x.device),
        )

    def _random(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two levels a row from the distribution, and four even chances: (2, B), (4, B)."""
        logits = torch.randn(2, batch, generator=generator) * self.level_std
        chance = torch.rand(4, batch, generator=generator)
        return torch.sigmoid(logits + self.level_mean), chance

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
        u, v = self._answer_and_target(predict, z, v, cond, drawn)
        squares = (u - v).square()
        errors = self._focused(squares, cond).flatten(1).mean(1)  # (B,)
        weights = (errors.detach() + 1e-3) ** -self.power
        return (weights * errors).mean(), squares.detach().flatten(1).mean(1)

    def _answer_and_target(
        self, predict: Predict, z: Volumes, v: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Volumes, Volumes]:
        """What the network says, and what it should have said."""
        return predict(z, drawn.t, drawn.r, cond).float(), v

    def _focused(self, squares: Volumes, cond: Conditioning) -> Volumes:
        """The squared errors, those counting more that lie where something is to be."""
        if self.hidden and cond.concat is not None:
            unknown = 1 - cond.concat[:, -1:]  # (B, 1, D, H, W)
            shares = unknown.mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(LEAST_HIDDEN)
            squares = squares * unknown / shares
        if not self.focus or cond.sketch is None:
            return squares
        inside = functional.interpolate(cond.sketch[:, :1].float(), squares.shape[2:])
        weights = 1 + self.focus * inside.clamp(0, 1)
        return squares * weights / weights.mean(dim=(1, 2, 3, 4), keepdim=True)


def denoiser(network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """A network that was never told where a step lands: x_hat = z - t u(z, t, t)."""
    answer = answers(network, cond)

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        return z - align(t, z) * answer(z, t, t)

    return denoise
