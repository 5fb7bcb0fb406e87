"""Average velocities learned from a finished flow: where its own small steps lead.

u(z, t, r) must equal (z - z_r) / (t - r), where the frozen network of the stage before walks
from z down to z_r in a few guided Euler steps. One evaluation then does the work of twice as many
as there are such steps, guidance included, and no derivative of a network is needed.

Sources: Salimans & Ho 2022 (progressive distillation), Meng et al. 2023 (guidance distilled),
Geng et al. 2025 (average velocity).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.family import Draw, Predict
from core.families.flow import denoiser
from core.networks.conditioned import ConditionedNetwork
from core.sampling.guidance import guided
from core.sampling.path import diffuse
from core.sampling.schedules import shifted_level, shifted_place
from core.seeds import normal
from core.tensors import Volumes, align, inference_dtype, sent


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Which jumps are learned, and how closely the teacher walks them.

    Attributes:
        steps: Numbers of sampler steps; each row of a batch draws one of these, and one of the
            jumps that a sampler of so many steps makes.
        substeps: Euler steps of the teacher for one jump.
        shift: Of the sampler's schedule, ``core.sampling.schedules.shifted``.
        guidance_max: Each row draws a scale, log-uniform from 1 to this, which the teacher is
            guided by from outside and the network learns to apply itself; 1 for no guidance.
        teacher: The frozen network; given when the stage begins.
    """

    name: ClassVar[str] = "average_velocity"

    steps: tuple[int, ...] = (2, 4, 8, 16)
    substeps: int = 3
    shift: float = 1.0
    guidance_max: float = 1.0
    teacher: ConditionedNetwork | None = None

    @property
    def cost(self) -> float:
        """Work of a step, in steps of flow matching: a backward pass costs two forward ones."""
        evaluations = self.substeps * (2 if self.guidance_max > 1 else 1)
        return 1 + evaluations / 3

    @property
    def rate(self) -> float:
        """Its learning rate, as a share of the run's: the network is nearly there already."""
        return 0.25

    def taught_by(self, network: ConditionedNetwork) -> Distillation:
        """The same lesson with a frozen copy of ``network``, in its fast precision, as teacher."""
        teacher = deepcopy(network).eval().requires_grad_(False)
        device = next(teacher.parameters()).device
        for parameter in teacher.parameters():
            parameter.data = parameter.data.to(inference_dtype(device))
        return replace(self, teacher=teacher)

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Noise, the two levels of a jump, and guidance for a batch, from ``generator`` alone."""
        batch = len(x)
        chosen = torch.randint(len(self.steps), (batch,), generator=generator)
        number = torch.tensor(self.steps)[chosen].double()
        place = torch.floor(torch.rand(batch, generator=generator).double() * number)
        scale = self.guidance_max ** torch.rand(batch, generator=generator)
        return Draw(
            noise=normal(x.shape, generator, x.device),
            t=sent(shifted_level(1 - place / number, self.shift).float(), x.device),
            r=sent(shifted_level(1 - (place + 1) / number, self.shift).float(), x.device),
            keep=torch.ones(batch, dtype=torch.bool, device=x.device),
            guidance=sent(scale, x.device) if self.guidance_max > 1 else None,
        )

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """The loss to descend and the mean squared error per sample, (), (B,).

        Args:
            predict: The network (wrapped for several processes, or not).
            x: (B, C, D, H, W) data.
            cond: What the data shows.
            drawn: From ``draw``.
        """
        z = diffuse(x, drawn.noise, drawn.t)
        with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
            reached = self._walked(z, cond, drawn)
        target = (z - reached) / align(drawn.t - drawn.r, z)
        u = predict(z, drawn.t, drawn.r, replace(cond, guidance=drawn.guidance)).float()
        errors = (u - target).square().flatten(1).mean(1)  # (B,)
        return errors.mean(), errors.detach()

    def _walked(self, z: Volumes, cond: Conditioning, drawn: Draw) -> Volumes:
        """Where the teacher goes from ``t`` to ``r``, in steps that are even on the schedule."""
        assert self.teacher is not None, "taught_by comes first"
        denoise = denoiser(self.teacher, cond)
        if drawn.guidance is not None:
            denoise = guided(denoise, denoiser(self.teacher, cond.null()), drawn.guidance)
        start, end = (shifted_place(level.double(), self.shift) for level in (drawn.t, drawn.r))
        t = drawn.t
        for step in range(1, self.substeps + 1):
            place = start + (end - start) * step / self.substeps
            r = shifted_level(place, self.shift).to(z.dtype)
            share = align(r / t, z)  # z + (r - t) v, with v = (z - x_hat) / t
            z = share * z + (1 - share) * denoise(z, t, t)
            t = r
        return z
