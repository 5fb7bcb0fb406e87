"""The runner's noise is that of torch, whatever the shape, seed and sample."""

import numpy as np
import pytest

from core.runner.noise import noise
from core.runner.walks import dpmpp_2m, flow_map, shifted
from core.sampling import samplers, schedules
from core.seeds import noise as noise_of_torch


@pytest.mark.parametrize("shape", [(3, 4, 16, 16), (1, 5, 33, 7), (1, 1, 1, 17), (1, 1, 1, 16)])
@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_the_same_seed_gives_the_same_noise_as_torch(shape, seed):
    ours = noise(shape, seed, sample=1, antithetic=True)
    theirs = noise_of_torch(shape, seed, sample=1, antithetic=True).numpy()
    assert ours.dtype == theirs.dtype
    assert np.abs(ours - theirs).max() < 2e-6  # cosines and logarithms differ in their last bits
    assert np.abs(ours - noise(shape, seed)).max() > 1


@pytest.mark.parametrize(("ours", "theirs"), [(flow_map, "flow_map"), (dpmpp_2m, "dpmpp_2m")])
def test_walks_go_where_those_of_torch_go(ours, theirs):
    import torch

    z = torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0))

    def denoise(z, t, r):
        return 0.5 * z - 0.1 * t + 0.2 * r

    levels = schedules.shifted(5, shift=8.0)
    assert np.array_equal(shifted(5, 8.0), levels.numpy())
    want = samplers.SAMPLERS[theirs].walk(denoise, z, levels).numpy()
    assert np.abs(ours(denoise, z.numpy(), shifted(5, 8.0)) - want).max() < 1e-6
