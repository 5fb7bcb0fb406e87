"""Heads that an audit must find, made from real ones: what it does not find it cannot clear.

A copy is what a model that was over-fitted to one head gives: the head itself with other noise,
brightness, blur and place. A rendering is what a generator gives that is told a person's label
map: an image that nobody acquired, and the person's own anatomy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from medical.anatomy.filters import Floats, blurred, read_at
from medical.anatomy.tissues import find_tissues
from medical.audit.seen import coarse, painted
from medical.files.volume import Volume

NOISE, UNEVEN = 0.03, 0.15
BEND_MM, KNOTS_MM = 5.0, 16.0


def copied(head: Volume, seed: int) -> Volume:
    """The head with other noise, bias and blur, moved and turned a little."""
    random = np.random.default_rng([31, seed])
    data, affine = coarse(head)
    top = float(np.quantile(data[data > 0], 0.98))
    image = _scanned(blurred(data / top, 0.3), data > 0.02 * top, random)
    return Volume(torch.from_numpy(image * 700.0), _moved(affine, random))


def rendered(head: Volume, seed: int) -> Volume:
    """The head's label map as an image: class means, soft borders, texture."""
    return _rendered(_labels(head), head, np.random.default_rng([32, seed]))


def bent(head: Volume, seed: int) -> Volume:
    """The same, bent by up to 5 mm at knots of 16 mm before it is rendered."""
    random = np.random.default_rng([33, seed])
    spacing = np.linalg.norm(coarse(head)[1][:3, :3], axis=0)
    return _rendered(bent_labels(_labels(head), spacing, random), head, random)


def bent_labels(
    labels: NDArray[np.uint8], spacing: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Labels of a spacing in mm, bent by up to 5 mm at knots of 16 mm."""
    places = np.indices(labels.shape).astype(np.float32)
    scale = [s / KNOTS_MM for s in spacing]
    knots = [int(np.ceil(n * s)) + 3 for n, s in zip(labels.shape, scale, strict=True)]
    for axis in range(3):
        field = random.uniform(-BEND_MM, BEND_MM, knots).astype(np.float32)
        shift = read_at(field, scale, labels.shape, offset=1.0, order=3)
        places[axis] += shift / np.float32(spacing[axis])
    near = np.rint(places).astype(np.intp)
    inside = np.all([(near[a] >= 0) & (near[a] < labels.shape[a]) for a in range(3)], axis=0)
    at = tuple(np.clip(near[a], 0, labels.shape[a] - 1) for a in range(3))
    return np.where(inside, labels[at], 0).astype(np.uint8)


FOUND = 0.95
"""Least share of each control that must be found, and the right person named."""
CONTROLS: Mapping[str, Callable[[Volume, int], Volume]] = {
    "copies": copied,
    "renderings": rendered,
    "bent renderings": bent,
}
"""By what they are called."""
MAY_BE_MISSED = ("bent renderings",)
"""Told, not asked for; an audit that misses more than one in twenty of any other is none."""


def _labels(head: Volume) -> NDArray[np.uint8]:
    data, affine = coarse(head)
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return find_tissues(data, (x, y, z)).labels


def _rendered(labels: NDArray[np.uint8], head: Volume, random: np.random.Generator) -> Volume:
    image = _scanned(blurred(painted(labels), 0.5), labels > 0, random)
    return Volume(torch.from_numpy(image * 900.0), _moved(coarse(head)[1], random))


def _scanned(image: Floats, inside: NDArray[np.bool_], random: np.random.Generator) -> Floats:
    """An image under a bias field and Rician noise."""
    knots = random.uniform(-UNEVEN, UNEVEN, (4, 4, 4)).astype(np.float32)
    scale = [3 / max(1, n - 1) for n in image.shape]
    uneven = image * (1 + read_at(knots, scale, image.shape, order=3, mode="nearest"))
    noise = random.standard_normal((2, *image.shape), np.float32) * np.float32(NOISE)
    return np.where(inside, np.hypot(uneven + noise[0], noise[1]), 0.0).astype(np.float32)


def _moved(affine: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The affine of a head that lay elsewhere: up to 6 mm and 4 degrees off."""
    angle = np.deg2rad(random.uniform(-4, 4))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = random.uniform(-6, 6, 3)
    return turn @ affine
