"""What was asked and what was delivered, stratum by stratum, and how many people stand behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medical.datasets.request import ANY_AGE, MRIDatasetRequest

BAND_YEARS = 10
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Stratum:
    """One row of the table.

    Attributes:
        kind: what is counted by: load, region, age or sex.
        value: which of its values.
        asked: what was asked, in words.
        delivered: heads, or lesions for a region.
        people: who contributed an anatomy or lesions to these heads, by number.
    """

    kind: str
    value: str
    asked: str
    delivered: int
    people: int


def strata(request: MRIDatasetRequest, records: Sequence[Record]) -> list[dict[str, Any]]:
    """The table of a dataset, as plain rows."""
    return [asdict(row) for row in _rows(request, records)]


def _rows(request: MRIDatasetRequest, records: Sequence[Record]) -> Iterator[Stratum]:
    if not request.lesions.healthy:
        yield from _loads(request, records)
        yield from _regions(request, records)
    age = "any" if request.age == ANY_AGE else f"{request.age[0]:g} to {request.age[1]:g}"
    yield from _groups("age", age, records, _band)
    yield from _groups(
        "sex", request.sex, records, lambda r: str(r["anatomy"].get("sex") or "n/a")
    )


def _loads(request: MRIDatasetRequest, records: Sequence[Record]) -> Iterator[Stratum]:
    """Heads in each quarter of the range of loads; loads are drawn evenly over it."""
    low, high = request.lesions.load_ml
    step = (high - low) / 4
    for quarter in range(4 if step else 1):
        start, stop = low + quarter * step, low + (quarter + 1) * step
        here = [r for r in records if _quarter(r, low, step) == quarter]
        share = f"{request.count / (4 if step else 1):.3g} heads on average"
        yield Stratum("load", f"{start:.3g} to {stop:.3g} ml", share, len(here), _people(here))


def _quarter(record: Record, low: float, step: float) -> int:
    load = float(record["lesions"]["load_ml"]["asked"])
    return min(3, int((load - low) / step)) if step else 0


def _regions(request: MRIDatasetRequest, records: Sequence[Record]) -> Iterator[Stratum]:
    asked = request.lesions.regions
    found = {name for r in records for name in r["lesions"]["regions"]}
    for name in sorted(found | set(asked)):
        here = [r for r in records if r["lesions"]["regions"].get(name)]
        lesions = sum(r["lesions"]["regions"][name] for r in here)
        words = "asked" if name in asked else "as frequent as measured"
        yield Stratum("region", name, words, lesions, _people(here))


def _groups(
    kind: str, asked: str, records: Sequence[Record], key: Callable[[Record], str]
) -> Iterator[Stratum]:
    for value in sorted({key(record) for record in records}):
        here = [record for record in records if key(record) == value]
        yield Stratum(kind, value, asked, len(here), _people(here))


def _band(record: Record) -> str:
    age = record["anatomy"].get("age")
    if age is None:
        return "n/a"
    start = int(age) // BAND_YEARS * BAND_YEARS
    return f"{start} to {start + BAND_YEARS - 1}"


def _sex(record: Record) -> str:
    return str(record["anatomy"].get("sex") or "n/a")


def _people(records: Sequence[Record]) -> int:
    given = (record["contributors"] for record in records)
    return len({person for each in given for part in each.values() for person in part})
