"""The lesions that are asked of each head of a dataset, drawn from the ranges of its request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from medical.datasets.request import MRIDatasetRequest
from medical.lesions.atlas import LesionAtlas
from medical.lesions.drawing import LesionWish, beyond_measured, usual_count

GROWTH = 1  # draws of growth do not meet those of the load
GROWTH_SAID = (
    "two sessions of each head: lesions grow by what was asked, outward from where they began; "
    "nobody's lesions were followed to measure growth, and no new ones appear"
)


def wish_of(request: MRIDatasetRequest, seed: int, atlas: LesionAtlas) -> LesionWish | None:
    """The lesions of one head in its first session, even over the ranges asked."""
    if request.lesions.healthy:
        return None
    random = np.random.default_rng(seed)
    load = float(random.uniform(*request.lesions.load_ml))
    low, high = request.lesions.count
    count = int(random.integers(low, high + 1)) if high else usual_count(load, atlas, random)
    return LesionWish(round(load, 3), count, request.lesions.regions)


def growth_of(request: MRIDatasetRequest, seed: int) -> float:
    """Millilitres a year by which the lesions of one head grow, even over the range asked."""
    if not request.longitudinal.asked:
        return 0.0
    random = np.random.default_rng([GROWTH, seed])
    return round(float(random.uniform(*request.longitudinal.ml_a_year)), 4)


def said_of_wishes(
    request: MRIDatasetRequest, wishes: Iterable[tuple[str, LesionWish | None]], atlas: LesionAtlas
) -> Iterator[str]:
    """What of the wishes lies beyond what was measured, in words.

    Args:
        request: What was asked.
        wishes: Of each head that is drawn, by its name.
        atlas: What was measured.
    """
    if request.longitudinal.asked:
        yield GROWTH_SAID
    for subject, wish in wishes:
        for words in beyond_measured(wish, atlas) if wish else ():
            yield f"{subject}: {words}"
