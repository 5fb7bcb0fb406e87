"""A clip on its way is shown in its run's page and in the gallery, and no more once it is made."""

import io
import json
import os
import time

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from flows.gallery.application import PREFIX, alone
from flows.gallery.under_way import under_way
from flows.jobs.operations import OPERATIONS
from flows.jobs.under_way import FOLDER, run_previews
from flows.pages import artifacts
from flows.settings.settings import read_settings
from medical.request import SuperResolutionRequest
from video.engines.previews import preview_of
from video.request import VideoRequest

PROMPT = "a red circle <b>moves</b>"


class Page:
    def __init__(self, title):
        self.shown = []

    def __call__(self, pictures, facts):
        self.shown.append((pictures, facts))

    def remove(self):
        self.shown.clear()


@pytest.fixture
def page(monkeypatch):
    pages = []
    monkeypatch.setattr(
        artifacts, "LivingPage", lambda title: pages.append(Page(title)) or pages[-1]
    )
    return pages


class Frames:
    def frames(self):
        return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


def looked_at(project):
    client = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
    return client.get(f"/p/{project}/").text


def waited_for(ready):
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_clip_is_shown_while_it_is_made_and_no_longer(places, page):
    project = read_settings().outputs / "studio"
    request = VideoRequest(prompt=PROMPT)
    picture = preview_of(Frames())
    with run_previews(OPERATIONS["text_to_video"], request, project, "a-run") as shown:
        shown(picture, 7, 20)
        waited_for(lambda: page[0].shown)
        ((pictures, facts),) = page[0].shown
        assert facts == {"prompt": PROMPT, "step": "7 of 20"}
        (clip,) = under_way(project)
        assert (clip.title, clip.done, clip.total) == (PROMPT, 7, 20)
        assert clip.picture == next(iter(pictures.values()))
        seen = looked_at("studio")
        assert clip.picture in seen
        assert "step 7 of 20" in seen
        assert "<b>moves</b>" not in seen
    assert under_way(project) == page[0].shown == []
    assert Image.open(io.BytesIO(picture)).n_frames == 5


def test_no_picture_of_a_person_is_shown_on_the_way(places, page):
    request = SuperResolutionRequest(scan="head.nii.gz")
    with run_previews(OPERATIONS["super_resolve_mri"], request, places, "a-run") as shown:
        assert shown is None
    assert page == []


def test_an_item_of_a_batch_is_shown_in_the_gallery_alone(places, page):
    project, operation = read_settings().outputs / "studio", OPERATIONS["text_to_video"]
    request = VideoRequest(prompt=PROMPT)
    with run_previews(operation, request, project, "1a2b", page=False) as shown:
        shown(preview_of(Frames()), 1, 2)
        waited_for(lambda: under_way(project))
    assert under_way(project) == page == []


def test_what_is_no_such_file_is_not_shown_and_old_ones_go(places, page):
    project = read_settings().outputs / "studio"
    folder = project / FOLDER
    folder.mkdir(parents=True)
    good = {"title": "x", "done": 1, "total": 2, "picture": "AAAA"}
    for name, said in {
        "script": good | {"picture": '"><script>'}, "number": good | {"done": "1"},
        "list": [good], "old": good, "older": good,
    }.items():  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(said))
    (folder / "torn.json").write_text("{")
    elsewhere = places / "elsewhere.json"
    elsewhere.write_text(json.dumps(good))
    (folder / "link.json").symlink_to(elsewhere)
    for name, age in {"old": 7200.0, "older": 3 * 86_400.0}.items():
        os.utime(folder / f"{name}.json", (time.time() - age,) * 2)
    assert under_way(project) == []
    request = VideoRequest(prompt="x")
    with run_previews(OPERATIONS["text_to_video"], request, project, "a-run") as shown:
        shown(preview_of(Frames()), 1, 2)
    assert not (folder / "older.json").exists()
    assert (folder / "old.json").exists()
