"""What was asked and what was delivered, stratum by stratum, and how many people stand behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from medical.anatomy.ages import band_of, words_of_band
from medical.datasets.request import ANY_AGE, MRIDatasetRequest
from medical.datasets.telling import FEWEST_ALIKE, WITHHELD, Told

Record = Mapping[str, Any]
UNKNOWN, NOT_TOLD = "n/a", "others, of each fewer than 5 people: not told"


@dataclass(frozen=True)
class Stratum:
    """One row of the table.

    Attributes:
        kind: what is counted by: load, region, growth, age or sex.
        value: which of its values.
        asked: what was asked, in words.
        delivered: heads, or lesions for a region; None where fewer than five people contributed
            to them.
        people: who contributed an anatomy or lesions to these heads, by number; of an age or sex
            those of that age or sex in the pools of these heads, who may have.
    """

    kind: str
    value: str
    asked: str
    delivered: int | None
    people: int


def strata(
    request: MRIDatasetRequest, records: Sequence[Record], told: Sequence[Told]
) -> list[dict[str, Any]]:
    """The table of a dataset, as plain rows; what fewer than five people gave is withheld.

    Args:
        request: What was asked.
        records: Of its heads.
        told: Of the pool of each fold.
    """
    return [asdict(_held(row)) for row in _rows(request, records, told)]


def _held(row: Stratum) -> Stratum:
    few = 0 < row.people < FEWEST_ALIKE
    return replace(row, delivered=None) if few else row


def _rows(
    request: MRIDatasetRequest, records: Sequence[Record], told: Sequence[Told]
) -> Iterator[Stratum]:
    if not request.lesions.healthy:
        yield from _loads(request, records)
        yield from _regions(request, records)
    if request.longitudinal.asked:
        yield from _growth(request, records)
    age = "any" if request.age == ANY_AGE else f"{request.age[0]:g} to {request.age[1]:g}"
    yield from _groups("age", age, records, _band, told)
    yield from _groups("sex", request.sex, records, _sex, told)


def _loads(request: MRIDatasetRequest, records: Sequence[Record]) -> Iterator[Stratum]:
    """Heads in each quarter of the range of loads; loads are drawn evenly over it."""
    asked = [(float(record["lesions"]["load_ml"]["asked"]), record) for record in records]
    yield from _quarters("load", "ml", request.lesions.load_ml, request.count, asked)


def _growth(request: MRIDatasetRequest, records: Sequence[Record]) -> Iterator[Stratum]:
    """Heads in each quarter of the range of growth, likewise."""
    asked = [(float(record["longitudinal"]["ml_a_year"]["asked"]), record) for record in records]
    span = request.longitudinal.ml_a_year
    yield from _quarters("growth", "ml a year", span, request.count, asked)


def _quarters(
    kind: str,
    unit: str,
    span: tuple[float, float],
    count: int,
    asked: Sequence[tuple[float, Record]],
) -> Iterator[Stratum]:
    low, high = span
    step = (high - low) / 4
    for quarter in range(4 if step else 1):
        start, stop = low + quarter * step, low + (quarter + 1) * step
        here = [record for value, record in asked if _quarter(value, low, step) == quarter]
        share = f"{count / (4 if step else 1):.3g} heads on average"
        yield Stratum(kind, f"{start:.3g} to {stop:.3g} {unit}", share, len(here), _people(here))


def _quarter(value: float, low: float, step: float) -> int:
    return min(3, max(0, int((value - low) / step))) if step else 0


def _regions(request: MRIDatasetRequest, records: Sequence[Record]) -> Iterator[Stratum]:
    asked = request.lesions.regions
    found = {name for r in records for name in r["lesions"]["regions"]}
    for name in sorted(found | set(asked)):
        here = [r for r in records if r["lesions"]["regions"].get(name)]
        lesions = sum(r["lesions"]["regions"][name] for r in here)
        words = "asked" if name in asked else "as frequent as measured"
        yield Stratum("region", name, words, lesions, _people(here))


def _groups(
    kind: str,
    asked: str,
    records: Sequence[Record],
    key: Callable[[Record], str],
    told: Sequence[Told],
) -> Iterator[Stratum]:
    for value in sorted({key(record) for record in records}):
        here = [record for record in records if key(record) == value]
        known = any(pool.people for pool in told) and value not in (UNKNOWN, NOT_TOLD)
        folds = {int(record["fold"]) for record in here} if known else set[int]()
        alike = sum(told[fold].alike(kind, value) for fold in folds)
        yield Stratum(kind, value, asked, len(here), alike if known else _people(here))


def _band(record: Record) -> str:
    age = record["anatomy"].get("age")
    if age is None:
        return _untold(record, "age")
    return words_of_band(band_of(age))


def _sex(record: Record) -> str:
    return str(record["anatomy"].get("sex") or _untold(record, "sex"))


def _untold(record: Record, what: str) -> str:
    return NOT_TOLD if what in record["anatomy"].get(WITHHELD, ()) else UNKNOWN


def _people(records: Sequence[Record]) -> int:
    given = (record["contributors"] for record in records)
    return len({person for each in given for part in each.values() for person in part})
