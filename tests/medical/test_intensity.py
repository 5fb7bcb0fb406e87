"""The intensity scale and its way back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medical.acquisition.intensity import IntensityScale, measure_scale


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


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_constant_scan_is_refused(value):
    with pytest.raises(ValueError, match=f"every voxel is {value:g}"):
        measure_scale(torch.full((4, 4, 4), value))


def test_deviations_have_no_offset():
    assert float(IntensityScale(-10.0, 90.0).stretch(torch.tensor(0.5))) == 50.0
