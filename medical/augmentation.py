"""Random contrast, bias field and flips for training heads: the door to MONAI's transforms.

MONAI draws from numpy; each transform is seeded from the caller's generator, so a batch still
follows from one torch generator.
"""

from __future__ import annotations

import torch
from monai.transforms import RandAdjustContrast, RandBiasField, RandHistogramShift, Transform
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor


class Augmentation:
    """Random flips, gamma, intensity curve and bias field for one patch in [0, 1].

    Args:
        prob_flip: chance of mirroring each axis.
        prob_contrast: chance of a gamma change.
        prob_curve: chance of a random monotone intensity curve.
        prob_bias: chance of a smooth bias field.
    """

    def __init__(
        self,
        *,
        prob_flip: float = 0.5,
        prob_contrast: float = 0.3,
        prob_curve: float = 0.15,
        prob_bias: float = 0.15,
    ) -> None:
        self.prob_flip = prob_flip
        self.steps: list[tuple[float, Transform]] = [
            (prob_contrast, RandAdjustContrast(prob=1.0, gamma=(0.7, 1.5))),
            (prob_curve, RandHistogramShift(num_control_points=(4, 8), prob=1.0)),
            (prob_bias, RandBiasField(degree=2, coeff_range=(-0.15, 0.15), prob=1.0)),
        ]

    def apply(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the patch (D, H, W) varied at random; background stays near zero."""
        u = torch.rand(3 + len(self.steps), generator=generator, dtype=torch.float64).tolist()
        dims = [axis for axis in range(3) if u[axis] < self.prob_flip]
        x = x.flip(dims) if dims else x
        for chance, (prob, transform) in zip(u[3:], self.steps, strict=True):
            if chance < prob:
                seed = int(torch.randint(2**31 - 1, (), generator=generator))
                transform.set_random_state(seed)  # type: ignore[attr-defined]
                x = convert_to_tensor(transform(x[None]))[0]  # type: ignore[operator]
        return x
