"""Super-resolution with stand-in networks whose right answer is known."""

import numpy as np
import pytest
import torch

from core.networks.unet import SpatioTemporalUNet
from core.seeds import noise
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.baselines import back_projection, cubic
from medical.operations.problem import prepare
from medical.operations.residual import LEFT_OUT, RESIDUAL_SCALE
from medical.operations.restoring import Tiling, bounding_box
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from medical.training.presets import tiny

SMALL = Tiling(size=(16, 12, 12), overlap=(4, 4, 4))


class StandIn(SpatioTemporalUNet):
    """A network with x_hat = share * z, whatever it is told; counts its windows."""

    def __init__(self, share=0.0):
        super().__init__(
            in_channels=1,
            concat_channels=2,
            block_out_channels=(32,),
            layers_per_block=1,
            down_strides=(),
            attention_levels=(False,),
            spatial_attention_levels=(False,),
        )
        self.share, self.windows, self.conditions = share, 0, []

    def read(self, cond, batch):
        return None

    def forward(self, z, t, r=None, cond=None, memory=None):
        self.windows += len(z)
        self.conditions.append(cond)
        return (1 - self.share) * z / t


class Repeats(StandIn):
    """A network that answers with what it is shown beside the sample, and so in any mirror."""

    def forward(self, z, t, r=None, cond=None, memory=None):
        return (z - cond.concat[:, :1]) / t


class Leans(StandIn):
    """A network whose answer rises within each slice of four voxels, whatever it is shown."""

    def forward(self, z, t, r=None, cond=None, memory=None):
        rising = (torch.arange(z.shape[2]) % 4 - 1.5)[:, None, None]
        return (z - rising.expand_as(z)) / t


def head(shape=(20, 24, 32), scale=800.0):
    axes = [torch.linspace(-1, 1, n) for n in shape]
    d, h, w = torch.meshgrid(*axes, indexing="ij")
    inside = (d**2 + h**2 + w**2) < 0.8
    waves = 0.5 + 0.2 * torch.sin(9 * d) * torch.cos(7 * h) + 0.2 * torch.sin(11 * w)
    affine = np.array([[0, -1, 0, 9], [1, 0, 0, 8], [0, 0, 1.0, 7], [0, 0, 0, 1]])
    return Volume(scale * waves * inside, affine, FileHeader(dtype="int16"))


def scan_of(volume, thickness=4.0, axis=2, **sampling):
    return acquire(volume, Acquisition.slices(axis, SliceSampling(thickness, **sampling)))


def request(**changes):
    return SuperResolutionRequest(**{"scan": "scan.nii", "samples": 1, "steps": 1, **changes})


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_network_with_nothing_to_add_leaves_the_back_projection(axis):
    truth = head((24, 24, 24))
    scan = scan_of(truth, axis=axis)
    result = super_resolve(scan, request(), StandIn(), tiling=SMALL)
    grid = Acquisition.slices(axis, SliceSampling(4.0)).on_grid((24, 24, 24), (1.0, 1.0, 1.0))
    expected = back_projection(scan.data, grid).clamp(min=0.0)
    assert result.mean.shape == truth.shape
    np.testing.assert_allclose(result.mean.affine, truth.affine, atol=1e-9)
    # where nothing was clipped the two agree; clipping is made up for elsewhere
    assert float((result.mean.data - expected).abs().mean()) < 0.01 * 800
    assert float(result.std.data.max()) < 1e-3
    assert result.seam == pytest.approx(1.0, abs=0.02) or float(result.std.data.max()) < 1e-3
    assert float(result.mean.data.min()) >= 0.0


def test_consistency_is_the_map_of_the_product_and_small():
    scan = scan_of(head((24, 24, 40)))
    result = super_resolve(scan, request(steps=2, samples=2), StandIn(0.6), tiling=SMALL)
    acquired = prepare(scan, request()).acquired
    stored = result.mean.data.round().permute(2, 0, 1)  # as int16
    degraded = acquired.operator().apply(stored).permute(1, 2, 0)
    torch.testing.assert_close(
        result.consistency_map.data, degraded - scan.data, atol=0.02, rtol=0
    )
    assert result.consistency_map.shape == scan.shape
    np.testing.assert_array_equal(result.consistency_map.affine, scan.affine)
    mean = float(result.consistency_map.data.abs().mean()) / result.scale.high
    assert result.consistency == pytest.approx(mean, rel=1e-3)
    assert result.consistency < 3e-3


def test_windows_blend_into_what_one_window_gives():
    scan = scan_of(head((24, 20, 40)))
    whole = Tiling(size=(64, 64, 64), overlap=(0, 0, 0))
    asked = request(steps=3, samples=2, seed=3)
    one = super_resolve(scan, asked, StandIn(0.7), tiling=whole)
    many = super_resolve(scan, asked, StandIn(0.7), tiling=SMALL)
    occupied = many.mean.data > 50
    torch.testing.assert_close(many.mean.data[occupied], one.mean.data[occupied], atol=4.0, rtol=0)
    assert one.seam == 1.0


def test_antithetic_samples_cancel_and_their_spread_is_the_noise():
    scan = scan_of(head())
    pair = super_resolve(scan, request(samples=2), StandIn(0.5), tiling=SMALL)
    alone = super_resolve(scan, request(samples=2), StandIn(0.0), tiling=SMALL)
    torch.testing.assert_close(pair.mean.data, alone.mean.data, atol=0.05, rtol=0)
    inside = alone.mean.data > 100
    # x = 0.5 e, less what the scan fixes: spread near 0.5 sqrt(3/4) RESIDUAL_SCALE
    expected = 0.5 * RESIDUAL_SCALE * (3 / 4) ** 0.5 * pair.scale.high
    rms = float(pair.std.data[inside].square().mean().sqrt())
    assert rms == pytest.approx(expected, rel=0.1)


def test_sample_three_is_the_same_alone():
    shape = (1, 4, 5, 6)
    third = noise(shape, 7, sample=3, antithetic=True)
    assert torch.equal(third, -noise(shape, 7, sample=2, antithetic=True))
    scan = scan_of(head())
    first = super_resolve(scan, request(samples=3, seed=7), StandIn(0.5), tiling=SMALL)
    again = super_resolve(scan, request(samples=3, seed=7), StandIn(0.5), tiling=SMALL)
    other = super_resolve(scan, request(samples=3, seed=8), StandIn(0.5), tiling=SMALL)
    assert torch.equal(first.mean.data, again.mean.data)
    assert torch.equal(first.std.data, again.std.data)
    assert not torch.equal(first.mean.data, other.mean.data)


def test_mirrors_take_away_what_leans_and_leave_what_does_not():
    scan, whole = scan_of(head((24, 20, 40))), Tiling(size=(64, 64, 64), overlap=(0, 0, 0))

    def mean(network, **asked):
        asked = request(samples=4, **asked)
        return super_resolve(scan, asked, network, tiling=whole).mean.data

    plain = mean(StandIn())
    inside = plain > 100
    leaning = (mean(Leans(), edition=3) - plain)[inside].abs().mean()
    level = (mean(Leans()) - plain)[inside].abs().mean()
    assert float(leaning) > 20
    assert float(level) < 0.02 * float(leaning)
    torch.testing.assert_close(mean(Repeats()), mean(Repeats(), edition=3), atol=0.01, rtol=1e-5)
    alone = [
        super_resolve(scan, request(edition=n), Leans(), tiling=whole).mean.data for n in (3, 4)
    ]
    assert torch.equal(*alone)


def test_empty_windows_never_reach_the_network():
    volume = head((20, 24, 32))
    data = torch.zeros(60, 72, 32)
    data[:20, :24] = volume.data
    scan = scan_of(Volume(data, volume.affine, volume.header))
    network = StandIn(0.5)
    result = super_resolve(scan, request(), network, tiling=SMALL)
    num_all = 3 * 9 * 8
    assert 0 < network.windows < num_all / 3
    assert float(result.std.data[40:, 50:].max()) == 0.0


def test_the_network_is_told_spacing_thickness_and_evidence():
    network = StandIn()
    asked = request(slice_gap_mm=1.0, spacing_mm=(1.0, 1.0, 1.0))
    super_resolve(scan_of(head(), 3.0, gap_mm=1.0), asked, network, tiling=SMALL)
    cond = network.conditions[0]
    assert cond.spacing[0].tolist() == [1.0, 1.0, 1.0]
    assert cond.resolution[0].tolist() == [3.0, 1.0, 1.0]
    assert cond.concat.shape[1] == 2
    torch.testing.assert_close(cond.concat[0, 1, :4, 0, 0], torch.tensor([0.25, 0.75, 0.75, 0.25]))


@pytest.mark.parametrize(
    ("thickness", "shape", "spacing", "expected"),
    [
        (5.0, (8, 8, 40), (1.0, 1.0, 1.0), (8, 8, 40)),
        (3.3, (8, 8, 33), (1.0, 1.0, 1.0), (8, 8, 33)),
        (4.0, (8, 8, 40), (1.0, 1.0, 1.5), (8, 8, 27)),
    ],
)
def test_any_factor(thickness, shape, spacing, expected):
    scan = scan_of(head(shape), thickness)
    result = super_resolve(scan, request(spacing_mm=spacing), StandIn(0.3), tiling=SMALL)
    assert result.mean.shape == expected
    assert result.mean.spacing_mm == pytest.approx(spacing)
    assert result.consistency < 5e-3
    center = [(n - 1) / 2 for n in scan.shape]
    fine = [(n - 1) / 2 for n in expected]
    np.testing.assert_allclose(
        result.mean.affine @ [*fine, 1], scan.affine @ [*center, 1], atol=1e-6
    )


def test_several_coarse_axes_at_once():
    truth = head((24, 24, 40))
    coarse = Acquisition((SliceSampling(2.0), SliceSampling(1.5), SliceSampling(4.0)))
    scan = acquire(truth, coarse)
    assert scan.shape == (12, 16, 10)
    result = super_resolve(scan, request(), StandIn(0.3), tiling=SMALL)
    assert result.mean.shape == truth.shape
    np.testing.assert_allclose(result.mean.affine, truth.affine, atol=1e-9)
    assert result.consistency < 5e-3


def test_protected_voxels_are_the_interpolated_scan_bit_for_bit():
    scan = scan_of(head((24, 24, 40)))
    mask = torch.zeros(scan.shape)
    mask[8:14, 8:16, 4:6] = 1
    asked = request(samples=2)
    result = super_resolve(
        scan, asked, StandIn(0.5), protect=scan.with_data(mask, dtype="uint8"), tiling=SMALL
    )
    acquired = prepare(scan, asked).acquired
    expected = cubic(scan.data.permute(2, 0, 1), acquired).permute(1, 2, 0)
    inside = mask.repeat_interleave(4, dim=2) > 0
    assert torch.equal(result.mean.data[inside], expected[inside])
    assert float(result.std.data[inside].max()) == 0.0
    assert result.num_protected == int(inside.sum())
    free = super_resolve(scan, asked, StandIn(0.5), tiling=SMALL)
    assert torch.equal(result.mean.data[~inside], free.mean.data[~inside])
    fine = free.mean.with_data(inside.float(), dtype="uint8")
    again = super_resolve(scan, asked, StandIn(0.5), protect=fine, tiling=SMALL)
    assert torch.equal(again.mean.data, result.mean.data)


@pytest.mark.parametrize("where", [(0, 0, 0), np.s_[:3], np.s_[10:12, 5:8, 2]])
@pytest.mark.parametrize("value", [-32768.0, -1024.0])
def test_numbers_for_no_tissue_change_nothing_elsewhere(where, value, caplog):
    scan = scan_of(head((24, 24, 24)))
    empty, filled = scan.data.clone(), scan.data.clone()
    empty[where], filled[where] = 0.0, value
    plain = super_resolve(scan.with_data(empty), request(), StandIn(), tiling=SMALL)
    assert not caplog.text
    found = super_resolve(scan.with_data(filled), request(), StandIn(), tiling=SMALL)
    assert torch.equal(found.mean.data, plain.mean.data)
    assert found.consistency == plain.consistency
    assert found.record()["filled_voxels"] == int((filled == value).sum())
    assert f"{found.num_filled} voxels of the scan hold a number that stands for" in caplog.text


def test_the_mask_may_be_a_file_and_must_fit(tmp_path):
    scan = scan_of(head((24, 24, 40)))
    mask = scan.with_data(torch.ones(scan.shape), dtype="uint8")
    write_volume(mask, tmp_path / "mask.nii.gz")
    asked = request(protect=str(tmp_path / "mask.nii.gz"))
    result = super_resolve(scan, asked, StandIn(0.5), tiling=SMALL)
    assert result.num_protected == 24 * 24 * 40
    shifted = scan.affine.copy()
    shifted[0, 3] += 2.0
    with pytest.raises(ValueError, match="must lie on the grid of the scan"):
        super_resolve(
            scan, request(), StandIn(), protect=mask.with_data(mask.data, shifted), tiling=SMALL
        )


def test_progress_counts_all_steps_of_all_samples():
    seen = []
    super_resolve(
        scan_of(head()),
        request(samples=3, steps=2),
        StandIn(),
        tiling=SMALL,
        on_step=lambda done, total, estimate: seen.append((done, total)),
    )
    assert seen == [(i, 6) for i in range(1, 7)]


def test_noise_leaves_room_between_scan_and_result():
    scan = scan_of(head())
    for edition, level in ((4, RESIDUAL_SCALE), (5, LEFT_OUT)):
        asked = (request(edition=edition, noise_std=n) for n in (0.0, level))
        weights = [prepare(scan, each).obedience for each in asked]
        assert weights == [1.0, pytest.approx(0.5)]
    exact = super_resolve(scan, request(), StandIn(0.9), tiling=SMALL)
    loose = super_resolve(scan, request(noise_std=0.05), StandIn(0.9), tiling=SMALL)
    assert loose.consistency > 1.3 * exact.consistency


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spacing_mm": (4.0, 4.0, 4.0)}, "no axis would become finer"),
        ({"slice_thickness_mm": 3.0, "slice_gap_mm": 0.5}, "slices are 4 mm apart"),
        ({"slice_gap_mm": 4.0}, "slice_gap_mm=4"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        prepare(scan_of(head()), request(**changes))


def test_results_are_written_beside_each_other_and_never_over(tmp_path):
    scan = scan_of(head())
    result = super_resolve(scan, request(), StandIn(0.4), tiling=SMALL)
    paths = result.write(tmp_path / "out.nii.gz")
    assert [p.name for p in paths.values()] == [
        "out.nii.gz",
        "out_std.nii.gz",
        "out_consistency.nii.gz",
    ]
    back = read_volume(paths["result"])
    assert back.header.dtype == "int16"
    torch.testing.assert_close(back.data, result.mean.data.round(), rtol=0, atol=0)
    assert "research use" in back.header.description
    assert read_volume(paths["std"]).header.dtype == "uint8"
    assert read_volume(paths["std"]).header.description.endswith("std unknown")  # of one sample
    paths["result"].unlink()
    with pytest.raises(ValueError, match=r"out_std\.nii\.gz exists"):
        result.write(tmp_path / "out.nii.gz")
    assert not paths["result"].exists()
    record = result.record()
    assert record["sampler"] == "flow_map"
    assert "one sample has no spread" in record["uncertainty"]
    assert record["spacing_mm"] == [1.0, 1.0, 1.0]
    assert record["acquisition"]["axes"][2]["thickness_mm"] == pytest.approx(4.0)


def test_consistency_is_that_of_the_file(tmp_path):
    """Measured on intensities rounded to the stored type, as a reader finds them."""
    scan = scan_of(head(scale=6.0))  # in steps of 1 of 6, rounding is not small
    result = super_resolve(scan, request(), StandIn(0.4), tiling=SMALL)
    read = read_volume(result.write(tmp_path / "out.nii.gz")["result"])
    operator = prepare(scan, request()).acquired.operator()
    again = operator.apply(result.scale.apply(read.data).permute(2, 0, 1))
    missing = (again - result.scale.apply(scan.data).permute(2, 0, 1)).abs().mean()
    assert result.consistency == pytest.approx(float(missing), rel=1e-3)
    assert result.consistency > 1e-3


def test_the_real_network_runs_through_it():
    torch.manual_seed(0)
    network = tiny().eval()
    result = super_resolve(
        scan_of(head((20, 24, 32))), request(samples=2, steps=2), network, tiling=SMALL
    )
    assert torch.isfinite(result.mean.data).all()
    assert result.consistency < 5e-3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((96, 96, 96), (40, 56, 56)),  # two windows of 64 would overlap by 32, two of 56 by 16
        ((20, 64, 65), (24, 64, 40)),
        ((200, 200, 200), (48, 56, 56)),
    ],
)
def test_windows_shrink_to_cover_the_head_evenly(shape, expected):
    tiling = Tiling(size=(48, 64, 64), overlap=(8, 8, 8))
    fitted = tiling.fitted(shape)
    assert fitted == expected
    for length, size, largest in zip(shape, fitted, tiling.size, strict=True):
        count = -(-(length - 8) // (largest - 8))
        assert count * size - (count - 1) * 8 >= length


def test_the_box_holds_all_that_is_bright():
    bright = torch.zeros(20, 30, 40, dtype=torch.bool)
    bright[5, 29, 10] = bright[9, 20, 12] = True
    assert bounding_box(bright, margin=2) == (slice(3, 12), slice(18, 30), slice(8, 15))
    assert bounding_box(bright & False, margin=2) == (slice(0, 20), slice(0, 30), slice(0, 40))
