"""Whole heads at 2 mm on one grid, as a network sees and draws them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.families.table import denoiser
from core.families.walking import reachable, usual_walk
from core.networks.conditioned import ConditionedNetwork
from core.sampling.schedules import linear
from core.seeds import noise
from core.tensors import Volumes
from medical.anatomy.segmenting import GRID_MM, Upright
from medical.files.privacy import DRAWN_HEAD
from medical.files.volume import FileHeader, Volume

SHAPE = (80, 96, 80)
"""Voxels towards right, anterior and superior: 160 x 192 x 160 mm."""
MEAN, SPREAD = 0.2, 0.3
"""Of intensities over the grid, the head's brightest at 1."""
STEPS = 16


def on_grid(head: Volume) -> Tensor:
    """A head turned upright, at 2 mm in the middle of the grid, (1, X, Y, Z) as networks see it.

    Raises:
        Refusal: Nothing is in it, or it is wider than a head can be.
    """
    image = Upright.of(head).image
    found = np.argwhere(image > 0)
    middle = (found.min(0) + found.max(0) + 1) // 2
    inside = np.zeros(SHAPE, np.float32)
    here, there = _overlap(image.shape, middle)
    inside[here] = image[there]
    return (torch.from_numpy(inside)[None] - MEAN) / SPREAD


def _overlap(
    shape: tuple[int, ...], middle: NDArray[np.int64]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of the grid that an image fills, whose ``middle`` lies in the grid's, and which."""
    here, there = [], []
    for size, length, center in zip(SHAPE, shape, middle.tolist(), strict=True):
        first = center - size // 2
        low, high = max(0, first), min(length, first + size)
        here.append(slice(low - first, high - first))
        there.append(slice(low, high))
    return tuple(here), tuple(there)


@torch.inference_mode()
def draw(network: ConditionedNetwork, seed: int, *, steps: int = STEPS) -> Volumes:
    """(1, 1, X, Y, Z) a head that nobody has, as networks see it.

    Args:
        network: Taught whole heads, as they are or in latents.
        seed: Decides everything.
        steps: Of the sampler of the network's family.
    """
    start = noise(network.noise_shape((1, *SHAPE)), seed).to(network.device)
    levels = reachable(network, linear(steps))
    drawn = usual_walk(network, seed)(denoiser(network), start, levels)
    return network.pixels(drawn, SHAPE).float()


def draw_head(network: ConditionedNetwork, seed: int, *, steps: int = STEPS) -> Volume:
    """The same as a volume that says of itself that it is drawn, intensities from 0 to about 1."""
    data = (draw(network, seed, steps=steps)[0, 0].cpu() * SPREAD + MEAN).clamp_min(0)
    affine = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    affine[:3, 3] = -GRID_MM * (np.array(SHAPE) - 1) / 2
    return Volume(data, affine, FileHeader(description=DRAWN_HEAD))
