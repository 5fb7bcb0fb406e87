"""No form leads a worker to a file outside the operator's folders, whichever field and however."""

import os
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from core.request import OnDisk
from flows.requests.flow_requests import MODELS
from flows.requests.roots import check_files, check_paths, named_paths, roots
from flows.settings.settings import read_settings

# Text that is never opened: each new field of a request is named here or has the type DiskPath.
NO_PATHS = {"prompt", "negative", "prompts", "subjects", "model", "start", "placement"}
NEEDED = {"restore_scans": {"scans": "x"}, "super_resolve_mri": {"scan": "x"},
          "train_mri": {"heads": "x"}, "make_shard": {"batch": "x", "shard": 0},
          "approve_batch": {"batch": "x"}, "text_to_video": {"prompt": "x"},
          "extend_video": {"clip": "x"}, "fill_video": {"clip": "x", "mask": "x"},
          "edit_video": {"clip": "x", "prompt": "x"},
          "upscale_video": {"clip": "x"}, "interpolate_video": {"clip": "x"}}  # fmt: skip


def text_fields(model, before=""):
    """Every field that holds text of any form, with the model's own description of it."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from text_fields(kind, f"{before}{name}.")
        elif get_origin(kind) is not Literal and (kind is str or str in _within(kind)):
            yield before + name, field


def _within(kind):
    return {kind} | {inner for part in get_args(kind) for inner in _within(part)}


def is_path(field):
    return field.annotation is str and any(isinstance(mark, OnDisk) for mark in field.metadata)


def is_keyed(field):
    return any(isinstance(mark, OnDisk) and mark.keyed for mark in field.metadata)


def is_plain(field):
    return any(getattr(mark, "pattern", None) for mark in field.metadata)


PATHS = [(flow, name) for flow, m in MODELS.items() for name, f in text_fields(m) if is_path(f)]


@pytest.mark.parametrize("flow", MODELS)
def test_every_text_is_a_path_or_a_plain_name_or_known_to_be_neither(flow):
    for name, field in text_fields(MODELS[flow]):
        known = is_path(field) or is_plain(field) or is_keyed(field) or name in NO_PATHS
        assert known, f"{name}: is it opened? Then its type is DiskPath; else name it in NO_PATHS"


def test_the_paths_of_all_forms():
    assert PATHS == [
        ("text_to_video", "engine"),
        ("text_to_video", "first"),
        ("text_to_video", "last"),
        ("text_to_video", "lora"),
        ("text_to_video", "boxes"),
        ("text_to_video", "control"),
        ("text_to_video", "control_clip"),
        ("text_to_video", "reference"),
        ("extend_video", "clip"),
        ("extend_video", "engine"),
        ("fill_video", "clip"),
        ("fill_video", "engine"),
        ("fill_video", "mask"),
        ("fill_video", "boxes"),
        ("edit_video", "clip"),
        ("edit_video", "engine"),
        ("upscale_video", "clip"),
        ("interpolate_video", "clip"),
        ("super_resolve_mri", "scan"),
        ("super_resolve_mri", "protect"),
        ("super_resolve_mri", "lora"),
        ("super_resolve_mri", "control"),
        ("super_resolve_mri", "control_scan"),
        ("insert_mri_lesions", "scan"),
        ("fill_mri_lesions", "scan"),
        ("fill_mri_lesions", "mask"),
        ("inpaint_mri", "scan"),
        ("inpaint_mri", "mask"),
        ("strip_mri_skull", "scan"),
        ("segment_mri", "scan"),
        ("find_mri_anomalies", "scan"),
        ("augment_mri_dataset", "sources"),
        ("audit_mri_dataset", "dataset"),
        ("audit_mri_dataset", "against"),
        ("train_video", "clips"),
        ("train_mri", "heads"),
        ("generate_clips", "prompt_file"),
        ("generate_clips", "engine"),
        ("restore_scans", "scans"),
    ]


@pytest.fixture
def walls(places, monkeypatch):
    """A folder of inputs, with ways out of it that stand and such that do not."""
    inputs, outside = places / "inputs", places / "outside"
    for folder in (inputs / "deep", outside, places / "inputs-too", places / "outputs"):
        folder.mkdir(parents=True)
        (folder / "p.txt").write_text("a red circle\n")
    (inputs / "link").symlink_to(outside)
    (inputs / "link.txt").symlink_to(outside / "p.txt")
    (inputs / "deep" / "twice").symlink_to(inputs / "link")
    (inputs / "dangling").symlink_to(outside / "nothing")
    (inputs / "round").symlink_to(inputs / "round")
    monkeypatch.setenv("LAMINA_INPUTS", str(inputs))
    return places


ESCAPES = [
    "/etc/passwd",
    "/",
    "../outside/p.txt",
    "inputs/../outside/p.txt",
    "{0}/inputs/../outside/p.txt",
    "{0}/inputs/deep/../../outside/p.txt",
    "{0}/inputs/missing/../../outside/p.txt",
    "{0}/inputs/link/p.txt",
    "{0}/inputs/link.txt",
    "{0}/inputs/deep/twice/p.txt",
    "{0}/inputs/dangling",
    "{0}/inputs-too/p.txt",
    "{0}/inputs/./../outside//p.txt",
    "{0}//outside/p.txt",
    "~/p.txt",
    "~root/.ssh/id_rsa",
    "~",
    "file:///etc/passwd",
    "file://{0}/inputs/deep/p.txt",
    "s3://bucket/p.txt",
    "{0}/inputs/deep/../link/../outside/p.txt",
    "/proc/1/cwd/etc/passwd",
    "/proc/self/environ",
    "{0}/inputs/p.txt\0/etc/passwd",
    ".",
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_picture_of_a_frame_leads_out(walls, escape):
    pictures = ("3=inputs/p.txt", f"5={escape.format(walls)}")
    request = MODELS["text_to_video"].model_validate({"prompt": "x", "key": pictures[1:]})
    with pytest.raises(ValueError, match=r"key_5=.*a request names files below the inputs"):
        check_paths(request, read_settings())
    check_paths(request.model_copy(update={"key": pictures[:1]}), read_settings())


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize(("flow", "field"), PATHS)
def test_no_field_of_any_flow_leads_out(walls, flow, field, escape):
    text = escape.format(walls)
    request = MODELS[flow].model_validate(
        {**NEEDED.get(flow, {}), **inside(walls, flow), field: text}
    )
    with pytest.raises(ValueError, match="a request names files below the inputs") as told:
        check_paths(request, read_settings())
    assert str(told.value).startswith(f"{field}={text}: ")


def inside(walls, flow):
    return {field: str(walls / "inputs" / "a") for name, field in PATHS if name == flow}


@pytest.mark.parametrize(("flow", "field"), PATHS)
def test_every_flow_refuses_before_it_looks(walls, monkeypatch, flow, field):
    """A file that stands and one that does not get the same answer from the flow itself."""
    shown = []
    monkeypatch.setattr(
        "flows.pages.failures.show_facts", lambda title, facts: shown.append(facts)
    )
    run = getattr(import_module(f"flows.{flow}"), flow).fn
    answers = set()
    for name in ("p.txt", "nothing.txt"):
        asked = {
            **NEEDED.get(flow, {}),
            **inside(walls, flow),
            field: str(walls / "outside" / name),
        }
        ended = run(request=MODELS[flow].model_validate(asked))
        assert (ended.name, ended.type.value) == ("Refused", "FAILED")
        answers.add(ended.message.replace(name, "NAME"))
    assert len(answers) == 1
    assert "what to do" in shown[0]


PARTS = st.sampled_from(
    ["..", ".", "inputs", "outside", "deep", "link", "twice", "p.txt", "missing", "~", "", "round"]
)


@given(parts=st.lists(PARTS, max_size=8), absolute=st.booleans())
def test_what_is_let_through_opens_nothing_outside(tmp_path_factory, parts, absolute):
    """Whatever way is written: what may be named lies inside, by what the system itself says."""
    base = tmp_path_factory.getbasetemp() / "ways"
    if not base.exists():
        (base / "inputs" / "deep").mkdir(parents=True)
        (base / "outside").mkdir()
        (base / "outside" / "p.txt").write_text("x")
        (base / "inputs" / "link").symlink_to(base / "outside")
        (base / "inputs" / "deep" / "twice").symlink_to("../link")
        (base / "inputs" / "round").symlink_to("round")
    settings = read_settings(
        {"LAMINA_HOME": str(base / "h"), "LAMINA_INPUTS": str(base / "inputs")}
    )
    text = f"{base}/{'/'.join(parts)}" if absolute else "/".join(parts) or "x"
    try:
        check_files([text], settings)
    except ValueError:
        return
    for opened in (text, os.path.expanduser(text)):
        real = Path(os.path.realpath(opened))
        assert any(real.is_relative_to(root) for root in roots(settings))


@pytest.mark.parametrize(
    "text",
    [
        "{0}/inputs/p.txt",
        "inputs/deep/../p.txt",
        "{0}/outputs/x.nii.gz",
        "{0}/inputs",
        "{0}/state/demo/a",
    ],
)
def test_what_lies_inside_may_be_named(walls, text):
    request = MODELS["restore_scans"](scans=text.format(walls))
    check_paths(request, read_settings())
    assert dict(named_paths(request)) == {"scans": text.format(walls)}


def test_a_scan_that_a_folder_of_scans_links_to_is_held_to_the_folders_too(walls):
    check_files([str(walls / "inputs" / "p.txt")], read_settings())
    with pytest.raises(ValueError, match=r"scans=.*link\.txt: a request names files below"):
        check_files([str(walls / "inputs" / "link.txt")], read_settings())


def test_alone_on_a_machine_a_person_may_name_what_they_may_read(places):
    assert roots(read_settings()) is None
    check_paths(MODELS["restore_scans"](scans="/anything"), read_settings())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PREFECT_API_URL", "http://server:4200/api"),
        ("PREFECT_API_URL", "https://10.0.0.7/api"),
        ("PREFECT_API_AUTH_STRING", "ann:secret"),
        ("PREFECT_SERVER_API_AUTH_STRING", "ann:secret"),
        ("LAMINA_GALLERY_TOKENS", "users.json"),
        ("LAMINA_GALLERY_PROXY_USER_HEADER", "X-User"),
    ],
)
def test_where_others_may_ask_nothing_may_be_named_until_the_operator_says_so(
    places, monkeypatch, variable, value
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=r"of which there are none.*LAMINA_INPUTS"):
        check_paths(MODELS["restore_scans"](scans="/anything"), read_settings())
    check_paths(MODELS["restore_scans"](scans=str(places / "outputs" / "a")), read_settings())


@pytest.mark.parametrize("address", ["http://127.0.0.1:4200/api", "http://localhost/api", ""])
def test_a_server_on_this_machine_is_this_persons_own(places, monkeypatch, address):
    monkeypatch.setenv("PREFECT_API_URL", address)
    assert roots(read_settings()) is None


@pytest.mark.parametrize(
    "brought",
    [{"env": {"LAMINA_INPUTS": "/"}}, {"command": "cat /etc/passwd"}, {"working_dir": "/etc"}],
)
def test_a_run_moves_no_walls(walls, monkeypatch, brought):
    from flows.machines.worker import JobHere

    with pytest.raises(ValueError, match=f"{next(iter(brought))}: a run of this worker brings"):
        JobHere(**brought).prepare_for_flow_run(None)
    monkeypatch.delenv("LAMINA_INPUTS")
    job = JobHere(**brought)
    with pytest.raises(AttributeError):  # of the run that is none: it was let through
        job.prepare_for_flow_run(None)
