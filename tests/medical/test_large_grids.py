"""How much memory a large grid takes: arrays of its size, counted while it is worked on."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from core import arrays
from core.operations.linear_operators import project
from core.operations.moments import Moments
from medical.acquisition.intensity import IntensityScale, measure_scale, scale_of_all
from medical.acquisition.noise import estimate_noise
from medical.files.nifti import read_plain, write_volume
from medical.files.stored import stored_voxels
from medical.files.volume import FileHeader, Volume
from medical.operations.problem import prepare
from medical.operations.restoring import Drawn, Tiling, cover, finished
from medical.operations.verification import check_intensities
from medical.request import SuperResolutionRequest

SIDE = 96


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(arrays, "SLAB", 1 << 15)


def arrays_taken(work):
    """The most memory that was taken at once, in float32 arrays of the grid, and what was made."""
    tracemalloc.start()
    try:
        made = work()
        return tracemalloc.get_traced_memory()[1] / (4 * SIDE**3), made
    finally:
        tracemalloc.stop()


def head(depth=SIDE):
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in (SIDE, SIDE, depth)),
                                  indexing="ij"))  # fmt: skip
    inside = np.maximum(0.0, 1.0 - (places**2).sum(0))
    data = (1000 * inside).astype(np.float32)
    affine = np.diag([1.0, 1.0, SIDE / depth, 1.0])
    return Volume(data, affine, FileHeader(dtype="int16", slope=0.5))


def test_what_is_done_to_each_voxel_takes_one_array(tmp_path):
    volume, scale = head(), IntensityScale(0.0, 1000.0)
    for work in (scale.apply, scale.invert, scale.stretch):
        assert arrays_taken(lambda work=work: work(volume.data))[0] < 1.4
    assert arrays_taken(lambda: stored_voxels(volume.data, volume.header))[0] < 0.9  # int16
    path = tmp_path / "head.nii.gz"
    taken, _ = arrays_taken(lambda: write_volume(volume, path))
    assert taken < 1.9  # as it is read back
    taken, read = arrays_taken(lambda: read_plain(path))
    assert taken < 1.9
    assert np.abs(read.data - volume.data).max() <= 0.25
    scan = head(SIDE // 4)
    assert arrays_taken(lambda: check_intensities(scan, volume))[0] < 2.0


@pytest.mark.parametrize("measured", [measure_scale, scale_of_all])
def test_a_scale_is_measured_in_the_precision_of_the_scan(measured):
    data = np.rint(head().data)
    taken, narrow = arrays_taken(lambda: measured(data))
    assert taken < 2.4  # in order, and what of it is positive
    assert narrow == measured(data.astype(np.float64))


def test_noise_is_estimated_slice_by_slice():
    noisy = head().data.transpose(2, 0, 1) / 1000
    noisy = noisy + np.random.default_rng(0).normal(0, 0.02, noisy.shape).astype(np.float32)
    taken, found = arrays_taken(lambda: estimate_noise(noisy))
    assert found == pytest.approx(0.02, rel=0.15)
    assert taken < 9  # a tenth of the squares of tissue, 25 numbers each; 40 arrays if all


def test_an_estimate_is_held_to_the_scan_in_the_room_of_one_more():
    scan = head(SIDE // 4)
    request = SuperResolutionRequest(scan="head.nii.gz", spacing_mm=(1.0, 1.0, 1.0))
    problem = prepare(scan, request)
    estimate = problem.back_projection()
    problem.operator.pseudo_inverse  # noqa: B018
    taken, held = arrays_taken(lambda: project(estimate, problem.operator, problem.scan))
    moved = problem.operator.invert(problem.scan - problem.operator.apply(estimate))
    assert np.array_equal(held, estimate + moved)
    assert taken < 1.6


def restored():
    """What is taken after the samples are drawn: the result, how sure it is, both as in files."""
    scan = head(SIDE // 4)
    request = SuperResolutionRequest(scan="head.nii.gz", spacing_mm=(1.0, 1.0, 1.0), samples=1)
    problem = prepare(scan, request)
    base = problem.back_projection()
    problem.width, problem.operator.pseudo_inverse  # noqa: B018  what is known of the scan

    def drawn():
        moments = Moments(*(np.zeros((1, *base.shape), np.float32) for _ in range(2)))
        return Drawn(base.copy(), moments, cover(base, Tiling()))

    return arrays_taken(lambda: finished(scan, request, problem, drawn()))


def test_a_restoration_ends_with_few_arrays_beside_the_two_that_it_hands_back():
    # types are checked around every call here, which holds arguments longer than a call does
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4.6


if __name__ == "__main__":
    arrays.SLAB = 1 << 15
    taken, made = restored()
    assert made.mean.shape == (SIDE, SIDE, SIDE)
    sys.stdout.write(str(taken))
