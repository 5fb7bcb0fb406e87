"""One head of a dataset, in each of its sessions: drawn, and held against its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import counted
from core.records import sha256_file
from medical.anatomy.site import Site, draw_site, scanned
from medical.datasets.heads import WHITE_AT, Head, Heads
from medical.datasets.likeness import UNMEASURED, likeness, unlike
from medical.datasets.plan import Plan, Planned
from medical.datasets.quality import faults, measured
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.sessions import FIRST, SECOND, before_growth, growth_faults
from medical.lesions.appearance import draw_ratio, insert
from medical.lesions.atlas import LesionAtlas
from medical.lesions.drawing import DrawnLesions, draw_lesions
from medical.lesions.regions import places_of

LOAD_TOLERANCE = 0.05
TISSUE_SHARES = {1: (0.04, 0.35), 2: (0.3, 0.62), 3: (0.2, 0.5)}
"""Of the brain, from the smallest to the largest of real heads and of the template, with room."""


@dataclass(frozen=True, eq=False)
class DrawnVolume:
    """A head in memory.

    Attributes:
        head: Its anatomy.
        images: Contrast to intensities, whole numbers.
        lesions: None for a healthy head.
        facts: What is known of it.
        before: The last contrast before its lesions; None for a healthy head.
        later: The second session; None where there is one.
    """

    head: Head
    images: Mapping[str, NDArray[np.float32]]
    lesions: DrawnLesions | None
    facts: dict[str, Any]
    before: NDArray[np.float32] | None = None
    later: DrawnVolume | None = None

    @property
    def sessions(self) -> tuple[tuple[str, DrawnVolume], ...]:
        """Each session by its name; the name of a single one is empty."""
        return ((FIRST, self), (SECOND, self.later)) if self.later else (("", self),)

    @property
    def change(self) -> NDArray[np.uint8]:
        """1 where lesions are in the second session and not in the first; without one all 0."""
        return self.later.mask - self.mask if self.later else np.zeros_like(self.mask)

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 in lesions, 0 elsewhere."""
        if self.lesions is None:
            return np.zeros(self.head.labels.shape, dtype=np.uint8)
        return (self.lesions.mask > 0).astype(np.uint8)


def draw_volume(
    request: MRIDatasetRequest,
    plan: Plan,
    planned: Planned,
    attempt: int,
    heads: Heads,
    atlas: LesionAtlas,
) -> DrawnVolume:
    """The head that follows from request, place and attempt alone."""
    seed = planned.attempt_seed(attempt)
    head = heads.draw(seed, request.spacing_mm, plan.pools[planned.fold])
    head = replace(head, facts=plan.told[planned.fold].facts(head.facts))
    images = heads.render(head, request.contrasts, seed)
    images = {name: np.rint(image).clip(0, 32767) for name, image in images.items()}
    lesions, later, grown = _lesions(planned, head, request, plan, atlas, seed)
    scanner = _Scanner(draw_site(request.site, seed), request.spacing_mm, seed)
    first = scanner.session(images, lesions)
    before = scanner.scan(images[request.contrasts[-1]], len(images) - 1) if lesions else None
    facts = {
        "subject": planned.subject,
        "fold": planned.fold,
        "attempt": attempt,
        "seed": seed,
        "contributors": {
            "anatomy": dict(head.contributors),
            "lesions": dict(lesions.contributors) if lesions else {},
        },
        "anatomy": dict(head.facts),
        "lesions": dict(lesions.facts) if lesions else None,
        "lesion_to_white_matter": {
            name: round(draw_ratio(name, seed), 4) for name in (images if lesions else ())
        },
        "site": scanner.site.facts,
        "quality": measured(first, head.labels, head.affine, WHITE_AT),
    }
    drawn = DrawnVolume(head, first, lesions, facts, before)
    facts["quality"]["likeness"] = _likeness(drawn, request, seed)
    if later is None:
        return drawn
    second = DrawnVolume(head, scanner.session(images, later, 1), later, facts)
    about = measured(second.images, head.labels, head.affine, WHITE_AT)["images"]
    facts |= {"longitudinal": grown}
    facts["quality"]["later"] = {"images": about}
    return replace(drawn, later=second)


def _lesions(
    planned: Planned,
    head: Head,
    request: MRIDatasetRequest,
    plan: Plan,
    atlas: LesionAtlas,
    seed: int,
) -> tuple[DrawnLesions | None, DrawnLesions | None, dict[str, Any]]:
    """The lesions of the first and of the second session, and what is recorded of growth."""
    if planned.last_wish is None:
        return None, None, {}
    in_mni = head.to_mni @ head.affine
    places = places_of(head.labels, in_mni, atlas, spacing_mm=request.spacing_mm)
    pool = plan.lesion_pools[planned.fold]
    drawn = draw_lesions(planned.last_wish, places, atlas, seed, people=pool)
    if not planned.years:
        return drawn, None, {}
    first, grown = before_growth(drawn, planned, places.voxel_mm3)
    return first, drawn, grown


@dataclass(frozen=True)
class _Scanner:
    """What makes images of a head: faults of a scanner, and the seed of its noise."""

    site: Site
    spacing_mm: tuple[float, float, float]
    seed: int

    def session(
        self,
        clean: Mapping[str, NDArray[np.float32]],
        lesions: DrawnLesions | None,
        number: int = 0,
    ) -> dict[str, NDArray[np.float32]]:
        """The images of a session, its lesions in them."""
        images = dict(clean)
        for name, image in clean.items() if lesions else ():
            assert lesions is not None
            changed = insert(image, lesions.mask, name, self.spacing_mm, self.seed)
            images[name] = np.rint(changed).clip(0, 32767)
        return {n: self.scan(image, k, number) for k, (n, image) in enumerate(images.items())}

    def scan(self, image: NDArray[np.float32], place: int, number: int = 0) -> NDArray[np.float32]:
        """One image as it is stored; bias field and noise of a second session are its own."""
        seed = [4, self.seed, place, *([number] if number else [])]
        seen = scanned(image, self.site, self.spacing_mm, WHITE_AT, seed)
        return np.rint(seen).clip(0, 32767)


def _likeness(drawn: DrawnVolume, request: MRIDatasetRequest, seed: int) -> dict[str, Any] | None:
    """How like real heads; of T1w at 1 mm, judged where no faults of a scanner were asked."""
    if "T1w" not in drawn.images or any(abs(mm - 1) > 0.01 for mm in request.spacing_mm):
        return None
    found = likeness(drawn.images["T1w"], drawn.head.labels, drawn.mask, seed)
    judged = request.site == "clean" and bool(drawn.head.contributors)
    if found is None:
        return {"unmeasured": UNMEASURED, "judged": True} if judged else None
    return {**found, "judged": judged}


def judge(drawn: DrawnVolume, planned: Planned) -> list[str]:
    """Why a head is no part of the dataset; empty if it is."""
    labels, reasons = drawn.head.labels, []
    brain = float((labels > 0).sum())
    for label, (low, high) in TISSUE_SHARES.items():
        share = float((labels == label).sum()) / max(brain, 1.0)
        if not low <= share <= high:
            reasons.append(f"tissue {label} is {share:.3f} of the brain, not {low:g} to {high:g}")
    if drawn.lesions is not None and planned.wish is not None:
        load = drawn.lesions.facts["load_ml"]["delivered"]
        count = drawn.lesions.facts["count"]["delivered"]
        if abs(load - planned.wish.load_ml) > LOAD_TOLERANCE * planned.wish.load_ml:
            reasons.append(f"{load:.3g} ml of lesions, not {planned.wish.load_ml:.3g}")
        if count != planned.wish.count:
            reasons.append(f"{counted(count, 'lesion')}, not {planned.wish.count}")
    quality = drawn.facts["quality"]
    if drawn.later is not None:
        reasons += growth_faults(drawn.facts["longitudinal"])
        reasons += [f"{SECOND}, {words}" for words in faults(quality["later"])]
    like = quality["likeness"]
    reasons += unlike(like) if like and like["judged"] else []
    return reasons + faults(quality)


def digests(files: list[Path], out: Path) -> dict[str, str]:
    """SHA-256 of files by their place in the dataset."""
    return {str(path.relative_to(out)): sha256_file(path) for path in sorted(files)}
