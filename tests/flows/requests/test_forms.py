"""The form of every flow is what the interface shows: a change of it should be seen in review.

Run this file as a program to take the present forms as the wanted ones.
"""

import importlib
import json
import os
import re
from pathlib import Path

import pytest

from flows.requests.flow_requests import MODELS
from flows.requests.forms import FOLDED
from flows.stack.deployments import read_deployments

SHIPPED = {"LAMINA_MODELS": "/nowhere", "LAMINA_ENGINES": "/nowhere", "LAMINA_ENGINE_SERVERS": ""}
SNAPSHOT = Path(__file__).with_name("forms.json")


@pytest.fixture(autouse=True)
def _only_what_is_shipped(monkeypatch):
    """Whatever the person who runs the tests has installed."""
    for name, value in SHIPPED.items():
        monkeypatch.setenv(name, value)


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


@pytest.mark.parametrize("flow", MODELS)
def test_lists_and_tabs_that_one_form_shows_are_told_apart(flow):
    for shown in form(flow)["definitions"].values():
        ways = [way for field in shown["properties"].values() for way in field.get("anyOf", ())]
        titles = [way["title"] for way in ways if "title" in way]
        assert len(titles) == len(set(titles))


def asked(flow, /, **fields):
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


def fields_of(schema):
    """Every field of a form by name, those of requests within it, too."""
    found = dict(schema["properties"])
    for definition in schema["definitions"].values():
        found |= definition["properties"]
    return found


@pytest.mark.parametrize("flow", MODELS)
def test_only_lists_and_what_is_folded_away_have_tabs(flow):
    tabbed = {name for name, field in fields_of(form(flow)).items() if "anyOf" in field}
    assert tabbed <= {"model", "start", "engine", "advanced"}
    chosen = [part for part in parts(form(flow)) if {"oneOf", "allOf"} & part.keys()]
    assert chosen == []
    types = [part["type"] for part in parts(form(flow)) if "type" in part]
    assert [kind for kind in types if isinstance(kind, list) or kind == "null"] == []


def put(shelf, name, kind):
    record = {"format_version": 1, "kind": kind, "sha256": {}}
    (shelf / name).mkdir(parents=True)
    (shelf / name / "model.json").write_text(json.dumps(record))


def listed(flow, field):
    installed, other = fields_of(form(flow))[field]["anyOf"]
    assert other["type"] == "string"
    assert "enum" not in other
    return installed["enum"]


def test_models_and_engines_are_lists_of_what_is_installed(tmp_path, monkeypatch):
    put(tmp_path / "models", "mine", "video")
    put(tmp_path / "models", "my-heads", "mri")
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "model.json").write_text("{")
    (tmp_path / "engines" / "wan").mkdir(parents=True)
    (tmp_path / "engines" / "wan" / "model_index.json").write_text("{}")
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LAMINA_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setenv("LAMINA_ENGINE_SERVERS", "fast=http://gpu:8091")
    for flow in ("text_to_video", "generate_clips"):
        assert listed(flow, "model") == ["mine", "scenes-64"]
        assert listed(flow, "engine") == ["own", "fast", "wan"]
    assert listed("train_video", "start") == ["mine", "scenes-64"]
    for flow, field in {
        "super_resolve_mri": "model",
        "restore_scans": "model",
        "train_mri": "start",
    }.items():
        assert listed(flow, field) == ["heads-1mm", "heads-1mm-1", "my-heads"]


@pytest.mark.parametrize("flow", MODELS)
def test_what_a_form_offers_at_first_is_what_it_takes(flow):
    shown = {
        name: field["default"]
        for name, field in form(flow)["definitions"][MODELS[flow].__name__]["properties"].items()
        if "default" in field
    }
    needed = dict(NEEDED.get(flow) or OTHERS_NEEDED.get(flow, {}))
    if MODELS[flow].model_fields.get("seed"):
        needed["seed"] = 1
    assert asked(flow, **shown | needed) == asked(flow, **needed)


OTHERS_NEEDED = {
    "extend_video": {"clip": "a.mp4"},
    "fill_video": {"clip": "a.mp4", "mask": "m.png"},
    "edit_video": {"clip": "a.mp4", "prompt": "a red star"},
    "upscale_video": {"clip": "a.mp4"},
    "interpolate_video": {"clip": "a.mp4"},
    "insert_mri_lesions": {"scan": "a.nii"},
    "inpaint_mri": {"scan": "a.nii", "mask": "m.nii"},
    "strip_mri_skull": {"scan": "a.nii"},
    "segment_mri": {"scan": "a.nii"},
    "find_mri_anomalies": {"scan": "a.nii"},
    "train_mri": {"heads": "bids"},
    "restore_scans": {"scans": "bids"},
    "make_shard": {"batch": "b", "shard": 0},
    "approve_batch": {"batch": "b"},
    "audit_mri_dataset": {"dataset": "d"},
}


def test_what_few_people_change_is_folded_away_and_taken_either_way():
    properties = form("text_to_video")["definitions"]["VideoRequest"]["properties"]
    assert list(properties) == ["prompt", "engine", "num_frames", "seed", "model", "advanced"]
    usual, shown = properties["advanced"]["anyOf"]
    assert (usual["title"], usual["properties"]) == ("Usual values", {})
    assert {"fps", "steps", "sampler", "guidance"} <= shown["properties"].keys()
    words = {"prompt": "a star", "seed": 1}
    folded = asked("text_to_video", **words, advanced={"steps": 8, "sampler": "heun"})
    assert folded == asked("text_to_video", **words, steps=8, sampler="heun")
    assert asked("text_to_video", **words, steps=4, advanced={"steps": 8}).why.startswith(
        "steps: it is told twice"
    )


@pytest.mark.parametrize(("name", "folded"), FOLDED.items())
def test_what_is_folded_away_are_fields_that_need_not_be_given(name, folded):
    (model,) = {model for model in MODELS.values() if model.__name__ == name}
    for field in folded:
        assert not model.model_fields[field].is_required(), field


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ({"steps": 8}, ""),
        ({"advanced": {"steps": 8}}, ""),
        ({"advanced": {}, "model": "trained-later"}, ""),
        ({"steps": 2000}, "2000 is greater"),
        ({"advanced": {"steps": 2000}}, "2000 is greater"),
        ({"nonsense": 1}, "nonsense"),
        ({"advanced": {"nonsense": 1}}, "nonsense"),
    ],
)
def test_the_server_holds_a_request_to_its_form(sent, wrong):
    from prefect.utilities.schema_tools.validation import validate

    errors = validate(
        {"request": {"prompt": "a star", **sent}}, form("text_to_video"), raise_on_error=False
    )
    said = str([(error.message, error.context) for error in errors])
    assert (wrong in said) if wrong else errors == [], said


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
    os.environ.update(SHIPPED)
    forms = {flow: form(flow) for flow in MODELS}
    SNAPSHOT.write_text(json.dumps(forms, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
