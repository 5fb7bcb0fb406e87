"""Adjoints, exact inverses and the projection that data consistency rests on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.operations.linear_operators import (
    AxisOperator,
    MaskOperator,
    along_axis,
    consistent,
    project,
)


def random_operator(sizes, seed, identity=()):
    generator = torch.Generator().manual_seed(seed)
    matrices = [
        None
        if axis in identity
        else torch.rand(n_out, n_in, generator=generator, dtype=torch.float64) / n_in
        for axis, (n_out, n_in) in enumerate(sizes)
    ]
    return AxisOperator(tuple(matrices))


sizes = st.tuples(*[st.tuples(st.integers(1, 5), st.integers(5, 9))] * 3)
identity = st.sets(st.integers(0, 2), max_size=2)


@settings(max_examples=50)
@given(sizes=sizes, seed=st.integers(0, 1000), identity=identity)
def test_the_adjoint_is_the_adjoint(sizes, seed, identity):
    operator = random_operator(sizes, seed, identity)
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(2, 1, *(n for _, n in sizes), generator=generator, dtype=torch.float64)
    y = torch.randn(operator.apply(x).shape, generator=generator, dtype=torch.float64)
    left, right = (operator.apply(x) * y).sum(), (x * operator.adjoint(y)).sum()
    assert float((left - right).abs()) <= 1e-10 * float(x.norm() * y.norm())


def test_each_axis_is_multiplied_by_its_matrix():
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    d, h, w = torch.randn(2, 4).double(), torch.randn(7, 5).double(), torch.randn(3, 6).double()
    expected = torch.einsum("id,jh,kw,bcdhw->bcijk", d, h, w, x)
    torch.testing.assert_close(AxisOperator((d, h, w)).apply(x), expected)
    torch.testing.assert_close(along_axis(x[0, 0], h, 1), torch.einsum("jh,dhw->djw", h, x[0, 0]))


@settings(max_examples=30)
@given(sizes=sizes, seed=st.integers(0, 1000), identity=identity)
def test_the_pseudo_inverse_obeys_moore_and_penrose(sizes, seed, identity):
    operator = random_operator(sizes, seed, identity)
    x = torch.randn(*(n for _, n in sizes), dtype=torch.float64)
    y = operator.apply(x)
    inverse = operator.invert
    torch.testing.assert_close(operator.apply(inverse(y)), y, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(
        inverse(operator.apply(inverse(y))), inverse(y), rtol=1e-6, atol=1e-6
    )


def test_one_projection_explains_the_measurement_and_moves_no_further_than_needed():
    operator = random_operator(((3, 9), (5, 5), (4, 8)), 3, identity={1})
    truth, guess = torch.randn(1, 1, 9, 5, 8), torch.randn(1, 1, 9, 5, 8)
    y = operator.apply(truth)
    projected = project(guess, operator, y)
    torch.testing.assert_close(operator.apply(projected), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(project(projected, operator, y), projected, rtol=1e-4, atol=1e-4)
    # the move is orthogonal to every change that the measurement cannot see
    unseen = torch.randn(1, 1, 9, 5, 8)
    unseen = unseen - operator.invert(operator.apply(unseen))
    assert abs(float(((projected - guess) * unseen).sum())) < 1e-3


def test_a_consistent_denoiser_obeys_at_every_level_and_half_a_weight_goes_half_way():
    operator = random_operator(((3, 8), (4, 4), (4, 4)), 5, identity={1, 2})
    y = torch.randn(1, 1, 3, 4, 4)

    def shrink(z, t, r):
        return z * (1 - t) + 0.1 * r

    z = torch.randn(2, 1, 8, 4, 4)
    for t in (1.0, 0.5, 0.1):
        level = torch.tensor(t)
        full = consistent(shrink, operator, y)(z, level, level)
        half = consistent(shrink, operator, y, weight=0.5)(z, level, level)
        torch.testing.assert_close(
            operator.apply(full), y.expand(2, -1, -1, -1, -1), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(half, (full + shrink(z, level, level)) / 2, atol=1e-5, rtol=0)


def test_a_mask_keeps_known_voxels_exactly():
    mask = torch.rand(1, 1, 3, 4, 5) > 0.5
    known, guess = torch.randn(1, 1, 3, 4, 5), torch.randn(1, 1, 3, 4, 5)
    operator = MaskOperator(mask)
    result = project(guess, operator, operator.apply(known))
    torch.testing.assert_close(result[mask], known[mask], rtol=0, atol=1e-6)
    assert torch.equal(result[~mask], guess[~mask])


def test_half_precision_is_worked_in_single_and_comes_back_half():
    operator = random_operator(((2, 64), (1, 1), (1, 1)), 0, identity={1, 2})
    x = torch.rand(64, 3, 3, dtype=torch.bfloat16)
    y = operator.apply(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, operator.apply(x.float()).bfloat16())


def test_wrong_sizes_and_weights_are_refused():
    operator = random_operator(((2, 8), (4, 4), (4, 4)), 0)
    with pytest.raises(ValueError, match="axis 0 holds 7 samples: the operator takes 8"):
        operator.apply(torch.zeros(7, 4, 4))
    with pytest.raises(ValueError, match=r"weight=1\.5"):
        consistent(lambda z, t, r: z, operator, torch.zeros(2, 4, 4), weight=1.5)
    with pytest.raises(ValueError, match="matrix of axis 1"):
        AxisOperator((None, torch.tensor([[float("nan")]]), None))
