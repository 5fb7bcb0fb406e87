"""Windows share every voxel fairly: no seam, no gap, no trace of how they were batched."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.operations.tiling import tiled
from core.operations.windows import windows
from core.sampling.samplers import euler
from core.sampling.schedules import linear

T = torch.tensor(0.5)


@st.composite
def layouts(draw):
    shape = tuple(draw(st.integers(1, 23)) for _ in range(3))
    size = tuple(draw(st.integers(1, 12)) for _ in range(3))
    overlap = tuple(draw(st.integers(0, s - 1)) for s in size)
    return shape, size, overlap


@given(layouts())
@settings(max_examples=60)
def test_shares_sum_to_one_everywhere(layout):
    shape, size, _ = layout
    total = torch.zeros(shape)
    for part in windows(*layout):
        box = total[part.slices]
        assert box.shape == part.weight(total).shape == tuple(map(min, size, shape))
        assert (part.weight(total) > 0).all()
        box += part.weight(total)
    assert torch.allclose(total, torch.ones(shape), atol=1e-6)


@given(layouts())
@settings(max_examples=60)
def test_neighbors_share_at_least_the_overlap(layout):
    shape, size, overlap = layout
    parts = windows(*layout)
    for axis in range(3):
        starts = sorted({p.slices[axis].start for p in parts})
        assert starts[0] == 0
        assert max(p.slices[axis].stop for p in parts) == shape[axis]
        gaps = [b - a for a, b in pairwise(starts)]
        assert all(0 < gap <= size[axis] - overlap[axis] for gap in gaps)


@given(layouts(), st.integers(1, 5))
@settings(max_examples=30)
def test_constant_and_linear_fields_come_back(layout, batch_size):
    shape = layout[0]
    d, h, w = torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij")
    for field in (torch.full(shape, 0.7), 0.1 * d - 0.2 * h + 0.03 * w + 1):

        def answer(boxes, t, r, parts, field=field):
            return torch.stack([field[p.slices] for p in parts])[:, None]

        denoise = tiled(answer, windows(*layout), batch_size=batch_size)
        assert torch.allclose(denoise(torch.zeros(1, 1, *shape), T, T)[0, 0], field, atol=2e-6)


def pointwise(z, t, r):
    return torch.tanh(2 * z) * t


def test_a_pointwise_denoiser_does_not_notice_the_windows():
    z = torch.randn(1, 2, 13, 17, 9, generator=torch.Generator().manual_seed(0))
    parts = windows((13, 17, 9), (6, 8, 8), (2, 3, 4))
    denoise = tiled(lambda boxes, t, r, parts: pointwise(boxes, t, r), parts)
    assert torch.allclose(denoise(z, T, T), pointwise(z, T, T), atol=1e-6)
    whole = euler(pointwise, z, linear(5))
    assert torch.allclose(euler(denoise, z, linear(5)), whole, atol=1e-5)


def test_batches_are_bounded_and_leave_no_trace():
    z = torch.randn(1, 1, 13, 17, 9, generator=torch.Generator().manual_seed(0))
    parts = windows((13, 17, 9), (6, 8, 8), (2, 3, 4))
    rows = []

    def answer(boxes, t, r, parts):
        rows.append(len(boxes))
        return pointwise(boxes, t, r)

    results = [tiled(answer, parts, batch_size=n)(z, T, T) for n in (1, 3, 1000)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert rows[: len(parts)] == [1] * len(parts)
    assert max(rows[len(parts) : -1]) == 3
    assert rows[-1] == len(parts)


def test_no_volume_of_weights_is_kept():
    part = windows((64, 64, 64), (64, 64, 64), (16, 16, 16))[0]
    assert sum(weight.size for weight in part.weights) == 3 * 64


def test_windows_know_where_they_are():
    """What lies beside the sample is cut by the same slices."""
    beside = torch.arange(10.0 * 4 * 4).view(1, 1, 10, 4, 4)

    def answer(boxes, t, r, parts):
        return torch.cat([beside[(..., *p.slices)] for p in parts])

    denoise = tiled(answer, windows((10, 4, 4), (4, 4, 4), (2, 0, 0)))
    assert torch.allclose(denoise(torch.zeros(1, 1, 10, 4, 4), T, T), beside, atol=1e-4)


def test_a_volume_smaller_than_a_window_is_one_window():
    (part,) = windows((3, 5, 2), (8, 8, 8), (4, 4, 4))
    assert part.slices == (slice(0, 3), slice(0, 5), slice(0, 2))
    assert part.weight(torch.zeros(1)).eq(1).all()


def test_windows_left_out_leave_zeros():
    parts = windows((8, 4, 4), (4, 4, 4), (0, 0, 0))
    denoise = tiled(lambda boxes, t, r, parts: torch.ones_like(boxes), parts[:1])
    answer = denoise(torch.zeros(1, 1, 8, 4, 4), T, T)
    assert answer[:, :, :4].eq(1).all()
    assert answer[:, :, 4:].eq(0).all()


@pytest.mark.parametrize("overlap", [-1, 4, 5])
def test_an_overlap_as_long_as_the_window_is_refused(overlap):
    with pytest.raises(ValueError, match=rf"overlap={overlap}: windows of 4 .* 0 to 3"):
        windows((8, 8, 8), (4, 4, 4), (overlap, 0, 0))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_windows_are_computed_one_by_one_where_memory_is_short(error, caplog):
    parts = windows((4, 8, 8), (4, 4, 4), (0, 0, 0))
    seen = []

    def narrow(z, t, r, batch):
        seen.append(len(batch))
        if len(batch) > 1:
            raise error
        return 2 * z

    z, t = torch.randn(1, 1, 4, 8, 8), torch.tensor(0.5)
    found = tiled(narrow, parts, batch_size=4)(z, t, t)
    assert torch.allclose(found, 2 * z, atol=1e-6)
    assert seen == [4, 1, 1, 1, 1]
    assert "memory is short" in caplog.text
    with pytest.raises(type(error)):
        tiled(_always(error), parts, batch_size=4)(z, t, t)


def test_other_faults_of_a_window_are_not_taken_for_a_lack_of_memory():
    parts = windows((4, 8, 8), (4, 4, 4), (0, 0, 0))
    z, t = torch.randn(1, 1, 4, 8, 8), torch.tensor(0.5)
    calls = []
    with pytest.raises(RuntimeError, match="shape"):
        tiled(_always(RuntimeError("a wrong shape"), calls), parts, batch_size=4)(z, t, t)
    assert len(calls) == 1


def _always(error, calls=None):
    def fails(z, t, r, batch):
        if calls is not None:
            calls.append(len(batch))
        raise error

    return fails
