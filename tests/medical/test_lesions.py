"""Drawn lesions: as much and as many as asked, where asked, nobody's own, nothing else touched."""

import numpy as np
import pytest

from core.refusal import Refusal
from medical.lesions.appearance import draw_ratio, fill, insert
from medical.lesions.atlas import OUTLINE, lesion_atlas
from medical.lesions.drawing import LesionWish, beyond_measured, draw_lesions
from medical.lesions.fields import TOUCHING, parts_of
from medical.lesions.growth import draw_outline
from medical.lesions.regions import places_of

SPACING = (2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def brain():
    """A ball of white matter in gray in fluid, with two ventricles, in MNI millimeters at 2 mm."""
    shape = (80, 96, 80)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-79.0, -113.0, -70.0)
    x, y, z = np.indices(shape) * 2.0 + affine[:3, 3].reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 68) ** 2 + ((y + 18) / 85) ** 2 + ((z - 8) / 62) ** 2)
    labels = np.select([radius < 0.82, radius < 0.95, radius < 1.0], [3, 2, 1], 0)
    ventricle = (np.abs(np.abs(x) - 14) < 6) & (np.abs(y + 18) < 30) & (np.abs(z - 16) < 8)
    labels[ventricle] = 1
    return labels.astype(np.uint8), affine


@pytest.fixture(scope="module")
def places(brain):
    return places_of(*brain, lesion_atlas())


@pytest.mark.parametrize(
    ("load", "count", "regions"),
    [(5.0, 20, ()), (14.0, 60, ("periventricular",)), (1.6, 18, ("juxtacortical",)),
     (30.0, 40, ()), (2.0, 1, ("deep",)), (0.5, 12, ("infratentorial", "deep"))],
)  # fmt: skip
def test_load_and_count_are_met_in_the_regions_asked(places, load, count, regions):
    drawn = draw_lesions(LesionWish(load, count, regions), places, lesion_atlas(), 3)
    mask = drawn.mask > 0
    assert mask.sum() * 8 / 1000 == pytest.approx(load, rel=0.05)
    assert parts_of(mask)[1] == count
    assert set(drawn.facts["regions"]) <= set(regions or drawn.facts["regions"])
    assert (places.region[mask] > 0).all()
    assert sum(drawn.contributors.values()) == pytest.approx(1.0, abs=1e-3)


def test_a_seed_says_everything_and_another_says_something_else(places):
    wish, atlas = LesionWish(6.0, 20), lesion_atlas()
    first, same, other = (draw_lesions(wish, places, atlas, seed) for seed in (1, 1, 2))
    assert (first.mask == same.mask).all()
    assert ((first.mask > 0) & (other.mask > 0)).sum() < 0.5 * (first.mask > 0).sum()


def test_only_the_people_named_contribute(places):
    atlas = lesion_atlas()
    drawn = draw_lesions(LesionWish(6.0, 20), places, atlas, 1, people=(2, 5, 7))
    assert set(drawn.contributors) <= {atlas.people[i] for i in (2, 5, 7)}


def test_what_has_no_room_is_refused_with_the_numbers(places):
    with pytest.raises(Refusal, match=r"a lesion has at least 3 voxels, 1\.2 ml"):
        draw_lesions(LesionWish(0.5, 50), places, lesion_atlas(), 1)
    with pytest.raises(Refusal, match="this head has room for"):
        draw_lesions(LesionWish(900.0, 50), places, lesion_atlas(), 1)


def test_labels_that_are_no_tissue_are_refused_by_name(brain):
    labels, affine = brain
    odd = labels.copy()
    odd[40, 40, 40] = 137
    with pytest.raises(Refusal, match="the label 137"):
        places_of(odd, affine, lesion_atlas())


def test_a_wish_beyond_what_was_measured_is_said():
    atlas = lesion_atlas()
    assert beyond_measured(LesionWish(10.0, 60), atlas) == []
    (said,) = beyond_measured(LesionWish(80.0, 60), atlas)
    assert "80 ml lies outside" in said
    assert "29 in all" in said


def test_no_drawn_shape_is_one_of_the_atlas():
    """Held against every outline in all 48 turns and mirrors, half of the overlap at the most."""
    atlas, random = lesion_atlas(), np.random.default_rng(0)
    known = np.stack([_inside(outline) for outline in atlas.outlines])
    everyone = np.arange(len(atlas.people))
    best = []
    for _ in range(12):
        drawn = _inside(draw_outline(random, atlas, everyone).distance)
        turned = list(_turns(drawn))
        best.append(max(_dice(t, known).max() for t in turned))
    assert max(best) < 0.97
    assert np.median(best) < 0.9
    assert max(_dice(known[3], known)) == 1.0  # the measure sees a copy


def test_outside_the_mask_nothing_changes_and_inside_it_is_as_measured(places, brain):
    labels, _ = brain
    random = np.random.default_rng(0)
    image = np.array([0, 300, 650, 1000], np.float32)[labels]
    image += random.normal(0, 20, image.shape).astype(np.float32) * (labels > 0)
    lesions = draw_lesions(LesionWish(10.0, 20), places, lesion_atlas(), 5).mask
    for contrast, (low, high) in {"T1w": (0.7, 0.87), "FLAIR": (1.27, 1.42)}.items():
        changed = insert(image, lesions, contrast, SPACING, 9)
        assert (changed == image)[lesions == 0].all()
        assert low < changed[lesions > 0].mean() / 1000 < high
        filled = fill(changed, lesions > 0, SPACING, 9)
        assert (filled == image)[lesions == 0].all()
        assert filled[lesions > 0].mean() == pytest.approx(1000, rel=0.05)
    assert 0.72 <= draw_ratio("T1w", 4) <= 0.84


def _inside(distance):
    return distance.reshape(OUTLINE, OUTLINE, OUTLINE) < 0


def _turns(volume):
    from itertools import permutations, product

    for order in permutations(range(3)):
        for flips in product((False, True), repeat=3):
            axes = tuple(a for a in range(3) if flips[a])
            yield np.flip(volume.transpose(order), axes)


def _dice(one, many):
    both = (many & one).sum((1, 2, 3))
    return 2 * both / (many.sum((1, 2, 3)) + one.sum())


def test_touching_is_by_corners():
    assert TOUCHING.all()
