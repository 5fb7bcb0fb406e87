"""What a person may ask for of an own head: lesions, a region painted over, its skull gone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.request import DiskPath, Request

Region = Literal["periventricular", "juxtacortical", "infratentorial", "deep"]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
SEED = "Same seed, same result; 0 to 2147483647."
HEAD = "NIfTI file (.nii, .nii.gz) or DICOM folder of one skull-stripped head."


class InsertLesionsRequest(Request):
    """A healthy head that is to have lesions of multiple sclerosis."""

    scan: DiskPath = Field(min_length=1, description=HEAD)
    load_ml: float = Field(
        default=10.0,
        gt=0,
        le=100,
        title="Load (ml)",
        description="Volume of all lesions, above 0 to 100 ml.",
    )
    count: int = Field(
        default=0,
        ge=0,
        le=500,
        description="How many lesions, parts that touch taken as one; 0 for as many as were "
        "measured with such a load.",
    )
    regions: tuple[Region, ...] = Field(
        default=(),
        description="Where lesions begin: periventricular, juxtacortical, infratentorial or "
        "deep. None for all, as frequent as they were measured.",
    )
    contrast: Literal["", "T1w", "T2w", "FLAIR"] = Field(
        default="", description="Of the scan: T1w, T2w or FLAIR; empty to read it from its name."
    )
    seed: Seed = Field(default=0, description=SEED)


class FillLesionsRequest(Request):
    """A head whose lesions are to look like the white matter around them."""

    scan: DiskPath = Field(min_length=1, description=HEAD)
    mask: DiskPath = Field(
        min_length=1, description="NIfTI mask on the scan's grid, above 0 in lesions."
    )
    seed: Seed = Field(default=0, description=SEED)


class InpaintMRIRequest(Request):
    """A head of which a region is to be painted over from what lies around it."""

    scan: DiskPath = Field(min_length=1, description=HEAD)
    mask: DiskPath = Field(
        min_length=1, description="NIfTI mask on the scan's grid, above 0 where to paint."
    )
    seed: Seed = Field(default=0, description=SEED)


class StripSkullRequest(Request):
    """A head with skull and face, of which the brain alone is to be left."""

    scan: DiskPath = Field(
        min_length=1,
        description="NIfTI file (.nii, .nii.gz) or DICOM folder of one T1-weighted head.",
    )


class FindAnomaliesRequest(Request):
    """A FLAIR in which what looks like a lesion is to be found."""

    scan: DiskPath = Field(min_length=1, description=HEAD)
    contrast: Literal["", "T1w", "T2w", "FLAIR"] = Field(
        default="",
        description="Of the scan; FLAIR alone is taken. Empty to read it from its name.",
    )
    healthy_ml: float = Field(
        default=1.0,
        ge=0.1,
        le=5.0,
        title="Healthy (ml)",
        description="How much healthy painted heads show above the bounds of the masks on "
        "average, 0.1 to 5 ml; more finds more, and more that is none.",
    )
