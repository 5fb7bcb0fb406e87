"""What a dataset will hold, decided before anything is drawn: who, which fold, which lesions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.progress import counted
from core.refusal import Refusal
from medical.datasets.heads import Contributor, Heads
from medical.datasets.linkage import FEWEST_IN_POOL, said_of_linkage, unmeasured
from medical.datasets.request import ANY_AGE, MRIDatasetRequest
from medical.datasets.telling import Told
from medical.datasets.wishes import growth_of, said_of_wishes, wish_of
from medical.lesions.atlas import LesionAtlas
from medical.lesions.drawing import LesionWish

FOLDS = 5
FEWEST_PEOPLE = 5
FORMAT_VERSION, TRUE_LOADS = 6, 7


@dataclass(frozen=True)
class Planned:
    """One head of a dataset.

    Attributes:
        subject: Its name, ``sub-001``.
        index: Its place, from 0.
        fold: Which of the splits it validates in.
        wish: Its lesions, in the first session where there are two; None for a healthy head.
        seed: Of its first attempt; see ``attempt_seed``.
        years: From its first session to the second; 0 where there is one.
        ml_a_year: By which its lesions grow.
    """

    subject: str
    index: int
    fold: int
    wish: LesionWish | None
    seed: int
    years: float = 0.0
    ml_a_year: float = 0.0

    @property
    def last_wish(self) -> LesionWish | None:
        """Its lesions in the last session, as they are drawn."""
        if self.wish is None or not self.years:
            return self.wish
        return replace(self.wish, load_ml=self.wish.load_ml + self.years * self.ml_a_year)

    def attempt_seed(self, attempt: int) -> int:
        """The seed of an attempt, 0 for the first."""
        return _number(f"{self.seed}/{attempt}")


@dataclass(frozen=True)
class Plan:
    """A whole dataset.

    Attributes:
        key: Digest of all that decides its bytes.
        volumes: Its heads.
        pools: The people anatomies are drawn from, for each fold.
        lesion_pools: The people lesion outlines are drawn from, for each fold.
        said: What a reader must know: requests beyond what was measured, people who may be
            recognized.
        around: How many people the mean is of that every head is drawn around; 0 where it is of
            the pool alone.
    """

    key: str
    volumes: tuple[Planned, ...]
    pools: tuple[tuple[Contributor, ...], ...]
    lesion_pools: tuple[tuple[int, ...], ...]
    said: tuple[str, ...]
    around: int = 0
    traced: Mapping[str, Any] | None = None
    pending: bool = False

    @property
    def told(self) -> tuple[Told, ...]:
        """Which ages and sexes of heads are told, for each fold."""
        return tuple(map(Told.of, self.pools))


def make_plan(
    request: MRIDatasetRequest,
    heads: Heads,
    atlas: LesionAtlas,
    traced: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a dataset.

    Args:
        request: What was asked.
        heads: Where heads come from.
        atlas: Of lesions.
        traced: How far heads can be traced to people of the user's own, where it was measured.

    Raises:
        Refusal: Too few people stand behind it, or they may be recognized and nobody accepted it.
    """
    check_sources(request.sources)
    eligible = eligible_people(request, heads)
    pools = split(eligible, FOLDS, FEWEST_IN_POOL) if eligible else ((),) * FOLDS
    folds = len(pools)
    people = len(heads.people)
    said = said_of_linkage(request, people, len(eligible), traced)
    said += _untold(pools)
    without = {"name", "count", "formats", "accept_linkage", "linkage_drawings"}
    if not request.longitudinal.asked:  # so that datasets of one session keep their key
        without.add("longitudinal")
    decides = request.model_dump(exclude=without)
    decides |= {"heads": heads.digest, "atlas": atlas.digest, "format": _format(request, heads)}
    decides["sources"] = heads.digest if request.sources else ""  # wherever they stand
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    width = max(3, len(str(request.count)))
    volumes = tuple(
        Planned(
            subject=f"sub-{index + 1:0{width}d}",
            index=index,
            fold=index % folds,
            wish=wish_of(request, _number(f"{key}/{index}/lesions"), atlas),
            seed=_number(f"{key}/{index}"),
            years=request.longitudinal.years,
            ml_a_year=growth_of(request, _number(f"{key}/{index}/lesions")),
        )
        for index in range(request.count)
    )
    said += said_of_wishes(request, ((v.subject, v.last_wish) for v in volumes), atlas)
    order = sorted(range(len(atlas.people)), key=lambda i: atlas.people[i])
    lesion_pools = tuple(tuple(order[k::folds]) for k in range(folds))
    own = bool(request.sources) and not unmeasured(request, people)
    return Plan(
        key, volumes, pools, lesion_pools, tuple(said), heads.around, traced, own and not traced
    )


def _format(request: MRIDatasetRequest, heads: Heads) -> int:
    """What the key tells of how heads are made: lesions of people's heads are met in the head."""
    true_loads = bool(heads.people) and not request.lesions.healthy
    return TRUE_LOADS if true_loads else FORMAT_VERSION


def check_sources(sources: str) -> None:
    """Refuse a folder of people that heads cannot be drawn from.

    Raises:
        Refusal: It is no BIDS folder, or holds too few people.
    """
    if not sources:
        return
    found = {path.name.partition("_")[0] for path in Path(sources).glob("sub-*/**/sub-*_T1w.nii*")}
    check_enough(sources, len(found))


def check_enough(sources: str, people: int, left_out: str = "", unnamed: str = "") -> None:
    """Refuse too few people to draw from.

    Args:
        sources: Their folder.
        people: How many there are.
        left_out: What of the folder was not taken, and why.
        unnamed: The same without names.

    Raises:
        Refusal: They are too few.
    """
    fewest = math.ceil(FEWEST_PEOPLE * 4 / 3)
    if people < fewest:
        named, told = (
            f"sources={sources} holds T1-weighted heads of "
            f"{counted(people, 'person', 'people')}{f' ({why})' if why else ''}: a dataset is "
            f"drawn from {fewest} or more, of whom a quarter serve the audit alone; name a BIDS "
            "folder with more people."
            for why in (left_out, unnamed)
        )
        raise Refusal(named, unnamed=told)


def eligible_people(request: MRIDatasetRequest, heads: Heads) -> tuple[Contributor, ...]:
    """Who of a source may contribute to a request; nobody where no person stands behind it.

    Every fourth is in no pool and serves the audit. Of a model's people they are, for all that, in
    the mean that every head is drawn around.

    Raises:
        Refusal: Fewer than five fit.
    """
    if not heads.people:
        return ()
    order = sorted(heads.people, key=lambda person: person.hash)
    kept = [person for place, person in enumerate(order) if place % 4 != 3]
    low, high = request.age
    found = tuple(
        p
        for p in kept
        if (request.age == ANY_AGE or low <= p.age <= high) and request.sex in ("any", p.sex)
    )
    if len(found) < FEWEST_PEOPLE:
        asked = _stratum(request)
        raise Refusal(
            f"{len(found)} of {counted(len(order), 'person', 'people')} can stand behind {asked}: "
            "a dataset is drawn "
            f"from {FEWEST_PEOPLE} or more, and a quarter of the people serve the audit alone; "
            "widen age or sex, or bring sources with more such people."
        )
    return found


def split(
    people: Sequence[Contributor], folds: int, fewest: int
) -> tuple[tuple[Contributor, ...], ...]:
    """People in pools of equal size, as many pools as leave each enough; one at the least."""
    order = sorted(people, key=lambda person: person.hash)
    count = max(1, min(folds, len(order) // fewest))
    return tuple(tuple(order[k::count]) for k in range(count))


def _untold(pools: Sequence[Sequence[Contributor]]) -> list[str]:
    """Which ages and sexes are not told, by fold where folds differ."""
    words = [Told.of(pool).words for pool in pools]
    if len(set(words)) == 1:
        return words[:1] if words[0] else []
    return [f"fold {fold}: {each}" for fold, each in enumerate(words) if each]


def _stratum(request: MRIDatasetRequest) -> str:
    sex = {"any": "people", "f": "women", "m": "men"}[request.sex]
    if request.age == ANY_AGE:
        return sex
    low, high = request.age
    return f"{sex} of {low:g} to {high:g} years"


def _number(text: str) -> int:
    """A seed that follows from words: 62 bits, so that it is exact everywhere."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


def plain(plan: Plan) -> dict[str, Any]:
    """A plan for records: everything but the order of seeds."""
    traced = {"linkage": dict(plan.traced)} if plan.traced else {}
    return {
        "key": plan.key,
        "volumes": len(plan.volumes),
        "folds": len(plan.pools),
        "people": len({p.hash for pool in plan.pools for p in pool}),
        "people_of_the_mean": plan.around,
        "said": list(plan.said),
        **traced,
    }
