"""Lesions of one head: how many, how large, where; drawn so that load and count are met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import counted
from core.refusal import Refusal
from medical.lesions.atlas import REGIONS, LesionAtlas
from medical.lesions.fields import parts_of, wider
from medical.lesions.growth import draw_outline, grow
from medical.lesions.regions import Places

FEWEST_VOXELS = 3
TRIES = 60
ROOM = 0.35  # share of a region that lesions may fill at most


@dataclass(frozen=True)
class LesionWish:
    """What is asked of the lesions of one head.

    Attributes:
        load_ml: their volume in all.
        count: how many there are, parts that touch taken as one.
        regions: where they begin; none for everywhere, as frequent as measured.
    """

    load_ml: float
    count: int
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DrawnLesions:
    """Lesions that were drawn.

    Attributes:
        mask: (X, Y, Z) which lesion a voxel belongs to, from 1; 0 for none.
        joined: (X, Y, Z) when a voxel joined its lesion, as a share of that lesion, 0 to 1.
        contributors: digests of the people whose outlines were used, with their shares.
        facts: load and count asked and delivered, lesions by region.
    """

    mask: NDArray[np.uint16]
    joined: NDArray[np.float32]
    contributors: dict[str, float]
    facts: dict[str, Any]


def draw_lesions(
    wish: LesionWish,
    places: Places,
    atlas: LesionAtlas,
    seed: int,
    *,
    people: Sequence[int] | None = None,
) -> DrawnLesions:
    """Lesions of the load and count asked for, in one head.

    Args:
        wish: what is asked.
        places: where lesions may lie in this head.
        atlas: what is known of real ones.
        seed: decides everything.
        people: whose outlines may be used, indices into ``atlas.people``; None for all.

    Raises:
        Refusal: There is no room, or the voxels are too coarse, for so many or so much.
    """
    random = np.random.default_rng(seed)
    begin = places.of(wish.regions or REGIONS)
    total = round(wish.load_ml * 1000 / places.voxel_mm3)
    _check_room(wish, places, begin, total)
    sizes = _sizes(random, wish.count, total, atlas)
    owners = np.arange(len(atlas.people)) if people is None else np.asarray(people)
    mask = np.zeros(places.region.shape, dtype=np.uint16)
    joined = np.zeros(places.region.shape, dtype=np.float32)
    free, used, regions = places.region > 0, dict[int, float](), dict[str, int]()
    weights = places.frequency * begin
    for number, size in enumerate(sorted(sizes.tolist(), reverse=True), start=1):
        voxels, outline = _place(random, size, free, weights, places, atlas, owners)
        taken = tuple(voxels.T)
        mask[taken] = number
        joined[taken] = (np.arange(len(voxels)) + 1) / len(voxels)
        _block(free, voxels)
        name = REGIONS[places.region[tuple(voxels[0])] - 1]
        regions[name] = regions.get(name, 0) + 1
        for owner in outline:
            used[owner] = used.get(owner, 0.0) + size / total / len(outline)
    load = float((mask > 0).sum()) * places.voxel_mm3 / 1000
    facts = {
        "load_ml": {"asked": wish.load_ml, "delivered": round(load, 6)},
        "count": {"asked": wish.count, "delivered": parts_of(mask > 0)[1]},
        "regions": regions,
    }  # fmt: skip
    contributors = {atlas.people[owner]: round(share, 6) for owner, share in sorted(used.items())}
    return DrawnLesions(mask, joined, contributors, facts)


def beyond_measured(wish: LesionWish, atlas: LesionAtlas, *, counted: bool = True) -> list[str]:
    """What of a wish lies outside the loads and counts that were measured, in words.

    Args:
        wish: what is asked.
        atlas: what was measured.
        counted: whether a count was asked for.
    """
    loads = np.asarray(atlas.facts["load_ml"])
    counts = np.asarray([count for _, count in atlas.facts["load_and_count"]])
    said = []
    asked = ((wish.load_ml, loads, "ml"), (wish.count, counts, "lesions"))
    for value, known, what in asked if counted else asked[:1]:
        low, high = np.quantile(known, [0.05, 0.95])
        if not low <= value <= high:
            said.append(
                f"{value:.4g} {what} lies outside the middle nine tenths of the "
                f"people measured, {len(known)} in all ({low:.3g} to {high:.3g} {what})"
            )
    return said


def usual_count(load_ml: float, atlas: LesionAtlas, random: np.random.Generator) -> int:
    """A number of lesions such as people with about that load have."""
    loads, counts = np.log(np.asarray(atlas.facts["load_and_count"], dtype=np.float64)).T
    slope, start = np.polyfit(loads, counts, 1)
    spread = float((counts - slope * loads - start).std())
    drawn = start + slope * math.log(load_ml) + 0.7 * spread * float(random.standard_normal())
    return max(1, min(round(math.exp(drawn)), int(load_ml * 1000 / 20)))


def _sizes(
    random: np.random.Generator, count: int, total: int, atlas: LesionAtlas
) -> NDArray[np.int64]:
    """Voxels of each lesion: spread as measured within people, with exactly the sum asked."""
    quantiles = np.asarray(atlas.facts["log_relative_volume"])
    at = random.random(count) * (len(quantiles) - 1)
    relative = np.exp(np.interp(at, np.arange(len(quantiles)), quantiles))
    low, high = 0.0, total / relative.min()
    for _ in range(80):  # the scale at which the sum is met, small ones held at the fewest voxels
        scale = (low + high) / 2
        met = np.maximum(relative * scale, FEWEST_VOXELS).sum() > total
        low, high = (low, scale) if met else (scale, high)
    sizes = np.floor(np.maximum(relative * low, FEWEST_VOXELS)).astype(np.int64)
    sizes[sizes.argmax()] += total - sizes.sum()
    return sizes


def _place(  # noqa: PLR0917  what one lesion of many is placed by
    random: np.random.Generator,
    size: int,
    free: NDArray[np.bool_],
    weights: NDArray[np.float32],
    places: Places,
    atlas: LesionAtlas,
    owners: NDArray[np.int64],
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """The voxels of one lesion where there is room for it, and whose outlines it has."""
    here = np.flatnonzero(free & (weights > 0))
    if len(here):
        chances = np.cumsum(weights.ravel()[here].astype(np.float64))
        for _ in range(TRIES):
            drawn = min(
                int(np.searchsorted(chances, random.random() * chances[-1])), len(here) - 1
            )
            x, y, z = np.unravel_index(int(here[drawn]), free.shape)
            outline = draw_outline(random, atlas, owners)
            seed = (int(x), int(y), int(z))
            voxels = grow(outline, seed, size, free, places.frequency, places.spacing_mm)
            if len(voxels) == size:
                return voxels, outline.owners
    raise Refusal(
        f"a lesion of {size * places.voxel_mm3 / 1000:.3g} ml found no room beside the others: "
        "lesions lie in white matter and do not touch; ask for a smaller load, fewer lesions or "
        "more regions."
    )


def _block(free: NDArray[np.bool_], voxels: NDArray[np.int64]) -> None:
    """Keep the voxels of a lesion and all that touch them from the next ones."""
    low = np.maximum(voxels.min(axis=0) - 1, 0)
    high = voxels.max(axis=0) + 2
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    there = np.zeros(free[box].shape, dtype=bool)
    there[tuple((voxels - low).T)] = True
    free[box] &= ~wider(there)


def _check_room(wish: LesionWish, places: Places, begin: NDArray[np.bool_], total: int) -> None:
    fewest = FEWEST_VOXELS * wish.count
    if total < fewest:
        raise Refusal(
            f"{counted(wish.count, 'lesion')} of {wish.load_ml:g} ml in all: a lesion has at "
            f"least {FEWEST_VOXELS} voxels, {fewest * places.voxel_mm3 / 1000:.3g} ml for so many "
            "at "
            "this spacing; ask for fewer, a larger load or finer voxels."
        )
    room = float((places.region > 0).sum())
    if not begin.any() or total > ROOM * room:
        named = ", ".join(wish.regions) or "all regions"
        most = math.floor(ROOM * room * places.voxel_mm3 / 1000) if begin.any() else 0
        raise Refusal(
            f"{wish.load_ml:g} ml of lesions in {named}: this head has room for {most} ml there; "
            "ask for a smaller load or more regions."
        )
