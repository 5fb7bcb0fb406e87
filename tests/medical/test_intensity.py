"""The intensity scale and its way back."""

import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medical.acquisition.intensity import (
    MOST_FILLS,
    IntensityScale,
    is_a_mask,
    measure_scale,
    scale_of_all,
    without_fill,
)
from medical.files.volume import FileHeader, Volume


def test_the_protocol_is_the_999_permille_of_positive_voxels():
    x = torch.cat([torch.zeros(5000), torch.arange(1.0, 1001.0)])
    scale = measure_scale(x)
    assert (scale.low, scale.high, scale.percentile) == (0.0, 999.0, 99.9)
    assert float(scale.apply(x)[0]) == 0.0
    assert float(scale.apply(x).max()) == pytest.approx(1000 / 999)


@given(
    low=st.floats(-2000, 0),
    span=st.floats(0.01, 1e5),
    values=st.lists(st.integers(-3000, 60000), min_size=1, max_size=30),
)
def test_whole_numbers_come_back_exactly(low, span, values):
    scale = IntensityScale(low, low + span)
    x = torch.tensor(values, dtype=torch.float32)
    back = scale.invert(scale.apply(x))
    torch.testing.assert_close(back, x, rtol=2e-6, atol=2e-6 * (span + abs(low)))
    if span > 100:
        assert torch.equal(back.round(), x)
    rebuilt = IntensityScale(**scale.record())
    assert torch.equal(rebuilt.apply(x), scale.apply(x))


def test_negative_intensities_move_the_low_end():
    scale = measure_scale(torch.tensor([-1000.0, 0.0, 400.0]))
    assert scale.low == -1000.0
    assert float(scale.apply(torch.tensor([-1000.0]))) == 0.0


@given(
    values=st.lists(st.floats(-1e4, 1e5, width=32), min_size=2, max_size=60),
    fill=st.sampled_from([-32768.0, -1024.0, 0.0, 65535.0]),
    percentile=st.sampled_from([50.0, 99.0, 99.9]),
)
def test_a_scale_is_the_same_to_the_bit_in_float32_and_float64(values, fill, percentile):
    x = np.array([*values, fill, fill], np.float32)
    if (x > min(0.0, float(x.min()))).any():
        assert measure_scale(x, percentile) == measure_scale(x.astype(np.float64), percentile)
        assert scale_of_all(x, percentile) == scale_of_all(x.astype(np.float64), percentile)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_constant_scan_is_refused(value):
    with pytest.raises(ValueError, match=f"every voxel is {value:g}"):
        measure_scale(torch.full((4, 4, 4), value))


def test_deviations_have_no_offset():
    assert float(IntensityScale(-10.0, 90.0).stretch(torch.tensor(0.5))) == 50.0


def tissue(*, low=0.0, high=900.0):
    x = torch.rand(20, 20, 10, generator=torch.Generator().manual_seed(3))
    return (low + (high - low) * x * (x > 0.3)).round()


@pytest.mark.parametrize("value", [-1.0, -1024.0, -32768.0])
@pytest.mark.parametrize("where", [(0, 0, 0), slice(0, 4)])
@pytest.mark.parametrize("high", [100.0, 4000.0])
def test_a_number_for_no_tissue_does_not_set_the_scale(value, where, high):
    x, filled = tissue(high=high), tissue(high=high)
    filled[where] = value
    found, fill = without_fill(filled)
    assert torch.equal(fill, filled == value)
    assert torch.equal(found, torch.where(fill, 0.0, x))
    assert measure_scale(found).low == 0


def test_several_such_numbers_are_found_in_signed_scans():
    x = tissue(low=-500.0, high=500.0)
    x[0], x[1, 0] = -32768.0, -10000.0
    found, fill = without_fill(x)
    assert int(fill.sum()) == 200 + 10
    assert float(found.min()) == -500


@pytest.mark.parametrize(
    "x",
    [tissue(), tissue() - 2000, tissue(low=-500.0), torch.randn(9, 9, 9), torch.full((3,), -7)],
)
def test_intensities_below_zero_that_mean_something_stay(x):
    found, fill = without_fill(x)
    assert not fill.any()
    assert torch.equal(found, x)


def body(seed):
    """Air and tissue of 0 to 900, as whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    tissue = (500 + 130 * torch.randn(18, 18, 12, generator=generator)).clamp(0, 900).round()
    return torch.nn.functional.pad(tissue, (3, 3, 4, 4, 4, 4))


VALUES = st.integers(-32768, 32767)


def _check_outlier(seed, value, border):
    x = body(seed)
    clean = measure_scale(x)
    assert clean == scale_of_all(x)
    spoiled = x.clone()
    if border:
        spoiled[:2] = value
    else:
        spoiled[0, 0, 0] = value
    data, fill = without_fill(spoiled)
    found = measure_scale(data)
    assert found.low == clean.low
    if not border or not 0.9 * 900 < value <= 900 * 1.3:
        assert found.high == pytest.approx(clean.high, rel=0.1)
    held, most = found.apply(data), float(x.max())
    assert float(held.min()) >= -1e-6
    assert float(held.max()) <= 1.6
    assert bool(fill.any()) == (value < 0)
    if not 0 <= value <= 1.3 * most:
        assert found.held + int(fill.sum()) > 0
    elif value <= most:
        assert found.held == 0


@settings(max_examples=50)
@given(seed=st.integers(0, 99), value=VALUES, border=st.booleans())
def test_no_voxel_and_no_padding_sets_the_scale(seed, value, border):
    _check_outlier(seed, value, border)


@pytest.mark.slow
@settings(max_examples=500)
@given(seed=st.integers(0, 99), value=VALUES, border=st.booleans())
def test_none_of_500_sets_the_scale(seed, value, border):
    _check_outlier(seed, value, border)


@pytest.mark.parametrize("most", [900, 4000, 30000])
@pytest.mark.parametrize(
    ("share", "first", "step"), [(0.01, 65535, -1), (0.001, 65535, -1), (0.15, -32768, 1)]
)
def test_wrapped_voxels_and_noisy_fill_do_not_set_the_scale(most, share, first, step):
    x = (body(2) / 900 * most).round()
    clean = measure_scale(x)
    generator = torch.Generator().manual_seed(5)
    count = round(share * x.numel())
    where = torch.randperm(x.numel(), generator=generator)[:count]
    levels = (10 * torch.randn(count, generator=generator)).abs().round()
    assert levels.unique().numel() > MOST_FILLS
    spoiled = x.flatten().index_put((where,), first + step * levels).reshape(x.shape)
    found = measure_scale(without_fill(spoiled)[0])
    assert found.low == 0
    assert found.high == pytest.approx(clean.high, rel=0.02)
    assert found.held == count


def test_what_was_held_is_recorded():
    x = body(0)
    assert "held" not in measure_scale(x).record()
    x[0, 0, :2] = torch.tensor([-32768.0, 32767.0])
    scale = measure_scale(x)
    assert (scale.held, scale.record()["held"], scale.least) == (2, 2, 0.0)
    assert IntensityScale(**scale.record()) == scale


@pytest.mark.parametrize("shift", [0.0, -2000.0])
def test_few_levels_and_shifted_scans_keep_all_they_hold(shift):
    x = (body(1) / 900 * 7).round() + shift
    assert measure_scale(x) == scale_of_all(x)
    assert measure_scale(body(1) + shift) == scale_of_all(body(1) + shift)


def test_no_label_map_has_fractions_whatever_its_header_says():
    template = bytearray(348)
    template[68:70] = struct.pack("<h", 1002)
    header = FileHeader("float32", template=bytes(template))
    gray = torch.rand(6, 6, 6, generator=torch.Generator().manual_seed(0)) * 900
    assert header.labels
    assert not is_a_mask(Volume(gray, np.eye(4), header))
    assert "set it to 0 in a scan" in is_a_mask(Volume(gray.round(), np.eye(4), header))
