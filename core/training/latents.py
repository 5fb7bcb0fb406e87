"""Training in latents: the autoencoder first, then any family on what it makes of the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.family import THROUGH_SAMPLE, Draw, Predict
from core.networks.autoencoder import Autoencoder
from core.networks.latents import LatentNetwork
from core.networks.network import Network
from core.seeds import normal
from core.tensors import Volumes, sent
from core.training.feed import Batch, MakeBatch
from core.training.plan import Plan
from core.training.stages import Stage, Trained

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

TAUGHT = "trained_objective"
NOISE = 0.1
"""Standard deviation of what is added to latents before they are decoded in training."""
SHARE = 0.35
"""Part of a time budget, and of the steps, that the autoencoder takes."""
WORK = 1.5
"""Time of training the autoencoder on one sample, in samples of the network on latents."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Mean absolute error of what an autoencoder leaves of a volume; a ``Family`` without levels.

    >>> coder = Autoencoder(1, 4, (16, 16))
    >>> Reconstruction().taught_by(coder).draw(torch.zeros(2, 1, 8, 8, 8), torch.Generator()).t
    tensor([0., 0.])

    Attributes:
        coder: Whose latents noise is added to; of the network that is taught.
    """

    name: ClassVar[str] = "reconstruction"
    cost = 1.0
    rate = 1.0

    coder: Any = None

    def taught_by(self, network: ConditionedNetwork | Network) -> Reconstruction:
        """The same, for that autoencoder."""
        return replace(self, coder=network)

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """The latents' noise; levels are not told."""
        shape = len(x), *self.coder.latent_shape(x.shape[1:])
        none = torch.zeros(len(x), device=x.device)
        return Draw(
            noise=NOISE * normal(shape, generator, x.device), t=none, r=none, keep=none > 0
        )

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """Mean absolute error, and the squared one per sample, (), (B,)."""
        found = predict(x, drawn.noise, drawn.r, cond).float()
        errors = (found.detach() - x).square().flatten(1).mean(1)
        return (found - x).abs().mean(), errors


def encoded(make_batch: MakeBatch, coder: Autoencoder) -> MakeBatch:
    """The same batches as latents, their conditioning as it was."""

    def make(batch_size: int, generator: torch.Generator) -> Batch:
        x, cond = make_batch(batch_size, generator)
        return latents(coder, x), cond

    return make


@torch.no_grad()
def latents(coder: Autoencoder, x: Volumes) -> Tensor:
    """(B, C, D, H, W) -> (B, C', D', H', W') float32, by what the autoencoder has learned."""
    coder.eval()
    with torch.autocast(coder.device.type, torch.bfloat16):
        return coder.encode(sent(x, coder.device)).float()


def finished(network: Trained) -> Trained:
    """The same; one on latents then says of itself how the network inside was taught."""
    if not isinstance(network, LatentNetwork):
        return network
    taught = network.network.config
    told = {name: taught[name] for name in (TAUGHT, THROUGH_SAMPLE) if name in taught}
    network.register_to_config(**told)
    return network


def in_latents(
    network: Network,
    stages: Sequence[Stage],
    volumes: MakeBatch,
    latent: MakeBatch | None = None,
    *,
    begun: bool = False,
) -> list[Stage]:
    """Stages of the autoencoder and then of the network beside it; others stay as they are.

    Args:
        network: A ``LatentNetwork``, or one that works on volumes.
        stages: As for a network on volumes. Their first says how the autoencoder is trained.
        volumes: Batches for the autoencoder.
        latent: Batches for the network, by the autoencoder; None for the same ones, encoded.
        begun: Whether the autoencoder is finished, and is taken as it is.
    """
    if not isinstance(network, LatentNetwork):
        return list(stages)
    latent = latent or encoded(volumes, network.autoencoder)
    later = [
        stage._replace(
            part="network",
            make_batch=latent,
            plan=replace(stage.plan, minutes=(1 - SHARE * (not begun)) * stage.plan.minutes),
        )
        for stage in stages
    ]
    if begun:
        return later
    plan = replace(
        stages[0].plan,
        steps=max(1, round(SHARE * sum(stage.plan.steps for stage in stages))),
        minutes=SHARE * sum(stage.plan.minutes for stage in stages),
        cooldown=Plan(steps=1).cooldown,
    )
    return [
        Stage("autoencoder", Reconstruction(), plan, "autoencoder", volumes, work=WORK),
        *later,
    ]
