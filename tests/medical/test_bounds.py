"""Whatever a scan holds and whatever is told of it: a result inside its bounds, or a refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.acquisition.intensity import measure_scale
from medical.files.stored import as_stored
from medical.files.volume import FileHeader, Volume, finer_grid
from medical.operations.problem import prepare
from medical.operations.remarks import remarks
from medical.operations.restoring import Tiling
from medical.operations.super_resolve import super_resolve
from medical.operations.super_resolve_mri import SuperResolveMRI
from medical.operations.verification import check_intensities, check_restored
from medical.request import SuperResolutionRequest
from tests.medical.test_super_resolve import StandIn, head

SMALL = Tiling(size=(16, 16, 16), overlap=(4, 4, 4))
NETWORK = StandIn(0.9)

SPANS = {
    "plane": st.floats(1.0, 2.0),
    "pitch": st.floats(1.6, 6.0),
    "width": st.floats(0.6, 1.5),
    "profile": st.sampled_from(["gaussian", "box"]),
    "noise": st.floats(0.0, 0.04),
    "outlier": st.none() | st.integers(-32768, 32767),
    "place": st.tuples(*[st.floats(0.0, 0.99)] * 3),
    "border": st.integers(0, 3),
    "seed": st.integers(0, 99),
}
TOLD = {
    "slice_thickness_mm": st.just(0.0) | st.floats(0.5, 14.0),
    "slice_gap_mm": st.just(0.0),
    "noise_std": st.sampled_from([-1.0, 0.0, 0.02]),
    "profile": st.sampled_from(["gaussian", "box"]),
}
PLAIN = {"plane": 1.0, "pitch": 4.0, "width": 1.0, "profile": "gaussian", "noise": 0.0,
         "outlier": None, "place": (0.1, 0.1, 0.2), "border": 0, "seed": 0}  # fmt: skip
UNTOLD = {"slice_thickness_mm": 0.0, "slice_gap_mm": 0.0, "noise_std": -1.0, "profile": "gaussian"}
KINDS = {
    "outliers": ({"outlier": st.integers(-32768, 32767), "place": SPANS["place"],
                  "border": st.integers(0, 8)}, {}),
    "planes": ({"plane": SPANS["plane"], "pitch": SPANS["pitch"]}, {}),
    "noise": ({"noise": SPANS["noise"], "seed": st.integers(0, 2**31)},
              {"noise_std": st.sampled_from([-1.0, 0.0]) | st.floats(0.0, 0.1)}),
    "profiles": ({"width": st.floats(0.3, 2.0), "profile": SPANS["profile"],
                  "pitch": SPANS["pitch"]}, {"profile": TOLD["profile"]}),
    "gaps": ({"width": st.floats(0.3, 1.0), "pitch": SPANS["pitch"]},
             {"slice_thickness_mm": TOLD["slice_thickness_mm"],
              "slice_gap_mm": st.floats(0.0, 6.0)}),
}  # fmt: skip


def drawn(spans, usual):
    """All of what is usual, drawn from their spans where they are named there."""
    return st.fixed_dictionaries({key: st.just(value) for key, value in usual.items()} | spans)


def scanned(*, plane, pitch, width, profile, noise, outlier, place, border, seed):
    truth = head((24, 26, 36))
    count = tuple(round(n / plane) for n in truth.shape[:2]), int(36 / pitch)
    sampling = SliceSampling(plane, profile="band") if count[0] < truth.shape[:2] else None
    axes = (sampling, sampling, SliceSampling(width * pitch, pitch - width * pitch, profile))
    shape = (*(count[0] if sampling else truth.shape[:2]), count[1])
    grid = Acquisition(axes).on_grid(truth.shape, (1.0, 1.0, 1.0), shape)
    data = grid.operator().apply(truth.data)
    generator = torch.Generator().manual_seed(seed)
    data = (data + 800 * noise * torch.randn(data.shape, generator=generator)).abs()
    if outlier is not None:
        voxel = tuple(int(share * size) for share, size in zip(place, data.shape, strict=True))
        data[slice(border) if border else voxel] = outlier
    affine = np.diag([plane if sampling else 1.0, plane if sampling else 1.0, pitch, 1.0])
    return Volume(data.round(), affine, FileHeader(dtype="int16"))


def _check(scan, words):
    asked = SuperResolutionRequest(scan="scan.nii", samples=1, steps=1, **words)
    spoiled = scanned(**scan)
    try:
        result = super_resolve(spoiled, asked, NETWORK, tiling=SMALL)
    except ValueError as refusal:
        assert "slice_" in str(refusal)  # noqa: PT017
        assert words["slice_thickness_mm"] or words["slice_gap_mm"]
        return
    scale = measure_scale(spoiled.data)
    held = scale.invert(scale.apply(spoiled.data))
    found = as_stored(result.mean.data, result.mean.header)
    assert float(found.min()) >= float(held.min()) - 1
    assert float(found.max()) <= float(held.max()) + 1


@settings(max_examples=50)
@given(scan=drawn(SPANS, PLAIN), words=drawn(TOLD, UNTOLD))
def test_a_result_inside_its_bounds_or_a_refusal(scan, words):
    _check(scan, words)


@pytest.mark.slow
@settings(max_examples=500)
@given(scan=drawn(SPANS, PLAIN), words=drawn(TOLD, UNTOLD))
def test_of_500_each_is_inside_its_bounds_or_refused(scan, words):
    _check(scan, words)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_of_500_of_a_kind_each_is_inside_its_bounds_or_refused(kind):
    spans, told = KINDS[kind]

    @settings(max_examples=500)
    @given(scan=drawn(spans, PLAIN), words=drawn(told, UNTOLD))
    def check(scan, words):
        _check(scan, words)

    check()


@pytest.mark.parametrize("value", [-32768, -1024, 32767])
def test_one_damaged_voxel_changes_nothing_elsewhere(value):
    asked = SuperResolutionRequest(scan="s", samples=1, steps=1, noise_std=0.0)
    clean = super_resolve(scanned(**PLAIN), asked, NETWORK, tiling=SMALL).mean.data
    spoiled = super_resolve(scanned(**PLAIN | {"outlier": value}), asked, NETWORK, tiling=SMALL)
    elsewhere = (spoiled.mean.data - clean)[4:, 4:, 16:]
    assert float(elsewhere.abs().max()) <= 16
    assert spoiled.remarks[0].startswith("1 voxel ")


def test_what_was_found_and_assumed_is_said():
    scan = scanned(**PLAIN | {"noise": 0.03})
    asked = SuperResolutionRequest(scan="s")
    lines = remarks(prepare(scan, asked), asked)
    assert lines[-2].startswith("slice profile: nobody told it and the scan does not show it (few")
    told_all = SuperResolutionRequest(scan="s", noise_std=0.02, slice_thickness_mm=4.0)
    assert all(x.startswith("unlike training") for x in remarks(prepare(scan, told_all), told_all))


def test_the_page_of_a_run_tells_them_too():
    asked = SuperResolutionRequest(scan="s", samples=1, steps=1)
    made = super_resolve(scanned(**PLAIN), asked, NETWORK, tiling=SMALL)
    shown = SuperResolveMRI().shown(asked, made.record())
    assert made.remarks
    assert shown["remarks"] == "; ".join(made.remarks)


def test_records_of_before_mean_what_they_meant():
    old = SuperResolutionRequest.remembered({"scan": "s", "noise_std": 0.0})
    assert (old.edition, SuperResolutionRequest(scan="s").edition) == (1, 5)
    scan = scanned(**PLAIN | {"outlier": -32768, "plane": 1.5})
    problem = prepare(scan, old)
    assert problem.scale.low == -32768
    assert problem.acquisition.axes[0] == SliceSampling(1.5)
    assert remarks(problem, old) == ()


@pytest.mark.parametrize(
    "fault",
    [lambda x: x + 60, lambda x: 0.4 * x, lambda x: torch.where(x > 0.9 * x.max(), 3 * x, x)],
)
def test_a_result_unlike_its_scan_gets_no_name(fault):
    scan = scanned(**PLAIN)
    good = head((24, 26, 36))
    good = good.with_data(good.data.clamp(0, float(scan.data.max())))
    check_intensities(scan, good)
    with pytest.raises(RuntimeError, match="keeps mean and spread"):
        check_intensities(scan, good.with_data(fault(good.data)))


def test_beside_what_is_protected_a_result_is_held_against_its_scan():
    scan, truth = scanned(**PLAIN), head((24, 26, 36)).data
    good = Volume(truth, finer_grid(scan, (1.0, 1.0, 1.0)).affine)
    data = truth.clamp(0, float(scan.data.max()))
    data[:6] *= 1.5  # the scan itself, interpolated, may leave its range
    mask = torch.zeros(truth.shape)
    mask[:6] = 1
    std, asked = good.with_data(0 * data), SuperResolutionRequest(scan="s", protect="m")
    given = {"protect": good.with_data(mask)}
    check_restored(scan, good.with_data(data), std, asked, **given)
    for value in (3 * float(scan.data.max()), -500.0):
        spoiled = data.clone()
        spoiled[12, 13, 18] = value
        with pytest.raises(RuntimeError, match="keeps mean and spread"):
            check_restored(scan, good.with_data(spoiled), std, asked, **given)
