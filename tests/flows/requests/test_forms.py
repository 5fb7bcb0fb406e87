"""The form of every flow is what the interface shows: a change of it should be seen in review.

Run this file as a program to take the present forms as the wanted ones.
"""

import importlib
import json
import re
from pathlib import Path

import pytest

from flows.requests.flow_requests import MODELS
from flows.stack.deployments import read_deployments

SNAPSHOT = Path(__file__).with_name("forms.json")


def form(flow):
    from prefect.utilities.callables import parameter_schema

    function = getattr(importlib.import_module(f"flows.{flow}"), flow)
    return json.loads(parameter_schema(function).model_dump_json(exclude_none=True))


@pytest.mark.parametrize("flow", MODELS)
def test_the_form_is_the_wanted_one(flow):
    wanted = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert form(flow) == wanted[flow], f"if this is meant: python {Path(__file__).name}"


@pytest.mark.parametrize("flow", MODELS)
def test_every_field_of_the_form_is_described(flow):
    schema = form(flow)
    undescribed = [
        name for name, field in schema["properties"].items() if "description" not in field
    ]
    request = schema["definitions"][MODELS[flow].__name__]
    undescribed += [name for name, f in request["properties"].items() if "description" not in f]
    assert undescribed == []


@pytest.mark.parametrize("flow", MODELS)
def test_every_title_is_words_for_a_person(flow):
    schema = form(flow)
    forms = [schema, *schema["definitions"].values()]
    titles = [field["title"] for shown in forms for field in shown["properties"].values()]
    raw = r"_|^[a-z]| [A-Z][a-z]|\b(Gpu|Mri|Num|Fps)\b| (s|mm|gb)$"
    assert [title for title in titles if re.search(raw, title)] == []


@pytest.mark.parametrize("flow", MODELS)
def test_one_request_model_that_refuses_unknown_fields(flow):
    schema = form(flow)
    models = [name for name, field in schema["properties"].items() if "$ref" in str(field)]
    assert models == ["request"]
    assert schema["definitions"][MODELS[flow].__name__]["additionalProperties"] is False


def asked(flow, **fields):
    function = getattr(importlib.import_module(f"flows.{flow}"), flow)
    return function.validate_parameters({"request": fields})["request"]


NEEDED = {
    "text_to_video": {"prompt": "a star"},
    "super_resolve_mri": {"scan": "a.nii"},
    "fill_mri_lesions": {"scan": "a.nii", "mask": "m.nii"},
    "augment_mri_dataset": {"name": "some"},
    "train_video": {"name": "mine"},
}


@pytest.mark.parametrize("flow", NEEDED)
def test_a_form_shows_no_seed_and_an_empty_one_is_drawn(flow):
    seed = form(flow)["definitions"][MODELS[flow].__name__]["properties"]["seed"]
    assert "default" not in seed
    assert "Left empty" in seed["description"]
    assert asked(flow, **NEEDED[flow]).seed > 0
    assert asked(flow, **NEEDED[flow], seed=0).seed == 0
    assert MODELS[flow].model_validate(NEEDED[flow]).seed == 0  # a command, a file


def test_drawn_seeds_differ_and_a_run_that_is_tried_again_draws_its_own(monkeypatch):
    words = NEEDED["text_to_video"]
    assert asked("text_to_video", **words).seed != asked("text_to_video", **words).seed
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0190f5a2-0000-7000-8000-000000000001")
    first = asked("text_to_video", **words).seed
    assert asked("text_to_video", **words).seed == first
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0190f5a2-0000-7000-8000-000000000002")
    assert asked("text_to_video", **words).seed != first


def test_a_training_that_goes_on_under_its_name_has_the_seed_of_its_name():
    assert asked("train_video", name="mine").seed == asked("train_video", name="mine").seed
    assert asked("train_video", name="mine").seed != asked("train_video", name="other").seed


def test_a_batch_gives_each_item_a_seed_of_its_own_and_a_shown_one_says_so():
    seed = form("generate_clips")["definitions"]["ClipBatchRequest"]["properties"]["seed"]
    assert seed["default"] == -1
    assert asked("generate_clips", prompts="a star").seed == -1


def parts(schema):
    """A schema and all that it holds."""
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(part, dict | list):
            yield from parts(part)


@pytest.mark.parametrize("flow", MODELS)
def test_no_field_has_tabs_to_choose_its_type_from(flow):
    chosen = [part for part in parts(form(flow)) if {"anyOf", "oneOf", "allOf"} & part.keys()]
    assert chosen == []
    types = [part["type"] for part in parts(form(flow)) if "type" in part]
    assert [kind for kind in types if isinstance(kind, list) or kind == "null"] == []


def test_a_field_that_may_be_missing_would_have_tabs():
    from prefect.utilities.callables import parameter_schema

    def asks(count: int | None = None) -> None:
        pass

    schema = json.loads(parameter_schema(asks).model_dump_json(exclude_none=True))
    assert [part for part in parts(schema) if "anyOf" in part]


def test_file_flow_and_deployment_share_one_name():
    declared = {table["name"]: table["entrypoint"] for table in read_deployments()}
    assert declared == {flow: f"flows.{flow}.{flow}" for flow in MODELS}
    for flow in MODELS:
        assert getattr(importlib.import_module(f"flows.{flow}"), flow).name == flow


def test_schedules_are_shipped_paused_but_for_the_janitor():
    tables = [table for table in read_deployments() if table.get("schedules")]
    active = {t["name"] for t in tables for schedule in t["schedules"] if schedule["active"]}
    assert active == {"tidy_runs"}


if __name__ == "__main__":
    forms = {flow: form(flow) for flow in MODELS}
    SNAPSHOT.write_text(json.dumps(forms, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
