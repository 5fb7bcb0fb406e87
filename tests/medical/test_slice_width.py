"""The width of slices is found from the scan alone, or it is said why not."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.acquisition.sampling import Profile
from medical.acquisition.slice_width import DOUBTFUL, detail_ratios, estimate_width
from medical.files.volume import FileHeader, Volume
from medical.operations.problem import prepare
from medical.operations.remarks import remarks
from medical.request import SuperResolutionRequest

DATA = Path(os.environ.get("LAMINA_DATA", Path(__file__).parents[3] / "shared" / "data"))
UNSEEN = sorted((DATA / "t1-heads").glob("sub-*/anat/sub-*_T1w.nii.gz"))[5::6]


def detailed(shape=(64, 64, 96), seed=0):
    """As detailed one way as another."""
    rough = np.random.default_rng(seed).normal(size=shape)
    waves = np.zeros(shape)
    for s in (0.7, 1.5, 3, 6):
        waves += ndimage.gaussian_filter(rough, s, mode="wrap") * s**1.5
    data = torch.from_numpy(500 + 150 * waves / waves.std()).float().clamp(1, 1000)
    return Volume(data, np.eye(4), FileHeader(dtype="int16"))


def scanned(share, pitch=4.0, noise=0.0, volume=None, profile: Profile = "gaussian"):
    volume = volume or detailed()
    width = share * pitch
    scan = acquire(volume, Acquisition.slices(2, SliceSampling(width, pitch - width, profile)))
    dice = torch.Generator().manual_seed(1)
    return scan.with_data(scan.data + noise * torch.randn(scan.data.shape, generator=dice))


def ratios(scan, pitch=4.0, noise=0.0):
    return detail_ratios(scan.data.permute(2, 0, 1) / 1000, pitch, (1.0, 1.0), noise)


def test_slices_as_wide_as_those_cut_in_plane_show_as_much_detail():
    assert ratios(scanned(1.0)) == pytest.approx([0, 0, 0], abs=0.12)
    wider, thinner = ratios(scanned(1.3)), ratios(scanned(0.8))
    assert max(wider) < -0.15
    assert min(thinner) > 0.15


def test_noise_is_taken_off():
    clean, noisy = ratios(scanned(1.0)), ratios(scanned(1.0, noise=20), noise=0.02)
    assert noisy == pytest.approx(clean, abs=0.1)
    assert ratios(scanned(1.0, noise=300), noise=0.3) == []


def problem(scan, **asked):
    return prepare(scan, SuperResolutionRequest(scan="s", **asked))


@pytest.mark.parametrize("share", [0.8, 1.0, 1.3])
def test_the_estimate_follows_the_truth_and_is_what_the_scan_is_taken_for(share):
    found = problem(scanned(share))
    assert found.width is not None
    assert found.width.share == pytest.approx(share, rel=0.25)  # this is no head
    sampling = found.acquisition.axes[2]
    assert sampling is not None
    assert sampling.thickness_mm == pytest.approx(4 * found.width.share)
    assert sampling.pitch_mm == pytest.approx(4)
    (line,) = [x for x in remarks(found, SuperResolutionRequest(scan="s")) if "profile" in x]
    assert "estimated from the scan to 12 %" in line


@pytest.mark.parametrize("share", [1.0, 1.2, 1.4])
def test_a_box_is_wider_than_the_gaussian_it_is_taken_for_and_the_remark_says_how_wide(share):
    request = SuperResolutionRequest(scan="s", profile="box", noise_std=0.0)
    found = prepare(scanned(share, profile="box"), request)
    sampling = found.acquisition.axes[2]
    assert sampling is not None
    assert 0.85 < sampling.thickness_mm / (4 * share) < 1.05  # 0.91 to 0.97 of this volume
    (line,) = [x for x in remarks(found, request) if "profile" in x]
    assert f"{100 * sampling.thickness_mm / 4:.0f} % of the slices' distance" in line
    assert "boxes were found 7 % thinner" in line


@pytest.mark.parametrize(
    "told", [{"slice_thickness_mm": 3.0}, {"slice_gap_mm": 1.0}, {"edition": 2}]
)
def test_what_is_told_counts(told):
    found = problem(scanned(1.3), **told)
    assert found.width is None
    sampling = found.acquisition.axes[2]
    assert sampling is not None
    assert sampling.thickness_mm == (4 if "edition" in told else 3)


def test_of_a_gap_alone_the_thickness_that_it_leaves_is_said():
    request = SuperResolutionRequest(scan="s", slice_gap_mm=1.0)
    (line,) = [x for x in remarks(problem(scanned(1.0), slice_gap_mm=1.0), request) if "3 mm" in x]
    assert line.startswith("slice profile: ")
    assert "the gap of 1 mm" in line


def sampled(*pitches_mm):
    """Detail of which k-space was cropped along each axis."""
    axes = [None if p == 1 else SliceSampling(p, profile="band") for p in pitches_mm]
    return acquire(detailed((48, 48, 48)), Acquisition((axes[0], axes[1], axes[2])))


@pytest.mark.parametrize("pitches", [(2, 2, 1), (1, 2, 2), (2, 2, 2), (2.04, 2, 1)])
def test_where_the_longest_axes_are_alike_no_axis_is_taken_for_slices(pitches):
    found = problem(sampled(*pitches))
    taken = [axis and (axis.pitch_mm, axis.profile) for axis in found.acquisition.axes]
    assert taken == [None if p == 1 else (pytest.approx(p, rel=0.03), "band") for p in pitches]
    assert found.width is None
    said = [x for x in remarks(found, SuperResolutionRequest(scan="s")) if "profile" in x]
    assert len(said) == 1
    assert "taken for a crop of k-space" in said[0]


def test_such_a_scan_is_explained_by_its_truth_where_it_is_not_taken_for_slices():
    truth, scan = detailed((48, 48, 48)), sampled(2, 2, 1)
    left = []
    for edition in (4, 5):
        found = problem(scan, edition=edition, noise_std=0.0)
        grid = found.acquisition.on_grid(truth.shape, (1.0, 1.0, 1.0), scan.shape)
        left.append(float((grid.operator().apply(truth.data) - scan.data).square().mean()))
    assert left[1] < 1e-4 * left[0]


def test_slices_stay_slices_where_the_plane_becomes_as_much_finer():
    found = problem(scanned(1.0), spacing_mm=(0.25, 0.25, 1.0))
    assert found.order[0] == 2
    assert [axis and axis.profile for axis in found.acquisition.axes] == [
        "band",
        "band",
        "gaussian",
    ]
    assert problem(scanned(1.0), spacing_mm=(0.25, 0.25, 1.0), edition=4).order[0] == 0


@pytest.mark.parametrize("told", [{"slice_thickness_mm": 3.0}, {"edition": 4}])
def test_such_a_scan_has_slices_if_told_so_or_by_an_earlier_edition(told):
    found = problem(sampled(2, 2, 1), **told)
    assert [axis and axis.profile for axis in found.acquisition.axes].count("gaussian") == 1


@pytest.mark.parametrize(
    ("scan", "doubt"),
    [
        (scanned(1.0, volume=detailed((64, 64, 40))), "few slices"),
        (scanned(1.0, pitch=1.5), "the plane hardly sharper"),
        (scanned(2.4), "slices of a usual width"),
    ],
)
def test_where_the_scan_does_not_show_it_this_is_said(scan, doubt):
    found = problem(scan)
    assert found.width is not None
    assert doubt in found.width.doubt
    assert (found.width.share, found.width.std) == (1.0, DOUBTFUL)
    assert found.acquisition == found.assumed
    (line,) = [x for x in remarks(found, SuperResolutionRequest(scan="s")) if "profile" in x]
    assert "the scan does not show it" in line


def test_a_plane_of_the_grid_is_needed():
    far = torch.rand(20, 12, 12)
    assert estimate_width(far, 4.0, (3.0, 3.0), noise_std=0.0).doubt
    assert estimate_width(torch.zeros(20, 64, 64), 4.0, (1.0, 1.0), noise_std=0.0).doubt


@pytest.mark.skipif(not UNSEEN, reason="no heads in LAMINA_DATA")
@pytest.mark.parametrize("pitch", [2.0, 4.0])
@pytest.mark.parametrize("share", [0.8, 1.16, 1.3])
def test_of_real_heads_the_width_is_found(pitch, share):
    from medical.files.nifti import read_volume

    off = []
    for path in UNSEEN[:2]:
        scan = scanned(share, pitch, volume=read_volume(path))
        found = problem(scan, noise_std=0.0).width
        assert found is not None
        off.append(math.log(found.share / share))
    assert float(np.mean(np.abs(off))) < 0.12
