"""Every flow names its runs after what was asked, and no run keeps two random words."""

import importlib

import pytest
from prefect.runtime import flow_run

from core.wording import LONGEST_NAME
from flows.requests.flow_requests import MODELS

ASKED = {
    "text_to_video": ({"prompt": "a red  circle\nmoves left"}, "a red circle moves left"),
    "extend_video": ({"clip": "night/cat.mp4"}, "cat"),
    "fill_video": ({"clip": "night/cat.mp4", "mask": "m.png"}, "cat"),
    "edit_video": ({"clip": "night/cat.mp4", "prompt": "a red star"}, "cat"),
    "upscale_video": ({"clip": "night/cat.mp4"}, "cat"),
    "interpolate_video": ({"clip": "night/cat.mp4"}, "cat"),
    "super_resolve_mri": ({"scan": "ward/p17.nii.gz"}, "p17"),
    "insert_mri_lesions": ({"scan": "ward/p17.nii.gz"}, "p17"),
    "fill_mri_lesions": ({"scan": "ward/p17.nii", "mask": "m.nii"}, "p17"),
    "inpaint_mri": ({"scan": "p17.nii.gz", "mask": "m.nii"}, "p17"),
    "strip_mri_skull": ({"scan": "ward/p17.nii.gz"}, "p17"),
    "segment_mri": ({"scan": "ward/p17.nii.gz"}, "p17"),
    "find_mri_anomalies": ({"scan": "ward/p17_FLAIR.nii.gz"}, "p17_FLAIR"),
    "augment_mri_dataset": ({"name": "twenty-heads"}, "twenty-heads"),
    "audit_mri_dataset": ({"dataset": "ward/heads"}, "heads-audit"),
    "train_video": ({"name": "my-scenes"}, "my-scenes"),
    "train_mri": ({"name": "my-heads", "heads": "bids"}, "my-heads"),
    "generate_clips": ({"name": "tonight"}, "tonight"),
    "restore_scans": ({"name": "ward-3", "scans": "bids"}, "ward-3"),
    "make_shard": ({"batch": "tonight", "shard": 3}, "tonight, shard 3"),
    "approve_batch": ({"batch": "tonight"}, "Approve tonight"),
    "fill_missed_nights": ({}, "Missed nights of generate_clips"),
    "tidy_runs": ({}, "Tidy runs"),
}


@pytest.fixture
def name_of(monkeypatch):
    """What Prefect is told when a run of a flow starts that it calls ``before``."""

    def ask(flow, before="meaty-bullmastiff", **fields):
        asked = MODELS[flow].model_validate(fields)
        monkeypatch.setattr(flow_run, "name", before, raising=False)
        monkeypatch.setattr(flow_run, "parameters", {"request": asked}, raising=False)
        return getattr(importlib.import_module(f"flows.{flow}"), flow).flow_run_name()

    return ask


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("flow", MODELS)
def test_a_run_is_named_after_what_was_asked(flow, name_of):
    fields, wanted = ASKED[flow]
    assert name_of(flow, **fields) == wanted


@pytest.mark.usefixtures("places")
def test_a_long_prompt_is_cut_between_words(name_of):
    prompt = "a large red circle moves slowly to the left and " * 4
    name = name_of("text_to_video", prompt=prompt)
    assert len(name) <= LONGEST_NAME
    assert name.endswith("…")
    assert set(name[:-1].split()) <= set(prompt.split())


def test_where_pages_hide_scans_the_name_does_too(places, monkeypatch, name_of):
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(places / "tokens.json"))
    monkeypatch.setenv("LAMINA_MEDICAL_PAGES", "private")
    monkeypatch.setattr(flow_run, "id", "1a2b3c4d-0000", raising=False)
    assert name_of("super_resolve_mri", scan="ward/p17.nii.gz") == "A scan, 1a2b3c4d"


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("meaty-bullmastiff", "a star"),
        ("Licensed-Ibex", "a star"),
        ("for the talk", "for the talk"),
        ("tonight-0003-1", "tonight-0003-1"),
    ],
)
def test_a_name_that_somebody_gave_stays(before, after, name_of):
    assert name_of("text_to_video", before, prompt="a star") == after
