"""What a scanner adds to an ideal image: uneven sensitivity, blur, thick slices, noise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.refusal import Refusal
from medical.anatomy.filters import Floats, blurred, read_at

SITES = ("clean", "varied")
AXES = "xyz"
KNOTS = 4
FWHM = 2.3548


@dataclass(frozen=True)
class Site:
    """One scanner and protocol; nothing is added where all is 0.

    Attributes:
        bias: Largest relative change of the sensitivity over the head.
        blur_mm: Full width at half maximum of the point spread.
        slice_axis: ``"x"``, ``"y"`` or ``"z"``.
        slice_mm: Thickness of the slices along it; 0 for slices as fine as the grid.
        noise: Standard deviation as a share of white matter, Rician.
    """

    bias: float = 0.0
    blur_mm: float = 0.0
    slice_axis: str = "z"
    slice_mm: float = 0.0
    noise: float = 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """All of it, for a record."""
        return asdict(self)


def draw_site(name: str, seed: int) -> Site:
    """The scanner of one head.

    Args:
        name: ``"clean"`` adds nothing; ``"varied"`` draws everything.
        seed: Of the head.
    """
    if name not in SITES:
        raise Refusal(f"site={name!r}: it is one of {SITES}; 'clean' adds nothing.")
    if name == "clean":
        return Site()
    random = np.random.default_rng([3, seed])
    thick = float(random.uniform(1.5, 4.0)) if random.random() < 0.3 else 0.0
    return Site(
        bias=round(float(random.uniform(0.05, 0.3)), 3),
        blur_mm=round(float(random.uniform(0.0, 1.2)), 2),
        slice_axis=AXES[int(random.integers(3))],
        slice_mm=round(thick, 2),
        noise=round(float(random.uniform(0.005, 0.04)), 4),
    )


def scanned(
    image: Floats,
    site: Site,
    spacing_mm: tuple[float, float, float],
    white: float,
    seed: list[int],
) -> Floats:
    """The image as that scanner would store it; outside the head it stays 0.

    Args:
        image: (X, Y, Z).
        site: The scanner.
        spacing_mm: Of the voxels.
        white: Intensity of white matter.
        seed: Of the bias field and the noise.
    """
    if site == Site():
        return image
    random, inside = np.random.default_rng(seed), image > 0
    knots = random.uniform(-1, 1, (KNOTS,) * 3).astype(np.float32)
    scale = [(KNOTS - 1) / max(1, n - 1) for n in image.shape]
    field = read_at(knots, scale, image.shape, order=3, mode="nearest")
    image = (image * (1 + site.bias * field)).astype(np.float32)
    sigmas = [site.blur_mm / FWHM / s for s in spacing_mm]
    axis = AXES.index(site.slice_axis)
    sigmas[axis] = float(np.hypot(sigmas[axis], site.slice_mm / FWHM / spacing_mm[axis]))
    image = blurred(image, sigmas)
    noise = random.standard_normal((2, *image.shape), np.float32) * np.float32(site.noise * white)
    return (np.hypot(image + noise[0], noise[1]) * inside).astype(np.float32)
