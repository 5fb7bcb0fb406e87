"""Seam energy must see a jump at a border and nothing else."""

import pytest
import torch

from medical.evaluation.seams import seam_energy

FULL = slice(0, 100)
HALVES = [(slice(0, 20), FULL, FULL), (slice(20, 40), FULL, FULL)]


def texture(shape=(40, 100, 100), seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_texture_without_a_jump_is_seamless():
    assert seam_energy(texture(), HALVES) == pytest.approx(1.0, abs=0.02)


def test_a_jump_at_the_border_shows_and_elsewhere_does_not():
    x = texture()
    plain = seam_energy(x, HALVES)
    x[20:] += 1.0
    # in unit noise a jump has energy 1.5^2 + 1.5^2 + 0.5^2 + 0.5^2 = 5, and a step of 1 adds 1
    assert seam_energy(x, HALVES) - plain == pytest.approx(1 / 5, abs=0.05)
    y = texture()
    y[30:] += 1.0
    assert seam_energy(y, HALVES) == pytest.approx(plain, abs=0.02)


def test_the_rhythm_of_slices_is_no_seam():
    x = 0.3 * texture()
    x += torch.arange(40).div(4, rounding_mode="floor").float()[:, None, None]  # a jump each 4
    assert seam_energy(x, HALVES, (4.0, 1.0, 1.0)) == pytest.approx(1.0, abs=0.05)
    assert seam_energy(x, HALVES) > 1.5


def test_anatomy_that_the_reference_shows_is_no_seam():
    anatomy = texture()
    anatomy[20:] += 5.0
    x = anatomy + 0.05 * texture(seed=1)
    assert seam_energy(x, HALVES) > 1.5
    assert seam_energy(x, HALVES, reference=anatomy) == pytest.approx(1.0, abs=0.01)


def test_one_window_has_no_seam():
    assert seam_energy(texture(), [(slice(0, 40), FULL, FULL)]) == 1.0
