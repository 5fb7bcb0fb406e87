"""The restorer of y = A x + n: K samples that explain a measurement, their mean and their spread.

What was measured may be thick slices, some frames, what lies outside a hole, or a smaller clip:
only the operator differs. Any family's denoiser and any sampler take part; each estimate of a
walk is projected onto what explains the measurement. Samples are folded into a running mean and
variance, so memory does not grow with K.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from core.operations.linear_operators import LinearOperator, consistent
from core.operations.moments import Moments, folded
from core.sampling.path import Denoise
from core.sampling.samplers import OnStep, Walk, ignore
from core.seeds import noise
from core.tensors import Levels


@dataclass(frozen=True, eq=False)
class Measurement:
    """What is known of x.

    >>> import torch
    >>> from core.operations.linear_operators import MaskOperator
    >>> Measurement(MaskOperator(torch.ones(1)), torch.zeros(1)).weight
    1.0

    Attributes:
        operator: A.
        values: y, (1, C, D', H', W'), on the device that draws.
        weight: 1 obeys it exactly, less leaves room for its noise.
    """

    operator: LinearOperator
    values: Tensor
    weight: float = 1.0


def restore(
    denoisers: Sequence[Denoise],
    known: Measurement,
    shape: tuple[int, int, int, int],
    *,
    seed: int,
    levels: Levels,
    walk: Walk,
    samples: int = 1,
    on_step: OnStep = ignore,
) -> Moments:
    """Mean and standard deviation over samples that explain a measurement (Welford's update).

    Args:
        denoisers: Of the network, told what it needs; of several the samples take turns.
        known: What was measured.
        shape: (C, D, H, W) of x.
        seed: Decides the noise of all samples; each second one is the opposite of its neighbor.
        levels: That the walk visits, falling to 0.
        walk: The sampler.
        samples: How many are drawn.
        on_step: Told of the steps of all samples, one after the other.
    """
    obedient = [
        consistent(denoise, known.operator, known.values, weight=known.weight)
        for denoise in denoisers
    ]

    def drawn() -> Iterator[Tensor]:
        for k in range(samples):

            def report(i: int, steps: int, estimate: Any, k: int = k) -> None:
                on_step(k * steps + i, samples * steps, estimate)

            # nobody else holds the noise, so that its memory goes after the first step
            yield walk(
                obedient[k % len(obedient)],
                noise(shape, seed, sample=k, antithetic=True).to(known.values.device),
                levels,
                on_step=report,
            )[0].cpu()

    return folded(drawn(), samples)
