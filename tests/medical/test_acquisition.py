"""Slices as weighted means, back-projection as one matrix, and the affine of the scan."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medical.acquisition.acquisition import (
    Acquisition,
    AxisGrid,
    SliceSampling,
    acquire,
    back_projection_matrix,
    cubic_matrix,
    degradation_matrix,
    evidence,
)
from medical.files.volume import Volume, finer_grid
from medical.operations.baselines import back_projection, cubic

samplings = st.builds(
    SliceSampling,
    thickness_mm=st.floats(1.4, 7.0),
    gap_mm=st.floats(0.0, 2.0),
    profile=st.sampled_from(["gaussian", "box"]),
    phase_mm=st.floats(-0.5, 0.5),
)
grids = st.builds(
    lambda sampling, n, h: AxisGrid(n, h, max(1, int(n * h / sampling.pitch_mm)), sampling),
    samplings,
    st.integers(20, 60),
    st.floats(0.7, 1.2),
)


@settings(max_examples=80)
@given(grid=grids)
def test_a_flat_head_gives_flat_slices_and_comes_back_flat(grid):
    ones = torch.ones(grid.num_voxels, dtype=torch.float64)
    slices = degradation_matrix(grid) @ ones
    torch.testing.assert_close(slices, torch.ones_like(slices))
    torch.testing.assert_close(cubic_matrix(grid) @ slices, ones)
    torch.testing.assert_close(back_projection_matrix(grid) @ slices, ones)


@settings(max_examples=40)
@given(grid=grids)
def test_the_exact_inverse_explains_every_scan(grid):
    operator = (
        Acquisition.slices(0, grid.sampling)
        .on_grid((grid.num_voxels, 2, 2), (grid.spacing_mm, 1.0, 1.0), (grid.num_slices, 2, 2))
        .operator()
    )
    scan = torch.rand(grid.num_slices, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(operator.apply(operator.invert(scan)), scan, rtol=1e-6, atol=1e-7)


def test_a_gaussian_slice_has_its_thickness_at_half_height():
    grid = AxisGrid(81, 0.5, 9, SliceSampling(4.0, 0.5))
    row = degradation_matrix(grid)[4]
    center = 40
    assert int(row.argmax()) == center
    assert float(row[center + 4] / row[center]) == pytest.approx(0.5)  # 2 mm off the center
    assert float(row[center - 4] / row[center]) == pytest.approx(0.5)
    width = math.sqrt(float((row * (torch.arange(81) - center) ** 2).sum())) * 0.5
    assert width == pytest.approx(4.0 / 2.3548, rel=0.01)


def test_a_box_slice_is_the_plain_mean_and_a_gap_is_never_seen():
    grid = AxisGrid(12, 1.0, 3, SliceSampling(4.0, profile="box"))
    x = torch.rand(12, dtype=torch.float64)
    torch.testing.assert_close(degradation_matrix(grid) @ x, x.reshape(3, 4).mean(1))
    gapped = degradation_matrix(AxisGrid(15, 1.0, 3, SliceSampling(3.0, 2.0, profile="box")))
    assert torch.nonzero(gapped.sum(0) < 1e-9).flatten().tolist() == [0, 4, 5, 9, 10, 14]


def test_slices_are_centered_and_a_phase_shifts_them():
    grid = AxisGrid(40, 1.0, 10, SliceSampling(4.0))
    place = torch.arange(40, dtype=torch.float64)
    inner = (degradation_matrix(grid) @ place)[2:-2]
    torch.testing.assert_close(inner, 4.0 * torch.arange(2, 8).double() + 1.5, atol=2e-3, rtol=0)
    moved = AxisGrid(40, 1.0, 10, SliceSampling(4.0, phase_mm=1.25))
    shifted = (degradation_matrix(moved) @ place)[2:-2]
    torch.testing.assert_close(shifted, inner + 1.25, atol=5e-3, rtol=0)


def test_cubic_is_scipys_spline():
    grid = AxisGrid(57, 0.9, 14, SliceSampling(3.1, 0.4, phase_mm=0.3))
    y = np.random.default_rng(0).random(14)
    expected = ndimage.map_coordinates(y, [grid.slice_coordinates()], order=3, mode="nearest")
    np.testing.assert_allclose(cubic_matrix(grid).numpy() @ y, expected, atol=1e-6)


def test_back_projection_is_the_iteration_it_stands_for():
    acquired = Acquisition.slices(2, SliceSampling(4.0)).on_grid((3, 4, 40), (1.0, 1.0, 1.0))
    scan = torch.rand(3, 4, 10, dtype=torch.float64)
    operator, upsample = acquired.operator(), acquired.cubic()
    x = upsample.apply(scan)
    for _ in range(12):
        x = x + upsample.apply(scan - operator.apply(x))
    torch.testing.assert_close(back_projection(scan, acquired), x)
    torch.testing.assert_close(operator.apply(x), scan, atol=1e-3, rtol=0)
    assert not torch.allclose(cubic(scan, acquired), x, atol=1e-2)


def test_evidence_is_one_at_slice_centers_and_falls_half_way():
    grid = AxisGrid(15, 1.0, 3, SliceSampling(5.0))
    expected = [0.2, 0.6, 1.0, 0.6, 0.2] * 3
    torch.testing.assert_close(evidence(grid), torch.tensor(expected, dtype=torch.float64))
    outside = AxisGrid(25, 1.0, 3, SliceSampling(5.0))
    assert evidence(outside)[:4].tolist() == [0.0] * 4


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("num", [24, 26])
def test_the_scan_lies_where_its_slices_lie(axis, num):
    shape = [5, 6, 7]
    shape[axis] = num
    affine = np.array([[0, -0.8, 0.6, 9], [1, 0, 0, 8], [0, 0.6, 0.8, 7], [0, 0, 0, 1.0]])
    coordinates = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = coordinates @ affine[:3, :3].T + affine[:3, 3]
    direction = affine[:3, axis]
    height = torch.from_numpy((world @ direction).astype(np.float32))
    # a head whose intensity is its place along the thick axis: slices must say their own place
    acquisition = Acquisition.slices(axis, SliceSampling(4.0, phase_mm=0.0))
    scan = acquire(Volume(height, affine), acquisition)
    index = [2, 2, 2]
    index[axis] = 3
    place = scan.affine @ [*index, 1]
    assert float(scan.data[tuple(index)]) == pytest.approx(float(place[:3] @ direction), abs=0.02)
    assert scan.spacing_mm[axis] == pytest.approx(4.0)
    if num == 24:
        grid = finer_grid(scan, (1.0, 1.0, 1.0))
        assert grid.shape == tuple(shape)
        np.testing.assert_allclose(grid.affine, affine, atol=1e-9)


def test_noise_follows_the_seed():
    head = Volume(torch.full((16, 16, 16), 0.5), np.eye(4))
    acquisition = Acquisition.slices(1, SliceSampling(2.0), noise_std=0.03)
    scan = acquire(head, acquisition, seed=3)
    assert torch.equal(scan.data, acquire(head, acquisition, seed=3).data)
    assert not torch.equal(scan.data, acquire(head, acquisition, seed=4).data)
    assert float(scan.data.std()) == pytest.approx(0.03, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"thickness_mm": 0.0}, "thickness_mm=0"),
        ({"thickness_mm": 2.0, "gap_mm": -2.0}, "gap_mm=-2"),
    ],
)
def test_impossible_slices_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        SliceSampling(**arguments)


def test_slices_beside_the_grid_are_refused():
    with pytest.raises(ValueError, match="slices lie outside the grid"):
        degradation_matrix(AxisGrid(8, 1.0, 9, SliceSampling(2.0, profile="box")))
