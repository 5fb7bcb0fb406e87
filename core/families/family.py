"""What every family is to the trainer and to the samplers.

A family says how noise levels are drawn, what the network is asked for and how its error is
weighed, and how its answer is read as an estimate of the data. All of them stand on the linear
path of ``core.sampling.path``, so that every sampler, guidance and operator serves every family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.sampling.path import diffuse
from core.seeds import normal
from core.tensors import Volumes, sent

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

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
        """Time of a step, in steps of flow matching."""
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
    """

    dropout: float = 0.1

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
        """Time of a step, in steps of flow matching."""
        return 1.0

    @property
    def rate(self) -> float:
        """Its learning rate, as a share of the run's."""
        return 1.0

    def taught_by(self, network: ConditionedNetwork) -> Family:
        """The same: the data is the teacher."""
        del network
        return self  # pyright: ignore[reportReturnType]  (its name stands in what is derived)

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
        answer = predict(self.shown(z, drawn.t), drawn.t, drawn.t, cond.told(drawn.keep)).float()
        errors = (answer - self.target(x, drawn.noise, drawn.t)).square().flatten(1).mean(1)
        return errors.mean(), errors.detach()
