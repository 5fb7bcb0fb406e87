"""What a data team may ask for: a dataset of drawn heads with their labels."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.refusal import Refusal
from core.request import DiskPath, Request

Region = Literal["periventricular", "juxtacortical", "infratentorial", "deep"]
Spacing = Annotated[float, Field(ge=0.5, le=4.0)]
Millilitres = Annotated[float, Field(ge=0.0, le=100.0)]
Count = Annotated[int, Field(ge=0, le=500)]
Years = Annotated[float, Field(ge=0.0, le=120.0)]
ANY_AGE = (0.0, 120.0)
MOST_GROWN = 2.0
"""Of the first load: the smallest lesion has three voxels in the end, and one in the beginning."""
DRAWINGS, FEWEST_DRAWN = 120, 20
"""Anatomies by which linkage is measured, and the fewest of which a share is told."""
FEWEST_GROWN = 10
"""Voxels: a volume is then met within a twentieth."""


class LesionsAsked(Request):
    """The lesions of every head of a dataset; each head's load and count are drawn in between."""

    load_ml: tuple[Millilitres, Millilitres] = Field(
        default=(0.0, 0.0),
        title="Load (ml)",
        description="Smallest and largest volume of all lesions of a head, in ml; 0 and 0 for "
        "healthy heads.",
    )
    count: tuple[Count, Count] = Field(
        default=(0, 0),
        description="Smallest and largest number of lesions of a head, parts that touch taken as "
        "one; 0 and 0 for what was measured with such a load.",
    )
    regions: tuple[Region, ...] = Field(
        default=(),
        description="Where lesions begin: periventricular, juxtacortical, infratentorial or "
        "deep. None for all, as frequent as they were measured.",
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> LesionsAsked:
        check_range("load_ml", self.load_ml)
        check_range("count", self.count)
        if not self.load_ml[0] and (self.load_ml[1] or self.count[1] or self.regions):
            raise Refusal(
                f"load_ml={self.load_ml[0]:g},{self.load_ml[1]:g}: every head of a dataset with "
                "lesions has some; let the range begin above 0, or leave lesions out."
            )
        if self.count[1] and not self.count[0]:
            raise Refusal(
                f"count=0,{self.count[1]}: every head of a dataset with lesions has at least one; "
                "let the range begin at 1."
            )
        return self

    @property
    def healthy(self) -> bool:
        """Whether no lesions are asked for."""
        return not self.load_ml[1]


class LongitudinalAsked(Request):
    """Two sessions of every head, between which its lesions grow."""

    years: float = Field(
        default=0.0,
        ge=0.0,
        le=20.0,
        description="Years from the first session to the second; 0 for one session.",
    )
    ml_a_year: tuple[Millilitres, Millilitres] = Field(
        default=(0.0, 0.0),
        title="Growth (ml a year)",
        description="Smallest and largest volume by which all lesions of a head grow in a year, "
        "in ml; drawn for each head. The load of lesions is that of the first session.",
    )

    @model_validator(mode="after")
    def _grows(self) -> LongitudinalAsked:
        check_range("ml_a_year", self.ml_a_year)
        low, high = self.ml_a_year
        if bool(self.years) != bool(low):
            raise Refusal(
                f"longitudinal: years={self.years:g}, ml_a_year={low:g},{high:g}: lesions of "
                "every head grow from the first session to the second; let years and the range "
                "lie above 0, or leave longitudinal out."
            )
        return self

    @property
    def asked(self) -> bool:
        """Whether there are two sessions."""
        return bool(self.years)


class MRIDatasetRequest(Request):
    """A dataset of drawn heads: images of one or more contrasts, with masks."""

    name: str = Field(
        default="pilot",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,40}$",
        description="Name of the dataset: letters, digits and dashes.",
    )
    count: int = Field(default=4, ge=1, le=1000, description="How many heads, 1 to 1000.")
    contrasts: tuple[Literal["T1w", "T2w", "FLAIR"], ...] = Field(
        default=("T1w", "FLAIR"),
        min_length=1,
        description="Images of each head, of one anatomy and one mask: T1w, T2w, FLAIR.",
    )
    spacing_mm: tuple[Spacing, Spacing, Spacing] = Field(
        default=(1.0, 1.0, 1.0), description="Voxel size along the three axes, 0.5 to 4 mm."
    )
    lesions: LesionsAsked = Field(
        default_factory=LesionsAsked,
        description="Lesions of multiple sclerosis; absent for healthy heads.",
    )
    longitudinal: LongitudinalAsked = Field(
        default_factory=LongitudinalAsked,
        description="Two sessions of each head, of one anatomy, whose lesions grow; absent for "
        "one.",
    )
    age: tuple[Years, Years] = Field(
        default=ANY_AGE,
        description="Youngest and oldest of the people drawn from, in years; 0 and 120 for all. "
        "Of the shipped model's people ten women and two men are over 40; fewer than 5 are "
        "refused.",
    )
    sex: Literal["any", "f", "m"] = Field(
        default="any", description="Of the people drawn from: any, f or m."
    )
    formats: tuple[Literal["bids", "nnunet", "dicom"], ...] = Field(
        default=("bids", "nnunet"),
        min_length=1,
        description="What is written: bids, nnunet, dicom, or several of them.",
    )
    sources: DiskPath = Field(
        default="",
        description="BIDS folder with skull-stripped sub-*/anat/sub-*_T1w.nii.gz and "
        "participants.tsv (age, sex) whose people anatomies are drawn from; empty for those of "
        "the shipped model.",
    )
    site: Literal["clean", "varied"] = Field(
        default="clean",
        description="Scanner: clean for none of its faults, varied to draw bias field, noise "
        "and blur for each head.",
    )
    accept_linkage: bool = Field(
        default=False,
        description="Make the dataset although its people may be recognized from it; it then "
        "says so.",
    )
    linkage_drawings: int = Field(
        default=DRAWINGS,
        ge=0,
        le=1000,
        description="Anatomies that are drawn first to measure how far heads can be traced to "
        "people of your own sources; with fewer than 120, or none, accept_linkage is needed.",
    )
    dataset_number: int = Field(
        default=501, ge=1, le=999, description="Number of the dataset for nnU-Net, 1 to 999."
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Same seed, same dataset; 0 to 2147483647."
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_the_default(cls, asked: Any) -> Any:
        """A field that is null is one that is absent."""
        return (
            {k: v for k, v in asked.items() if v is not None} if isinstance(asked, dict) else asked
        )

    @model_validator(mode="after")
    def _ranges_rise(self) -> MRIDatasetRequest:
        check_range("age", self.age)
        for name in ("contrasts", "formats"):
            said = getattr(self, name)
            if len(set(said)) < len(said):
                raise Refusal(f"{name}={','.join(said)}: each is made once; name it once.")
        if 0 < self.linkage_drawings < FEWEST_DRAWN:
            raise Refusal(
                f"linkage_drawings={self.linkage_drawings}: shares of fewer than {FEWEST_DRAWN} "
                "anatomies say nothing; write 0 to measure nothing, or 120."
            )
        if self.longitudinal.asked:
            _check_growth(self.lesions, self.longitudinal, math.prod(self.spacing_mm))
        return self

    @property
    def as_before(self) -> set[str]:
        """Fields that are not told where they ask for nothing, as none told them before."""
        silent = {"longitudinal"} if not self.longitudinal.asked else set[str]()
        return silent | ({"linkage_drawings"} if self.linkage_drawings == DRAWINGS else set())

    @property
    def nnunet_name(self) -> str:
        """The dataset's folder under ``nnunet``: ``DatasetNNN_NAME``."""
        return f"Dataset{self.dataset_number:03d}_{re.sub('-', '', self.name)}"


def _check_growth(lesions: LesionsAsked, grown: LongitudinalAsked, voxel_mm3: float) -> None:
    """Refuse growth that there are no lesions for, that is too much, or less than voxels show."""
    low, high = (grown.years * ml for ml in grown.ml_a_year)
    load, least = lesions.load_ml[0], FEWEST_GROWN * voxel_mm3 / 1000
    if lesions.healthy:
        raise Refusal(
            "longitudinal: heads without lesions have none that grow; ask for lesions, or leave "
            "longitudinal out."
        )
    if high > MOST_GROWN * load:
        raise Refusal(
            f"longitudinal: {high:g} ml may join in {grown.years:g} years where a head may have "
            f"{load:g} ml: at most {MOST_GROWN:g} times the smallest load joins, so that every "
            "lesion is there in the first session; ask for less growth or a larger load."
        )
    if low < least:
        raise Refusal(
            f"longitudinal: {low:.3g} ml may join in {grown.years:g} years: at this spacing fewer "
            f"than {FEWEST_GROWN} voxels, {least:.3g} ml, do not show a volume; ask for more "
            "growth, more years or finer voxels."
        )


def check_range(name: str, values: tuple[float, float]) -> None:
    """Refuse a range that falls.

    Raises:
        Refusal: The first value is larger than the second.
    """
    low, high = values
    if low > high:
        raise Refusal(
            f"{name}={low:g},{high:g}: a range begins with its smallest value; "
            f"write {high:g},{low:g}."
        )
