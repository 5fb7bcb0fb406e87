"""What may be asked of an audit."""

from __future__ import annotations

from pydantic import Field

from core.request import DiskPath, Request


class AuditRequest(Request):
    """A dataset of heads that is to show nobody, and the people it may show."""

    dataset: DiskPath = Field(
        min_length=1,
        description="BIDS folder with skull-stripped sub-*/anat/sub-*_T1w.nii.gz, or the folder "
        "that a dataset was drawn into.",
    )
    against: DiskPath = Field(
        default="",
        description="BIDS folder with the T1-weighted, skull-stripped heads of the people behind "
        "the dataset; empty for the blurred maps in the shipped model's weights, which show less.",
    )
    controls: int = Field(
        default=20,
        ge=4,
        le=40,
        description="How many of each control are made, 4 to 40; fewer prove less.",
    )
    most: int = Field(
        default=120,
        ge=12,
        le=500,
        description="Heads and people that are looked at, 12 to 500 of each, evenly chosen where "
        "there are more.",
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Of the controls; 0 to 2147483647."
    )
