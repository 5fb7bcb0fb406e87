"""Changes of a head before it is scanned: shapes that do not fold, contrasts, lesions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medical.anatomy.anatomy import AnatomyRange
from medical.anatomy.contrasts import ContrastRange, smoothed, tissue_map
from medical.anatomy.deformations import (
    CONTROL_MM,
    MOST_MM,
    Deformation,
    draw_deformation,
    reach,
    refined,
)
from medical.anatomy.lesions import LesionRange

SHAPE, SPACING = (20, 24, 28), (1.0, 0.9, 0.8)
INNER = (slice(4, 16), slice(0, 24), slice(0, 28))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def waves(shape=(32, 36, 40)):
    """A smooth picture in [0, 1] without symmetry."""
    axes = torch.meshgrid(*[torch.arange(n) / 5 for n in shape], indexing="ij")
    d, h, w = axes
    return 0.5 + 0.25 * torch.sin(d + 0.5 * h) + 0.2 * torch.cos(1.3 * w - 0.4 * d)


def shells(shape=SHAPE):
    """A head of three tissues around each other on empty background, and its labels."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = torch.stack(axes).square().sum(0).sqrt()
    labels = sum((radius < edge).int() for edge in (0.95, 0.7, 0.4))
    return torch.tensor([0.0, 0.25, 0.5, 0.8])[labels], labels


def test_no_displacement_changes_nothing():
    whole, far = waves(), reach(SPACING)
    plain = Deformation(torch.zeros(3, 5, 5, 5), SHAPE, SPACING)
    d, h, w = (slice(a, a + n) for a, n in zip(far, SHAPE, strict=True))
    wide = whole[: 20 + 2 * far[0], : 24 + 2 * far[1], : 28 + 2 * far[2]]
    assert torch.allclose(plain.apply(wide, far), whole[d, h, w], atol=1e-5)
    labels = (10 * whole).int()
    kept = plain.apply(labels[: wide.shape[0], : wide.shape[1], : wide.shape[2]], far, labels=True)
    assert kept.dtype == labels.dtype
    assert torch.equal(kept, labels[d, h, w])


def test_the_same_displacement_everywhere_moves_the_picture():
    whole, origin = waves(), (6, 6, 6)
    moved = torch.zeros(3, 5, 5, 5)
    moved[1] += 2 * SPACING[1]
    found = Deformation(moved, SHAPE, SPACING).apply(whole, origin)
    assert torch.allclose(found, whole[6:26, 8:32, 6:34], atol=1e-4)


def test_half_a_voxel_keeps_the_detail_that_trilinear_weights_lose():
    fine = 0.5 + 0.4 * torch.sin(torch.arange(64) * 2 * torch.pi / 4.5)
    whole = fine[:, None, None].expand(64, 16, 16)
    moved = torch.zeros(3, 6, 4, 4)
    moved[0] += 0.5
    found = Deformation(moved, (40, 4, 4), (1.0, 1.0, 1.0)).apply(whole, (12, 6, 6))
    truth = 0.5 + 0.4 * torch.sin((torch.arange(12, 52) + 0.5) * 2 * torch.pi / 4.5)
    lost = float((found[:, 2, 2] - truth).std() / truth.std())
    trilinear = (fine[12:52] + fine[13:53]) / 2
    assert lost < 0.1
    assert float((trilinear - truth).std() / truth.std()) > 0.2


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), mm=st.sampled_from([0.7, 1.0, 1.3]))
def test_deformations_keep_the_shape_stay_in_reach_and_do_not_fold(seed, mm):
    spacing = (mm, 1.0, 0.8)
    drawn = draw_deformation(seeded(seed), SHAPE, spacing)
    field = drawn.displacement()
    assert tuple(field.shape) == (3, *SHAPE)
    for axis in range(3):
        assert float(field[axis].abs().max()) < reach(spacing)[axis] - 0.5
    # at full strength, with every control point at its limit
    control = MOST_MM * drawn.control_mm.sign()
    field = Deformation(control, SHAPE, spacing).displacement().numpy()
    slopes = np.stack([np.stack(np.gradient(part)) for part in field])
    jacobian = slopes.transpose(2, 3, 4, 0, 1) + np.eye(3)
    assert np.linalg.det(jacobian).min() > 0
    assert 0.4 * CONTROL_MM > MOST_MM


def test_a_refined_patch_holds_every_old_voxel():
    x = waves((9, 10, 11))
    fine = refined(x)
    assert tuple(fine.shape) == (17, 19, 21)
    assert torch.allclose(fine[::2, ::2, ::2], x, atol=1e-5)


def test_smoothing_keeps_what_is_even_and_the_sum_inside():
    even = torch.full((1, 8, 9, 10), 0.7)
    assert torch.allclose(smoothed(even, 0.6), even, atol=1e-6)
    point = torch.zeros(1, 9, 9, 9)
    point[0, 4, 4, 4] = 1.0
    found = smoothed(point, 0.6)[0]
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(found[4, 4, 4]) > float(found[3, 4, 4]) > float(found[3, 3, 4]) > 0


@pytest.mark.parametrize("labeled", [True, False])
def test_a_random_contrast_keeps_boundaries_and_the_background(labeled):
    head, labels = shells((40, 40, 40))
    tissues = tissue_map(head, labels if labeled else None)
    kinds = len(tissues.centers)
    assert kinds == 4
    wanted = torch.tensor([0.0, 0.25, 0.5, 0.8])
    assert torch.allclose(tissues.centers, wanted, atol=0.01)
    for seed in range(8):
        drawn = ContrastRange(most_std=0.0, most_detail=0.0).draw(seeded(seed), kinds)
        found = drawn.apply(head, tissues.centers, tissues.labels)
        assert torch.isfinite(found).all()
        assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.01
        inside = smoothed((labels == 0).float()[None], 0.65)[0] > 0.999
        assert float(found[inside].abs().max()) < 1e-3
        # even inside a tissue, and a step exactly where tissues meet
        for kind in (1, 2, 3):
            deep = smoothed((labels == kind).float()[None], 0.65)[0] > 0.999
            assert float(found[deep].std()) < 1e-3
        steps = torch.diff(found, dim=0).abs()
        even = torch.diff(labels, dim=0) == 0
        far = smoothed(even.float()[None], 0.65)[0] > 0.9999
        assert float(steps[far].max()) < 2e-3


def test_means_deviations_and_detail_of_a_contrast_are_as_drawn():
    head, labels = shells((40, 40, 40))
    head = head + 0.02 * torch.randn(head.shape, generator=seeded(1)) * (labels > 0)
    tissues = tissue_map(head, labels)
    drawn = ContrastRange(most_std=0.05).draw(seeded(3), 4)
    found = drawn.apply(head, tissues.centers, tissues.labels)
    deep = smoothed((labels == 1).float()[None], 0.65)[0] > 0.999
    assert float(found[deep].mean()) == pytest.approx(float(drawn.means[1]), abs=0.01)
    drawn = ContrastRange(most_std=0.0).draw(seeded(3), 4)
    found = drawn.apply(head, tissues.centers, tissues.labels)
    assert float(found[deep].std()) == pytest.approx(abs(float(drawn.details[1])) * 0.02, rel=0.2)
    again = drawn.apply(head, tissues.centers, tissues.labels)
    assert torch.equal(found, again)


def test_without_labels_noise_is_not_blown_up():
    head, _ = shells()
    tissues = tissue_map(head)
    for seed in range(20):
        drawn = ContrastRange(most_std=0.0).draw(seeded(seed), 4)
        x = torch.linspace(0.3, 0.9, 400)[:, None, None]
        found = drawn.apply(x, tissues.centers)[:, 0, 0]
        assert float((found.diff() / (x[1, 0, 0] - x[0, 0, 0])).abs().max()) < 2.6


def test_odd_label_maps_are_refused_or_understood():
    head, labels = shells()
    with pytest.raises(ValueError, match=r"\(3, 3, 3\).*resample it"):
        tissue_map(head, torch.zeros(3, 3, 3))
    many = torch.arange(head.numel()).view(head.shape)
    with pytest.raises(ValueError, match="values: at most 255"):
        tissue_map(head, many)
    with pytest.raises(ValueError, match="holds -1: labels are whole numbers from 0 on"):
        tissue_map(head, labels - 1)
    free = tissue_map(head, 500 + labels)  # labels need not count from 0 or one by one
    assert free.labels is not None
    assert int(free.labels.min()) == 1
    assert len(free.centers) == 5
    even = tissue_map(torch.full(SHAPE, 0.5))
    assert bool((even.centers.diff() > 0).all())
    empty = tissue_map(torch.zeros(SHAPE))
    assert bool((empty.centers.diff() > 0).all())


def test_lesions_lie_inside_the_head_and_change_it_by_what_was_drawn():
    head, labels = shells()
    inside = labels > 0
    signs, sizes = set(), []
    for seed in range(30):
        lesions = LesionRange().draw(seeded(seed), (200 * head).to(torch.uint8), INNER)
        assert 1 <= len(lesions) <= LesionRange().most
        for lesion in lesions:
            signs.add(lesion.change > 0)
            assert head[lesion.center] > 0
            assert 4 <= lesion.center[0] < 16
            x = head.clone()
            lesion.add_to(x, SPACING, inside)
            changed = (x - head).abs() > 1e-6
            assert changed.any()
            assert not changed[~inside].any()
            assert 0.0 <= float(x.min()) <= float(x.max()) <= 1.0
            assert bool(((x - head)[changed] > 0).all() if lesion.change > 0 else True)
            sizes.append(int(changed.sum()))
    assert signs == {True, False}
    assert max(sizes) > 20 * min(sizes)
    assert LesionRange().draw(seeded(), torch.zeros(SHAPE, dtype=torch.uint8), INNER) == ()


def test_each_change_is_drawn_in_its_share():
    head, _ = shells()
    levels = (200 * head).to(torch.uint8)
    limits = AnatomyRange(contrast_share=0.3, lesion_share=0.5, deformation_share=0.2)
    random = seeded(0)
    drawn = [limits.draw(random, levels, INNER, SPACING, 4) for _ in range(400)]
    assert np.mean([a.contrast is not None for a in drawn]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([len(a.lesions) > 0 for a in drawn]) == pytest.approx(0.5, abs=0.07)
    assert np.mean([a.deformation is not None for a in drawn]) == pytest.approx(0.2, abs=0.07)
    assert AnatomyRange().empty
    assert not limits.empty
