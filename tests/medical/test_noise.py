"""Noise is found from the scan alone, taken away, and never strengthened on the way to 1 mm."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medical.acquisition.acquisition import (
    AxisGrid,
    SliceSampling,
    back_projection_matrix,
    degradation_matrix,
)
from medical.acquisition.noise import denoised, estimate_noise
from medical.acquisition.noise_there import denoised_there


def tissue(shape=(12, 64, 64), seed=0):
    """Smooth regions with edges, in [0.3, 1], no air."""
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.normal(size=shape), (1, 4, 4))
    levels = np.digitize(rough / rough.std(), [-0.7, 0.0, 0.7])
    smooth = 0.35 + 0.2 * ndimage.gaussian_filter(levels.astype(float), (0, 0.7, 0.7))
    return torch.from_numpy(smooth).float()


def noisy(x, std, seed=1):
    return x + std * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("std", [0.01, 0.02, 0.03])
def test_noise_is_found(std):
    found = estimate_noise(noisy(tissue(), std))
    assert found == pytest.approx(std, rel=0.2)


def test_a_clean_scan_shows_hardly_any():
    found = estimate_noise(tissue())
    assert found is not None
    assert found < 0.003


def test_too_little_tissue_says_nothing():
    assert estimate_noise(torch.zeros(4, 32, 32)) is None
    assert estimate_noise(torch.rand(4, 3, 32)) is None


@pytest.mark.parametrize(("std", "share"), [(0.01, 0.85), (0.03, 0.7)])
def test_much_of_the_noise_goes_and_the_anatomy_stays(std, share):
    x = tissue()
    left = denoised(noisy(x, std), std) - x
    assert float(left.std()) < share * std
    assert abs(float(left.mean())) < 0.05 * std
    assert denoised(x, 0.0) is x


@settings(max_examples=50)
@given(count=st.integers(12, 200), factor=st.floats(1.02, 3.0))
def test_the_way_to_the_finer_grid_never_strengthens_noise(count, factor):
    voxels = round(count * factor)
    grid = AxisGrid(voxels, 1.0, count, SliceSampling(factor, profile="band"))
    there, back = back_projection_matrix(grid), degradation_matrix(grid)
    torch.testing.assert_close(back @ there, torch.eye(count, dtype=torch.float64))
    ones = torch.ones(count, dtype=torch.float64)
    torch.testing.assert_close(there @ ones, torch.ones(voxels, dtype=torch.float64))
    noise = torch.randn(count, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float((there @ noise).std()) < 1.1


def test_waves_that_a_scan_can_hold_come_back_exactly():
    grid = AxisGrid(120, 1.0, 100, SliceSampling(1.2, profile="band"))
    place = grid.slice_coordinates()
    wave = np.cos(np.pi * 70 / 100 * (place + 0.5))
    scan = degradation_matrix(grid).numpy() @ wave
    np.testing.assert_allclose(scan, np.cos(np.pi * 70 / 100 * (np.arange(100) + 0.5)), atol=1e-9)
    np.testing.assert_allclose(back_projection_matrix(grid).numpy() @ scan, wave, atol=1e-9)


@pytest.mark.parametrize("least", [0.0, 5e-214, 1e-24])
def test_noise_too_small_to_count_leaves_a_scan_as_it_is(least):
    scan = tissue((6, 24, 24)) - 0.35
    assert torch.equal(denoised(scan, least), scan)


@pytest.mark.parametrize("shape", [(12, 64, 64), (7, 33, 21), (4, 9, 8)])
def test_a_device_cleans_as_numpy_does(shape):
    scan = noisy(tissue()[tuple(map(slice, shape))], 0.03)
    torch.testing.assert_close(denoised_there(scan, 0.03), denoised(scan, 0.03), atol=2e-6, rtol=0)
