"""Images of a drawn head: every contrast from one anatomy, so they are registered by making."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from medical.anatomy.filters import Floats, blurred
from medical.anatomy.site import draw_site, scanned
from medical.anatomy.tissues import TISSUES
from medical.anatomy.transfer import MEASURED, T1_WHITE, Measured, transferred

WITH_LESIONS = Callable[[Floats, str], Floats]
"""(image, contrast) -> the image with lesions in it."""


@runtime_checkable
class Scannable(Protocol):
    """What an image can be made of, as ``medical.anatomy.drawn.Anatomy``: labels and texture."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(X, Y, Z) 0 background, 1 CSF, 2 gray, 3 white matter."""
        ...

    @property
    def texture(self) -> Floats | None:
        """(X, Y, Z) T1-weighted, white matter at 0.75; None where none was painted."""
        ...

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxels."""
        ...


WHITE_AT = 1000.0
"""Intensity of white matter, in every contrast."""
SOFT_MM = 0.6
TEXTURE = 0.045
"""Spread within a tissue of an image that nobody painted, as a share of white matter."""


def render(
    anatomy: Scannable,
    contrasts: Sequence[str],
    *,
    lesions: WITH_LESIONS | None = None,
    model: Mapping[str, Measured] | None = None,
    seed: int,
    site: str = "clean",
) -> dict[str, Floats]:
    """Images by contrast, on the grid of the labels; white matter near 1000, 0 outside.

    The texture is that of the anatomy where a model painted one; class means with a smooth
    texture otherwise.

    Args:
        anatomy: What is scanned.
        contrasts: Of ``T1w``, ``T2w``, ``FLAIR``.
        lesions: Puts lesions into an image before it is scanned.
        model: What was measured of each contrast; None takes what ships.
        seed: Of everything random.
        site: ``"clean"`` or ``"varied"``; ``draw_site`` says what is drawn.

    Raises:
        Refusal: A contrast was not measured, or a label is unknown.
    """
    known = MEASURED if model is None else model
    for contrast in contrasts:
        if contrast not in known:
            raise Refusal(
                f"contrast {contrast!r}: intensities were measured of {sorted(known)}; ask for "
                "these."
            )
    check_labels(anatomy.labels)
    scanner, spacing = draw_site(site, seed), anatomy.spacing_mm
    t1 = anatomy.texture
    if t1 is None:
        t1 = _unpainted(anatomy, known["T1w"], seed)
    images = {}
    for contrast in contrasts:
        stream = [2, seed, sorted(known).index(contrast)]
        image = t1 / T1_WHITE
        if known[contrast].weights:
            random = np.random.default_rng(stream)
            image = transferred(t1, anatomy.labels, known[contrast], spacing, random)
        image = (image * WHITE_AT).astype(np.float32)
        if lesions is not None:
            image = lesions(image, contrast)
        images[contrast] = scanned(image, scanner, spacing, WHITE_AT, [*stream, 1])
    return images


def check_labels(labels: NDArray[np.integer]) -> None:
    """Refuse labels that no intensity is known of, by name.

    Raises:
        Refusal: A label is not of the vocabulary.
    """
    unknown = sorted(set(np.unique(labels).tolist()) - set(TISSUES))
    if unknown:
        words = ", ".join(f"{k} {name}" for k, name in TISSUES.items())
        raise Refusal(
            f"labels {unknown[:8]} are not in the vocabulary: heads are made from {words}, and an "
            "unknown label would become a black hole; map each to one of these."
        )


def _unpainted(anatomy: Scannable, measured: Measured, seed: int) -> Floats:
    """A T1-weighted image of class means, soft borders and a smooth texture."""
    sigma = [SOFT_MM / s for s in anatomy.spacing_mm]
    clean = np.array([0, *measured.means], np.float32)[anatomy.labels]
    random = np.random.default_rng([2, seed])
    texture = blurred(random.standard_normal(clean.shape, np.float32), sigma)
    image = blurred(clean, sigma) + TEXTURE / float(texture.std()) * texture
    return np.where(anatomy.labels > 0, image * T1_WHITE, 0.0).clip(0.0, None).astype(np.float32)
