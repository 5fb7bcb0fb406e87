"""Anatomies that nobody has, and their images: the same from the same seed, of the pool asked."""

import numpy as np
import pytest

from core.refusal import Refusal
from medical.anatomy.drawn import Anatomy, draw_anatomy
from medical.anatomy.pool import Pool, read_pool, write_pool
from medical.anatomy.rendering import check_labels, render
from medical.anatomy.site import draw_site
from medical.anatomy.tissues import find_tissues
from tests.medical.heads import pool

COARSE = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def people() -> Pool:
    return pool()


@pytest.fixture(scope="module")
def anatomy(people: Pool) -> Anatomy:
    return draw_anatomy(people, 3, spacing_mm=COARSE)


def test_the_same_seed_draws_the_same_and_another_another(people: Pool, anatomy: Anatomy) -> None:
    again = draw_anatomy(people, 3, spacing_mm=COARSE)
    other = draw_anatomy(people, 4, spacing_mm=COARSE)
    assert np.array_equal(again.labels, anatomy.labels)
    assert dict(again.contributors) == dict(anatomy.contributors)
    brain = (anatomy.labels > 0) | (other.labels > 0)
    assert (anatomy.labels != other.labels)[brain].mean() > 0.02


def test_labels_are_tissues_on_the_grid_asked_for(anatomy: Anatomy) -> None:
    assert anatomy.labels.dtype == np.uint8
    assert set(np.unique(anatomy.labels)) == {0, 1, 2, 3}
    assert anatomy.spacing_mm == COARSE
    assert anatomy.labels[[0, -1]].max() == 0
    volume = (anatomy.labels > 0).sum() * 27 / 1000
    assert 900 < volume < 1700


def test_everybody_contributes_and_shares_add_up(people: Pool, anatomy: Anatomy) -> None:
    assert set(anatomy.contributors) == {p.hash for p in people.people}
    assert sum(anatomy.contributors.values()) == pytest.approx(1, abs=1e-3)
    assert min(abs(w) for w in anatomy.contributors.values()) > 0


def test_ten_years_are_told_and_the_age_of_nobody(people: Pool, anatomy: Anatomy) -> None:
    first = int(anatomy.facts["age"]) // 10 * 10
    assert anatomy.facts["age"] == first + 5
    assert anatomy.facts["age_band"] == f"{first} to {first + 9}"
    assert any(first <= person.age < first + 10 for person in people.people)


def test_age_and_sex_come_from_those_asked_for(people: Pool) -> None:
    wide = pool(30)
    drawn = [draw_anatomy(wide, s, spacing_mm=COARSE, age=(30, 45), sex="f") for s in (1, 2)]
    assert all(d.facts["sex"] == "f" and 30 <= d.facts["age"] <= 45 for d in drawn)
    with pytest.raises(Refusal, match="holds 2 people like that"):
        draw_anatomy(people, 1, age=(50, 60))
    with pytest.raises(Refusal, match="one of"):
        draw_anatomy(people, 1, sex="x")


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 9.0), (0.1, 1.0, 1.0)])
def test_a_grid_that_nothing_can_be_drawn_on_is_refused(people: Pool, spacing) -> None:
    with pytest.raises(Refusal, match="spacing_mm"):
        draw_anatomy(people, 1, spacing_mm=spacing)


def test_few_people_are_no_pool(people: Pool) -> None:
    with pytest.raises(Refusal, match="pool of 2 people"):
        people.only([p.hash for p in people.people[:2]])
    assert len(people.only([p.hash for p in people.people[:5]]).people) == 5


def test_a_pool_is_read_as_it_was_written(people: Pool, tmp_path) -> None:
    digest = write_pool(people, tmp_path)
    read = read_pool(tmp_path)
    assert read.digest == digest
    assert read.people == people.people
    assert np.array_equal(read.wide, people.wide)
    (tmp_path / "pool.safetensors").write_bytes(b"no")
    with pytest.raises(Refusal, match="is no pool"):
        read_pool(tmp_path)
    with pytest.raises(Refusal, match="holds no"):
        read_pool(tmp_path / "elsewhere")


def test_contrasts_have_their_order_of_tissues_on_one_grid(anatomy: Anatomy) -> None:
    images = render(anatomy, ["T1w", "T2w", "FLAIR"], seed=1)
    assert {i.shape for i in images.values()} == {anatomy.labels.shape}
    mean = {
        name: [float(image[anatomy.labels == k].mean()) for k in (1, 2, 3)]
        for name, image in images.items()
    }
    csf, gray, white = range(3)
    assert mean["T1w"][csf] < mean["T1w"][gray] < mean["T1w"][white]
    assert mean["T2w"][white] < mean["T2w"][gray] < mean["T2w"][csf]
    assert mean["FLAIR"][csf] < mean["FLAIR"][white] < mean["FLAIR"][gray]
    assert all(image[anatomy.labels == 0].max() < 150 for image in images.values())
    again = render(anatomy, ["FLAIR"], seed=1)["FLAIR"]
    assert np.array_equal(again, images["FLAIR"])


def test_what_is_not_known_is_refused_by_name(anatomy: Anatomy) -> None:
    with pytest.raises(Refusal, match="'PD'"):
        render(anatomy, ["PD"], seed=1)
    with pytest.raises(Refusal, match="mars"):
        render(anatomy, ["T1w"], seed=1, site="mars")
    with pytest.raises(Refusal, match=r"\[163, 164\]"):
        check_labels(np.array([0, 1, 163, 164], np.int32))


def test_lesions_are_put_in_before_the_scan(anatomy: Anatomy) -> None:
    seen = []

    def brighter(image: np.ndarray, contrast: str) -> np.ndarray:
        seen.append(contrast)
        return image + 100

    plain = render(anatomy, ["T1w"], seed=1)["T1w"]
    assert np.allclose(render(anatomy, ["T1w"], lesions=brighter, seed=1)["T1w"], plain + 100)
    assert seen == ["T1w"]


def test_a_site_is_drawn_once_and_recorded(anatomy: Anatomy) -> None:
    assert draw_site("clean", 1).facts["noise"] == 0
    site = draw_site("varied", 5)
    assert site == draw_site("varied", 5) != draw_site("varied", 6)
    clean = render(anatomy, ["T1w"], seed=5)["T1w"]
    varied = render(anatomy, ["T1w"], seed=5, site="varied")["T1w"]
    inside = clean > 0
    assert 0.9 < np.corrcoef(clean[inside], varied[inside])[0, 1] < 0.9999
    assert not varied[~inside].any()


def test_the_classifier_finds_the_tissues_of_a_rendering(people: Pool) -> None:
    drawn = draw_anatomy(people, 3, spacing_mm=(2.0, 2.0, 2.0))
    image = render(drawn, ["T1w"], seed=2)["T1w"]
    x = np.linspace(-1, 1, image.shape[0], dtype=np.float32)[:, None, None]
    found = find_tissues(image * (1 + 0.15 * x), (2.0, 2.0, 2.0))
    for tissue, least in ((1, 0.85), (2, 0.9), (3, 0.95)):
        ours, theirs = drawn.labels == tissue, found.labels == tissue
        dice = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
        assert dice > least, (tissue, dice)
    white = found.even[found.labels == 3]
    assert np.median(white) == pytest.approx(0.75, abs=1e-3)


def test_what_is_no_brain_has_no_tissues() -> None:
    with pytest.raises(Refusal, match="skull-stripped"):
        find_tissues(np.zeros((20, 20, 20), np.float32), (1.0, 1.0, 1.0))
    flat = np.zeros((60, 60, 60), np.float32)
    flat[5:55, 5:55, 5:55] = 1
    with pytest.raises(Refusal, match="fewer than three"):
        find_tissues(flat, (1.0, 1.0, 1.0))
