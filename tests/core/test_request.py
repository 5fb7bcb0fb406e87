"""A request refuses what it does not know, cannot be changed, and titles its fields in words."""

import pytest
from pydantic import Field, ValidationError

from core.request import Request, title


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
