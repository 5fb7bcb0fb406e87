"""Data whose answers are known exactly, and networks small enough to test in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from core.networks.unet import SpatioTemporalUNet
from core.tensors import align


@dataclass(frozen=True)
class Gaussian:
    """Voxels ~ N(mean, spread^2), independent: everything about their path has a closed form."""

    mean: float = 0.3
    spread: float = 0.25

    def std(self, t):
        return ((1 - t) ** 2 * self.spread**2 + t**2) ** 0.5

    def at(self, z, t, r):
        """Where the exact ODE takes z from level t to level r."""
        t, r = align(t, z), align(r, z)
        ratio = self.std(r) / self.std(t)
        return (1 - r) * self.mean + ratio * (z - (1 - t) * self.mean)

    def posterior(self, z, t):
        """E[x | z_t = z]."""
        t = align(t, z)
        gain = (1 - t) * self.spread**2 / self.std(t) ** 2
        return self.mean + gain * (z - (1 - t) * self.mean)

    def average_velocity(self, z, t, r):
        """u(z, t, r), with its limit where t = r."""
        gap = align(t - r, z)
        jump = (z - self.at(z, t, r)) / torch.where(gap == 0, 1, gap)
        velocity = (z - self.posterior(z, t)) / align(t, z)
        return torch.where(gap == 0, velocity, jump)

    def denoise(self, z, t, r):
        """The exact ``Denoise``."""
        return z - align(t, z) * self.average_velocity(z, t, r)


@pytest.fixture
def gaussian():
    return Gaussian()


@pytest.fixture
def noise_field():
    """(2, 1, 8, 16, 16) float64: enough voxels to measure a standard deviation."""
    shape = (2, 1, 8, 16, 16)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def one_thread():
    """Sums of several threads need not be the same sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(seed: int = 0, **changes) -> SpatioTemporalUNet:
    settings = {
        "in_channels": 2,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "patch_size": (1, 2, 2),
        "down_strides": ((2, 2, 2),),
        "attention_levels": (False, True),
        "spatial_attention_levels": (False, True),
        "text_channels": 12,
        "head_dim": 16,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SpatioTemporalUNet(**(settings | changes))
        for weight in network.parameters():  # zero-initialized layers would hide mistakes
            if weight.ndim and not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
    return network.eval()


@pytest.fixture
def tiny():
    """A builder of tiny networks with every layer awake: ``tiny(**config)``."""
    return build
