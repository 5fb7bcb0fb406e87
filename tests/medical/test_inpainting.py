"""The texture of a painted region is that of what lies around it, not of the region itself."""

import numpy as np
import pytest
from scipy import ndimage

from medical.lesions.appearance import fill
from medical.lesions.inpainting import inpaint

NOISE = 6.0

ALIKE, IN_SUM = 1.5, 4.6  # sums of (squared) correlations of the texture, blurred by half a voxel
ERRORS = 4.0
REGIONS = 8


def painted(radius, *, edge=30.0, seed=0, hole=300.0, size=31, air=0.0, least=0.0, shift=0.0):
    """A ball of noisy tissue in air with a dark hole painted over; the values painted."""
    places = np.moveaxis(np.indices((size,) * 3), 0, -1) - (size - 1) / 2
    away = np.linalg.norm(places, axis=-1)
    mask = np.linalg.norm(places - [2, 0, 1], axis=-1) <= radius
    random = np.random.default_rng(seed)
    tissue = (1000 + NOISE * random.standard_normal(mask.shape)) * (away < edge)
    tissue += air * np.abs(random.standard_normal(mask.shape)) * (away >= edge)
    tissue[0, 0, 0] += least
    image = (np.where(mask, hole, tissue) + shift).astype(np.float32)
    found = inpaint(image, mask, (1.0, 1.0, 1.0), seed, lambda *done: None)
    np.testing.assert_array_equal(found[~mask], image[~mask])
    return found[mask] - shift


def check_texture(radius, **head):
    """Hold regions to the mean and the grain of the tissue around, within errors of sampling."""
    regions = [painted(radius, seed=seed, **head) for seed in range(REGIONS)]
    values = np.concatenate(regions).astype(np.float64)
    grain = NOISE
    count = values.size
    assert values.mean() == pytest.approx(1000, abs=ERRORS * grain * np.sqrt(IN_SUM / count))
    assert values.std() == pytest.approx(grain, rel=ERRORS * np.sqrt(ALIKE / 2 / count))


@pytest.mark.parametrize("hole", [0.0, 300.0, 1800.0])
@pytest.mark.parametrize("radius", [2.0, 5.0])
def test_the_contrast_of_a_region_is_no_texture(radius, hole):
    check_texture(radius, hole=hole)


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"air": 10.0},
        {"air": 30.0},
        {"least": -1.0},
        {"air": 10.0, "least": -1024.0},
        {"air": 10.0, "shift": -2000.0},
    ],
    ids=str,
)
def test_the_edge_of_a_head_is_no_texture(head):
    check_texture(2.0, edge=7.0, size=19, **head)


def test_a_region_in_noisy_air_has_the_noise_of_air():
    random = np.random.default_rng(0)
    image = 10 * np.abs(random.standard_normal((30, 20, 20))).astype(np.float32)
    image[18:] += 1000
    mask = np.zeros(image.shape, bool)
    mask[12:16, 8:12, 8:12] = True  # two voxels from the tissue, which the ring takes in
    found = inpaint(image, mask, (1.0, 1.0, 1.0), 0, lambda *done: None)
    assert found[mask].std() < 10


def test_a_region_in_plain_ground_is_plain():
    image = np.zeros((9, 9, 9), np.float32)
    mask = np.zeros(image.shape, bool)
    image[4, 4, 4], mask[4, 4, 4] = 700, True
    assert not inpaint(image, mask, (1, 1, 1), 0, lambda *done: None).any()


@pytest.mark.parametrize("size", [1.0, 4.0, 6.0])
def test_lesions_are_filled_from_what_touches_them_where_voxels_are_coarse(size):
    places = np.moveaxis(np.indices((11, 11, 11)), 0, -1) - 5.0
    mask = np.linalg.norm(places, axis=-1) <= 1.5
    near = np.linalg.norm(places, axis=-1) <= 3.5  # and air beyond
    noise = NOISE * np.random.default_rng(0).standard_normal(mask.shape)
    image = np.where(mask, 300, np.where(near, 1000 + noise, 0)).astype(np.float32)
    found = fill(image, mask, (size,) * 3, 0)
    np.testing.assert_allclose(found[mask], 1000, atol=5 * NOISE)
    np.testing.assert_array_equal(found[~mask], image[~mask])


@pytest.mark.parametrize("blur", [0.0, 0.5, 0.7])
@pytest.mark.parametrize("size", [2.0, 5.0])
def test_filled_lesions_are_as_rough_as_the_white_matter_around(blur, size):
    """In deviation and from voxel to voxel, with gray matter nearby."""
    places = np.moveaxis(np.indices((48,) * 3), 0, -1) - 23.5
    random = np.random.default_rng(1)
    noise = ndimage.gaussian_filter(random.standard_normal((48,) * 3), blur)
    white = np.abs(places[..., 0]) < 14
    image = np.where(white, 1000, 800) + 20 * noise / noise.std()
    centers = [(a, b, c) for a in (-10, 0, 10) for b in (-14, 0, 14) for c in (-14, 0, 14)]
    far = np.min([np.linalg.norm(places - center, axis=-1) for center in centers], axis=0)
    mask = (far <= size) & white
    image[mask] = 400
    image = image.astype(np.float32)
    known = white & ~mask
    found = fill(image, mask, (1.0, 1.0, 1.0), 0)
    np.testing.assert_array_equal(found[~mask], image[~mask])
    assert found[mask].mean() == pytest.approx(1000, abs=4)
    assert found[mask].std() / image[known].std() == pytest.approx(1, abs=0.15)
    assert _step(found, mask) / _step(image, known) == pytest.approx(1, abs=0.15)


def _step(image, mask):
    pairs = [
        np.diff(image, axis=axis)[np.delete(mask, 0, axis) & np.delete(mask, -1, axis)]
        for axis in range(3)
    ]
    return np.concatenate(pairs).std()
