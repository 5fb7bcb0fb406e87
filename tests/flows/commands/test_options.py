from typing import Literal

import pytest
from cyclopts import App
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flows.commands.options import options_of
from flows.requests.complaints import sentence


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1)
    frames: int = Field(4, ge=1, le=9, description="How many.")
    size: tuple[float, float] = (1.0, 2.0)
    sampler: Literal["euler", "heun"] = "euler"

    @field_validator("frames")
    @classmethod
    def _odd_is_refused(cls, value):
        if value == 7:
            raise ValueError("frames=7: frames come in fours; try 8.")
        return value


def parse(*words):
    app = App(result_action="return_value")

    @app.default
    @options_of(Request, given=("prompt",))
    def command(prompt: str, /, *, request: Request, loud: bool = False):
        return prompt, request, loud

    return app(words, exit_on_error=False, print_error=False)


def test_options_become_a_validated_request():
    prompt, request, loud = parse("hello", "--frames", "3", "--size", "4", "5", "--loud")
    assert prompt == "hello"
    assert request == Request(prompt="hello", frames=3, size=(4.0, 5.0))
    assert loud is True


def test_defaults_are_the_models_own():
    assert parse("hello")[1] == Request(prompt="hello")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": ""}, "prompt=: prompt must not be empty; write something."),
        ({"prompt": "x", "frames": 99}, "frames=99: frames must be at most 9; try 9."),
        ({"prompt": "x", "frames": 0}, "frames=0: frames must be at least 1; try 1."),
        ({"prompt": "x", "frames": 7}, "frames=7: frames come in fours; try 8."),
        ({}, "prompt: prompt is needed and was not given; give it a value."),
        (
            {"prompt": "x", "fames": 3},
            "fames=3: fames is no field of this request; remove it or correct its name.",
        ),
        (
            {"prompt": "x", "sampler": "ddim"},
            "sampler=ddim: sampler must be one of 'euler' or 'heun'; choose one of these.",
        ),
        (
            {"prompt": "x", "frames": "many"},
            "frames=many: input should be a valid integer, unable to parse string as an integer; "
            "correct frames, --help describes it.",
        ),
    ],
)
def test_complaints_say_what_came_the_rule_and_the_way_out(fields, words):
    with pytest.raises(ValidationError) as caught:
        Request(**fields)
    assert sentence(caught.value) == words


def test_long_values_are_cut():
    with pytest.raises(ValidationError) as caught:
        Request(prompt="x", sampler="y" * 5000)
    assert len(sentence(caught.value)) < 200
