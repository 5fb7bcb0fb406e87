"""What every family is to the trainer and to the samplers.

A family says how noise levels are drawn, what the network is asked for and how its error is
weighed, and how its answer is read as an estimate of the data. All of them stand on the linear
path of ``core.sampling.path``, so that every sampler, guidance and operator serves every family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.networks.conditioned import LEAST_LEVEL
from core.sampling.path import Denoise, answers, diffuse
from core.seeds import normal
from core.tensors import Volumes, align, sent

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

THROUGH_SAMPLE = "through_sample"
"""Setting of networks that were taught so; those without it are read by their answers alone."""

Predict = Callable[[Tensor, Tensor, Tensor, Conditioning], Tensor]
"""(z, t, r, cond) -> the network's answer, the network wrapped or not."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The random part of one training batch, drawn before anything is computed.

    Attributes:
        noise: (B, C, D, H, W) standard normal.
        t: (B,) noise levels on the linear path.
        r: (B,) levels that are landed on, at most ``t``.
        keep: (B,) whether the prompt is told.
        guidance: (B,) scales that are trained in, or None.
    """

    noise: Tensor
    t: Tensor
    r: Tensor
    keep: Tensor
    guidance: Tensor | None = None


@runtime_checkable
class Family(Protocol):
    """How a network is taught.

    Attributes:
        name: In ``core.families.table``, and ``trained_objective`` of what was taught.
    """

    name: ClassVar[str]

    @property
    def cost(self) -> float:
        """Work of a step, in steps of flow matching, which are three passes of the network.

        A pass forward counts one, its gradient two, whatever the precision.
        """
        ...

    @property
    def rate(self) -> float:
        """Its learning rate, as a share of the run's."""
        ...

    def taught_by(self, network: ConditionedNetwork) -> Family:
        """The same, with a frozen copy of ``network`` as its teacher where it has one."""
        ...

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Noise, levels and prompt dropout for a batch; everything from ``generator``."""
        ...

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """The weighted loss to descend and the plain mean squared error per sample, (), (B,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class OneLevel(ABC):
    """What families have in common whose answers know one level: the network is never told r.

    Attributes:
        dropout: Probability of dropping the prompt, for guidance.
        through_sample: Whether what is asked for is computed from the sample that the network's
            last layer predicts, instead of being its answer: noise does not pass through wide
            cells, and what is asked for mostly is noise.
    """

    name: ClassVar[str]

    dropout: float = 0.1
    through_sample: bool = False

    @abstractmethod
    def levels(self, batch: int, generator: torch.Generator) -> Tensor:
        """(batch,) noise levels on the linear path to train at."""

    @abstractmethod
    def target(self, x: Volumes, noise: Volumes, t: Tensor) -> Volumes:
        """What the network should answer."""

    def shown(self, z: Volumes, t: Tensor) -> Volumes:
        """What the network is shown of ``z``, which it is asked about at level ``t``."""
        del t
        return z

    @property
    def cost(self) -> float:
        """Work of a step, in steps of flow matching."""
        return 1.0

    @property
    def rate(self) -> float:
        """Its learning rate, as a share of the run's."""
        return 1.0

    def answered(self, z: Volumes, shown: Volumes, said: Volumes, t: Tensor) -> Volumes:
        """What is asked for, from the network's answer, which stands for a sample.

        >>> from core.families.ddpm import DDPM
        >>> one, half = torch.ones(1, 1, 1, 1, 1), torch.tensor([0.5])
        >>> DDPM().answered(one, one, 2 * one, half).item()  # the sample is 0, the noise 2
        2.0

        Args:
            z: On the linear path.
            shown: Of z, to the network.
            said: Its answer, (shown - sample) / t.
            t: (B,) levels.
        """
        u = sample_velocity(z, shown, said, t)
        return self.target(z - align(t, z) * u, z + align(1 - t, z) * u, t)

    def taught_by(self, network: ConditionedNetwork) -> Family:
        """The same, through the sample where the network predicts one.

        The data is the teacher. A network that was taught this family by its own answers before
        goes on with them.
        """
        config = network.config
        before = config.get("trained_objective") == self.name and not config.get(THROUGH_SAMPLE)
        through = config.get("prediction") == "sample" and not before
        return replace(self, through_sample=through)

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Noise, levels and prompt dropout for a batch; everything from ``generator``."""
        t = sent(self.levels(len(x), generator).float(), x.device)
        keep = torch.rand(len(x), generator=generator) >= self.dropout
        return Draw(
            noise=normal(x.shape, generator, x.device), t=t, r=t, keep=sent(keep, x.device)
        )

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """The mean squared error of the answers, and the same per sample, (), (B,)."""
        z = diffuse(x, drawn.noise, drawn.t)
        shown = self.shown(z, drawn.t)
        answer = predict(shown, drawn.t, drawn.t, cond.told(drawn.keep)).float()
        if self.through_sample:
            answer = self.answered(z, shown, answer, drawn.t)
        errors = (answer - self.target(x, drawn.noise, drawn.t)).square().flatten(1).mean(1)
        return errors.mean(), errors.detach()


def sample_velocity(z: Volumes, shown: Volumes, said: Volumes, t: Tensor) -> Volumes:
    """u = (z - sample) / t, where the network's answer to ``shown`` is (shown - sample) / t."""
    least = align(t.clamp_min(LEAST_LEVEL), z)
    return (z - shown + least * said) / least


def sample_denoiser(lesson: OneLevel, network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """A network that was taught through its sample: x_hat = z - t u."""
    answer = answers(network, cond)

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        shown = lesson.shown(z, t)
        return z - align(t, z) * sample_velocity(z, shown, answer(shown, t, t), t)

    return denoise
