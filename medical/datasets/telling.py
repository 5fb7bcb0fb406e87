"""Which ages and sexes of heads are told: those of which enough people may stand behind a head.

An anatomy is drawn at the age and sex of one person of its pool, the people of its fold, so a head
of fifty of which one man of fifty is in the pool would tell of him. What few people of the pool
share is left out of every record, table and file of the head, and of an age the middle of its ten
years is told, never the age itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medical.anatomy.ages import band_of, middle_of_band, words_of_band
from medical.datasets.heads import Contributor

FEWEST_ALIKE = 5
WITHHELD = "withheld"
NAMES = {"f": "women", "m": "men", "": "people"}


@dataclass(frozen=True)
class Told:
    """What is told of heads drawn from one pool of people.

    Attributes:
        people: How many may contribute.
        sexes: How many of each; empty where one is of fewer than five, and no sex is told.
        bands: How many of each sex, or of any where none is told, in each ten years.
    """

    people: int
    sexes: Mapping[str, int]
    bands: Mapping[tuple[str, int], int]

    @classmethod
    def of(cls, people: Sequence[Contributor]) -> Told:
        """Of heads that these people may contribute to."""
        sexes = Counter(person.sex for person in people)
        if any(count < FEWEST_ALIKE for count in sexes.values()):
            sexes = Counter[str]()
        bands = Counter((p.sex if sexes else "", band_of(p.age)) for p in people)
        return cls(len(people), sexes, bands)

    def facts(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """What was drawn of an anatomy, without what few people share, and of an age its band."""
        found = {name: value for name, value in drawn.items() if name != "age_band"}
        if not self.people or found.get("age") is None:
            return found
        sex = str(found["sex"]) if self.sexes else ""
        left_out = [] if self.sexes else ["sex"]
        first = band_of(found["age"])
        if self.bands.get((sex, first), 0) < FEWEST_ALIKE:
            left_out.insert(0, "age")
        else:
            found |= {"age": middle_of_band(first), "age_band": words_of_band(first)}
        return found | dict.fromkeys(left_out) | ({WITHHELD: left_out} if left_out else {})

    def alike(self, kind: str, value: str) -> int:
        """How many people are of an age or sex as a table names it."""
        if kind == "sex":
            return self.sexes.get(value, 0)
        start = value.partition(" ")[0]
        return sum(n for (_, band), n in self.bands.items() if str(band) == start)

    @property
    def words(self) -> str:
        """What is left out, in a sentence; empty where all is told or nothing could be."""
        few = [band for band, count in self.bands.items() if count < FEWEST_ALIKE]
        if not self.people or (self.sexes and not few):
            return ""
        kept = sorted(band for band in self.bands if band not in few)
        ages = ", ".join(f"{NAMES[sex]} of {words_of_band(start)}" for sex, start in kept)
        sexes = "" if self.sexes else "sex is not told, "
        return (
            f"fewer than {FEWEST_ALIKE} people of some ages or sexes may contribute, so {sexes}"
            f"ages are told of {ages or 'no head'}{' alone' if ages else ''}"
        )
