"""A result lies where its scan lies: seen from the scanner, not from the formula."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medical.files.volume import Volume, finer_grid
from medical.operations.verification import check_place

MM = (1.0, 1.0, 1.0)


def scan_with(spacing, shape):
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = (-80.0, 31.5, 7.0)
    return Volume(torch.zeros(shape), affine)


def on(grid):
    return Volume(torch.zeros(grid.shape), grid.affine)


@settings(max_examples=500)
@given(
    spacing=st.tuples(*[st.floats(0.97, 1.03) | st.floats(0.3, 6.0)] * 3),
    shape=st.tuples(*[st.integers(2, 320)] * 3),
    wanted=st.tuples(*[st.sampled_from([1.0, 0.5, 0.868]) | st.floats(0.4, 3.0)] * 3),
)
def test_an_axis_is_resampled_or_left_alone(spacing, shape, wanted):
    scan = Volume(torch.zeros(1, 1, 1).expand(shape), scan_with(spacing, (1, 1, 1)).affine)
    grid = finer_grid(scan, wanted)
    check_place(scan, Volume(torch.zeros(1, 1, 1).expand(grid.shape), grid.affine), wanted)
    for axis in range(3):
        if grid.shape[axis] == shape[axis]:
            assert grid.spacing_mm[axis] == scan.spacing_mm[axis]
            np.testing.assert_array_equal(grid.affine[:3, axis], scan.affine[:3, axis])
        else:
            assert grid.spacing_mm[axis] == wanted[axis]


def test_nearly_a_millimeter_keeps_every_voxel_in_its_place():
    scan = scan_with((1.00195, 1.00195, 4.0), (256, 256, 12))
    grid = finer_grid(scan, MM)
    assert grid.shape == (256, 256, 48)
    for corner in ((0, 0), (255, 0), (255, 255)):
        old = scan.affine @ [*corner, 5.5, 1]
        np.testing.assert_allclose(grid.affine @ [*corner, 23.5, 1], old, atol=1e-9)


def moved(affine, shape):
    affine[:3, 3] += 0.6 * affine[:3, 2]
    return affine, shape


def rounded(affine, shape):
    affine[:3, 0] /= np.linalg.norm(affine[:3, 0])
    return affine, shape


def shorter(affine, shape):
    return affine, (*shape[:2], shape[2] - 2)


def mirrored(affine, shape):
    affine[:3, 0] *= -1
    return affine, shape


@pytest.mark.parametrize("fault", [moved, rounded, shorter, mirrored])
def test_a_result_elsewhere_is_no_result(fault):
    scan = scan_with((1.00195, 1.0, 4.0), (256, 20, 12))
    grid = finer_grid(scan, MM)
    check_place(scan, on(grid), MM)
    affine, shape = fault(grid.affine.copy(), grid.shape)
    with pytest.raises(RuntimeError, match="restore the scan again"):
        check_place(scan, Volume(torch.zeros(shape), affine), MM)


def test_a_scan_handed_back_as_it_was_is_no_result():
    scan = scan_with((1.0, 1.0, 4.0), (20, 20, 12))
    with pytest.raises(RuntimeError, match="axis 2 of the result has 12 voxels of 4 mm"):
        check_place(scan, scan, MM)
