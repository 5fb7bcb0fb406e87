"""Averages of an arm's weights of any profile, made after it was trained.

The weights are kept every few steps. An average over the power profile, where those of step s
count as s^gamma, is then a weighted sum of what was kept (Karras et al. 2024; they keep running
averages instead, as their networks are too large for this).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from torch import Tensor, nn

EVERY, DENSE = 8, 0.05
"""Weights are kept every so many steps, and in the last share of a run after each."""
LAST, RUNNING = "last step", "running average"
STDS = (0.02, 0.05, 0.1, 0.15, 0.2)
"""Widths of the profiles: their standard deviation, as share of all steps."""


def exponent(std: float) -> float:
    """The gamma of the power profile of such a width.

    The deviation of a profile is (gamma + 1)^(1/2) / ((gamma + 2) (gamma + 3)^(1/2)).
    """
    inverse = std**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


@torch.no_grad()
def take(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Write weights into the network, in its own dtype."""
    for name, parameter in network.named_parameters():
        parameter.copy_(weights[name])


class Kept:
    """Weights of a run as they were after some of its steps, in a folder.

    Args:
        folder: Where they are kept; a run that goes on finds those of before.
        steps: Of the whole run.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps

    def keep(self, network: nn.Module, step: int) -> None:
        """Keep the weights after this step, from 1, if they are due; always after the last one."""
        if step % EVERY == 0 or step > self.steps - DENSE * self.steps:
            self.folder.mkdir(exist_ok=True)
            weights = {n: p.detach().contiguous() for n, p in network.named_parameters()}
            save_file(weights, self.folder / f"{step:08d}.safetensors")

    def averages(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The average of each width, by its name, in float32."""
        paths = sorted(self.folder.glob("*.safetensors"))
        steps = np.array([int(path.stem) for path in paths], dtype=float)
        for std in STDS:
            weights = np.diff(steps, prepend=0.0) * (steps / steps[-1]) ** exponent(std)
            mean: dict[str, Tensor] = {}
            for path, share in zip(paths, weights / weights.sum(), strict=True):
                for name, value in load_file(path).items():
                    zero = torch.zeros_like(value, dtype=torch.float32)
                    mean[name] = mean.get(name, zero).add(value.float(), alpha=float(share))
            yield str(std), mean

    def forget(self) -> None:
        """Remove what was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
