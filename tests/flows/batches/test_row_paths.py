"""Rows of a prompt file name no file and no server that a form may not name."""

import json

import pytest

from core.refusal import Refusal
from flows.batches.flow import check_rows
from flows.requests.batch_requests import ClipBatchRequest
from flows.settings.settings import read_settings


@pytest.mark.parametrize(
    "row",
    [
        {"engine": "wan", "first": "/etc/hostname"},
        {"engine": "wan", "lora": "../adapter.safetensors"},
        {"engine": "/opt/engine"},
        {"engine": "http://10.0.0.1:80/model"},
    ],
)
def test_where_others_may_ask_rows_are_held_to_the_folders(places, monkeypatch, row):
    folder = places / "inputs"
    folder.mkdir()
    file = folder / "prompts.jsonl"
    fine = {"prompt": "a cat", "engine": "wan", "first": str(folder / "a.png")}
    file.write_text(json.dumps(fine) + "\n" + json.dumps({"prompt": "a dog", **row}))
    request = ClipBatchRequest(name="x", prompt_file=str(file))
    check_rows(request, read_settings())  # a person alone names what they may read
    monkeypatch.setenv("LAMINA_INPUTS", str(folder))
    with pytest.raises(Refusal, match=r"prompts.jsonl:2: (first|lora|engine)="):
        check_rows(request, read_settings())
    file.write_text(json.dumps(fine))
    check_rows(request, read_settings())


@pytest.mark.parametrize("name", ["a.png", "a.txt"])
def test_a_folder_of_pictures_leads_to_no_other_folder(places, monkeypatch, name):
    folder = places / "inputs"
    folder.mkdir()
    (places / "secret").write_text("a key")
    request = ClipBatchRequest(name="x", prompt_file=str(folder))
    (folder / name).symlink_to(places / "secret")
    check_rows(request, read_settings())
    monkeypatch.setenv("LAMINA_INPUTS", str(folder))
    with pytest.raises(Refusal, match=rf"prompt_file=.*{name}: a request names files below"):
        check_rows(request, read_settings())
    (folder / name).unlink()
    (folder / name).write_text("of its own")
    check_rows(request, read_settings())


@pytest.mark.parametrize("role", ["first", "key_8"])
def test_a_picture_that_changes_after_its_plan_is_refused(tmp_path, role):
    from core.refusal import Refusal
    from flows.batches.item import Item, digests_of
    from flows.batches.makers import check_unchanged
    from video.request import VideoRequest

    picture = tmp_path / "a.png"
    picture.write_bytes(b"planned")
    picked = {"engine": "wan", "first": str(picture)}
    asked = {"key": [f"8={picture}"]} if role == "key_8" else picked
    request = VideoRequest.model_validate({"prompt": "a red circle moves left", **asked})
    item = Item.of_line(Item("0" * 16, "row 1", request, inputs=digests_of(request)).line())
    check_unchanged(item)
    for change in (lambda: picture.write_bytes(b"another"), picture.unlink):
        change()
        with pytest.raises(Refusal, match=rf"^{role}=.*a.png holds other bytes than were planned"):
            check_unchanged(item)
