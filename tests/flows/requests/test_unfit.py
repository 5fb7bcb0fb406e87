"""What no request can be made of ends a run as refused input, in our words, and not as a fault."""

import importlib

import pytest

from flows.requests.flow_requests import MODELS
from flows.requests.forms import Unfit


def called(flow, sent):
    """What the flow's run ends in, checked by Prefect as it checks before a run."""
    function = getattr(importlib.import_module(f"flows.{flow}"), flow)
    return function.fn(**function.validate_parameters({"request": sent}))


def left_out(flow):
    """What the flow's run ends in where no request was sent at all."""
    function = getattr(importlib.import_module(f"flows.{flow}"), flow)
    return function.fn(**function.validate_parameters({}))


@pytest.fixture
def shown(places, monkeypatch):
    """What the runs' pages say of failures."""
    pages = []
    monkeypatch.setattr(
        "flows.pages.failures.show_facts", lambda title, facts: pages.append((title, facts))
    )
    return pages


@pytest.mark.parametrize("flow", MODELS)
def test_a_field_that_no_request_has_is_refused_by_every_flow(flow, shown):
    state = called(flow, {"nonsense": 1})
    assert (state.name, state.is_failed()) == ("Refused", True)
    assert "nonsense=1: nonsense is no field of this request; remove it" in state.message
    ((title, facts),) = shown
    assert title == "This run was refused"
    assert "start a new run" in facts["what to do"]


NEEDED = [
    flow for flow in MODELS if any(f.is_required() for f in MODELS[flow].model_fields.values())
]


@pytest.mark.parametrize("flow", NEEDED)
def test_a_run_without_any_request_is_refused_by_what_is_missing(flow, shown):
    state = left_out(flow)
    assert (state.name, state.is_failed()) == ("Refused", True)
    missing = [name for name, field in MODELS[flow].model_fields.items() if field.is_required()]
    for name in missing:
        assert f"{name} is needed and was not given; give it a value." in state.message
    ((_, facts),) = shown
    assert "start a new run" in facts["what to do"]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({}, "prompt is needed and was not given"),
        ({"prompt": "a star", "num_frames": 900}, "num_frames must be at most 128"),
        ({"prompt": "a star", "steps": 2000}, "steps=2000: steps must be at most"),
        ({"prompt": "a star", "seed": True}, "seed is not true or false"),
        ({"prompt": "a star", "steps": 4, "advanced": {"steps": 8}}, "steps: it is told twice"),
        ("a star", "valid dictionary or instance of VideoRequest"),
    ],
)
def test_values_of_every_kind_are_refused_with_their_rule(sent, why, shown):
    state = called("text_to_video", sent)
    assert state.name == "Refused"
    assert why in state.message


def test_what_a_request_can_be_made_of_is_no_unfit_one():
    from flows.text_to_video import text_to_video

    given = text_to_video.validate_parameters({"request": {"prompt": "a star", "steps": 8}})
    assert not isinstance(given["request"], Unfit)
    assert given["request"].steps == 8
