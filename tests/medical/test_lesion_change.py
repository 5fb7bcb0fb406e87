"""Inserted lesions rise softly from their border and differ within, in millimeters, by place."""

import numpy as np
import pytest

from medical.lesions.appearance import RATIOS, draw_ratio, insert
from medical.lesions.change import LOOKS, change_within, rise
from medical.lesions.fields import depth

WHITE = 1000.0


def ball(radius_mm, spacing_mm=1.0, size_mm=32):
    places = np.moveaxis(np.indices((round(size_mm / spacing_mm),) * 3), 0, -1) * spacing_mm
    return np.linalg.norm(places - size_mm / 2 + 0.25, axis=-1) <= radius_mm


@pytest.mark.parametrize("contrast", list(RATIOS))
def test_a_lesion_rises_from_its_border_and_has_its_mean(contrast):
    """A flat one with a hard border steps by .8 and more of its mean and is even within."""
    image, steps, middle, within = np.full((32,) * 3, WHITE, np.float32), [], [], []
    mask = ball(5.0)
    deep = depth(mask, (1, 1, 1))
    for seed in range(6):
        found = insert(image, mask.astype(np.uint16), contrast, (1.0, 1.0, 1.0), seed)
        np.testing.assert_array_equal(found[~mask], image[~mask])
        ratio = draw_ratio(contrast, seed)
        assert found[mask].mean() / WHITE == pytest.approx(ratio, rel=1e-3)
        share = (found / WHITE - 1) / (ratio - 1)
        steps.append(share[mask & (deep <= 1)].mean())
        middle.append(share[mask & (deep >= 3)].mean())
        within.append(share[mask & (deep >= 3)].std())
    assert 0.2 < np.mean(steps) < 0.6
    assert np.mean(middle) > 1.15
    assert np.mean(within) > 0.5 * LOOKS[contrast].rough


def test_the_rise_is_in_millimeters():
    """At a depth it is the same, whatever the voxels."""
    found = []
    for mm in (0.5, 1.0):
        mask = ball(6.0, mm)
        deep = depth(mask, (mm,) * 3)[mask] - mm / 2
        order = np.argsort(deep)
        found.append(np.interp(1.5, deep[order], rise(mask, 1.4, (mm,) * 3)[order]))
    assert found[0] == pytest.approx(found[1], rel=0.01)


def test_texture_is_as_long_in_millimeters_on_any_grid():
    """Voxels of half a millimeter are alike two apart as those of one are one apart."""
    found = []
    for mm, lag in ((0.5, 2), (1.0, 1)):
        inside = ball(12.0, mm)
        texture = np.zeros(inside.shape)
        mask = inside.astype(np.uint16)
        texture[inside] = change_within(mask, "T2w", (mm,) * 3, [3])[1]
        core = texture[(slice(round(10 / mm), round(22 / mm)),) * 3]
        core = core - core.mean()
        found.append((core[lag:] * core[:-lag]).mean() / core.var())
    assert found[0] == pytest.approx(found[1], abs=0.1)
    assert found[1] > 0.4


def test_texture_stays_where_a_lesion_grows():
    """Of two sessions the middle is alike, whatever joined at the border."""
    small, large = ball(8.0), ball(10.0)
    first, second = (np.zeros(small.shape) for _ in range(2))
    first[small] = change_within(small.astype(np.uint16), "T1w", (1.0,) * 3, [1])[1]
    second[large] = change_within(large.astype(np.uint16), "T1w", (1.0,) * 3, [1])[1]
    core = ball(5.0)
    assert np.corrcoef(first[core], second[core])[0, 1] > 0.95
    other = np.zeros(small.shape)
    other[small] = change_within(small.astype(np.uint16), "T1w", (1.0,) * 3, [2])[1]
    assert abs(np.corrcoef(first[core], other[core])[0, 1]) < 0.3


def test_t1_and_t2_are_rough_at_the_same_places():
    mask = ball(8.0)
    t1, t2, flair = (
        change_within(mask.astype(np.uint16), name, (1.0,) * 3, [4])[1] for name in RATIOS
    )
    assert np.corrcoef(t1, t2)[0, 1] > 0.9 > np.corrcoef(t1, flair)[0, 1]


@pytest.mark.parametrize("spacing", [(0.02, 0.02, 0.02), (0.5, 0.5, 6.0), (20.0, 20.0, 20.0)])
def test_any_voxels_are_painted(spacing):
    mask = np.zeros((9, 9, 9), np.uint16)
    mask[3:6, 3:6, 3:6] = 1
    found = insert(np.full(mask.shape, WHITE, np.float32), mask, "FLAIR", spacing, 0)
    assert np.isfinite(found).all()
    assert found[mask > 0].mean() == pytest.approx(WHITE * draw_ratio("FLAIR", 0), rel=1e-3)
