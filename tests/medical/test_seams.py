"""Seam energy must see a step at a border and nothing else."""

import pytest
import torch

from medical.seams import seam_energy

HALVES = [(slice(0, 20), slice(0, 20), slice(0, 20)), (slice(20, 40), slice(0, 20), slice(0, 20))]


def texture(shape=(40, 20, 20)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_texture_without_a_step_is_seamless():
    assert seam_energy(texture((40, 200, 200)), HALVES) == pytest.approx(1.0, abs=0.02)


def test_a_step_at_the_border_shows():
    x = texture()
    x[20:] += 1.0
    assert seam_energy(x, HALVES) == pytest.approx(1.5, abs=0.2)


def test_the_rhythm_of_slices_is_no_seam():
    x = texture((40, 100, 100))
    x += torch.arange(40).div(4, rounding_mode="floor").float()[:, None, None]  # a step each 4
    assert seam_energy(x, HALVES, (4.0, 1.0, 1.0)) == pytest.approx(1.0, abs=0.05)
    assert seam_energy(x, HALVES) != pytest.approx(1.0, abs=0.05)


def test_one_window_has_no_seam():
    assert seam_energy(texture(), [(slice(0, 40), slice(0, 20), slice(0, 20))]) == 1.0
