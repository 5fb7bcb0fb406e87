"""A request refuses what it does not know, cannot be changed, and titles its fields in words."""

from typing import Annotated

import pytest
from pydantic import BeforeValidator, Field, ValidationError

from core.request import DiskPath, OnDisk, Request, title


class Walk(Request):
    """A request."""

    retry_delay_s: float = 3.0
    num_dogs: int = 1
    leash: str = Field(default="", title="Length of the leash")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prompt", "Prompt"),
        ("gpu_minutes", "GPU minutes"),
        ("retry_delay_s", "Retry delay (s)"),
        ("reserve_gb", "Reserve (GB)"),
        ("num_frames", "Number of frames"),
        ("fps", "Frames per second"),
        ("mri_model", "MRI model"),
        ("noise_std", "Noise standard deviation"),
        ("s", "S"),
    ],
)
def test_a_field_is_titled_in_sentence_case_with_its_unit(name, words):
    assert title(name) == words


def test_the_schema_shows_titles_and_keeps_those_that_were_given():
    fields = Walk.model_json_schema()["properties"]
    titles = [field["title"] for field in fields.values()]
    assert titles == ["Retry delay (s)", "Number of dogs", "Length of the leash"]


def test_a_request_is_fixed_and_knows_its_fields():
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Walk.model_validate({"cats": 1})
    walk = Walk()
    with pytest.raises(ValidationError, match="frozen"):
        walk.num_dogs = 2


class Opened(Request):
    scan: DiskPath = ""
    words: str = ""
    keys: Annotated[tuple[str, ...], OnDisk(keyed=True)] = ()


class Keyed(Request):
    keys: Annotated[
        tuple[str, ...],
        OnDisk(keyed=True),
        BeforeValidator(lambda said: said.split(";") if isinstance(said, str) else said),
    ] = ()


def test_paths_that_no_disk_can_hold_are_refused_by_field():
    long = [("scan", "/a/" + "\u00fc" * 128), ("scan", "a/" * 3000), ("keys", ("3=" + "x" * 300,))]
    for name, value in long:
        with pytest.raises(ValidationError, match=rf"{name}=.*: {name} is a path of .*; shorten"):
            Opened.model_validate({name: value})
    raw = ";".join(f"{frame}={'x' * 300 if frame == 7 else 'a'}" for frame in range(9))
    with pytest.raises(ValidationError, match=r"keys=xxx.*: keys is a path of .*; shorten"):
        Keyed.model_validate({"keys": raw})
    cell = ";".join(f"{frame}={frame:018d}.png" for frame in range(64))  # of a prompt file
    assert len(Keyed.model_validate({"keys": cell}).keys) == 64
    fits = "/".join(["x" * 255] * 4)
    assert Opened(scan=fits, words="x" * 5000).scan == fits
