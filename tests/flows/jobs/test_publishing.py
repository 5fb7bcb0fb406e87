"""Single runs publish a result that was checked, or nothing."""

import json

import numpy as np
import pytest
import torch
from clips import SMALL
from prefect.testing.utilities import prefect_test_harness

from core.refusal import Refusal
from flows.super_resolve_mri import super_resolve_mri
from flows.text_to_video import text_to_video
from medical.files.nifti import Volume, write_volume
from medical.request import SuperResolutionRequest
from video.request import VideoRequest
from video.several import seed_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def server():
    with prefect_test_harness(server_startup_timeout=300):
        yield


def clip(places):
    return (
        text_to_video,
        VideoRequest(prompt="a red circle", **SMALL),
        "video.operations.text_to_video.TextToVideo.verify",
    )


def scan(places):
    data = torch.zeros(12, 10, 4)
    data[3:9, 3:8, 1:3] = 300.0
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), places / "head.nii.gz")
    request = SuperResolutionRequest(scan="head.nii.gz", model="tiny-mri", samples=1, steps=1)
    return (
        super_resolve_mri,
        request,
        "medical.operations.super_resolve_mri.SuperResolveMRI.verify",
    )


def published(places) -> list:
    return [path for path in (places / "outputs").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("job", [clip, scan])
def test_what_fails_its_check_is_not_published(places, monkeypatch, job):
    flow, request, check = job(places)
    seen = []

    def no(*_):
        seen.append(len(published(places)))
        raise RuntimeError("another picture than was written")

    with monkeypatch.context() as broken:
        broken.setattr(check, no)
        with pytest.raises(RuntimeError, match="another picture"):
            flow(request)
    assert seen[0] >= 1  # it stood there when it was checked
    assert published(places) == []
    flow(request)
    files = published(places)
    assert [path for path in files if path.suffix == ".json"]


@pytest.mark.usefixtures("server")
def test_what_has_its_record_stays_whatever_happens_then(places, monkeypatch):
    flow, request, _ = clip(places)

    def no(*_, **__):
        raise RuntimeError("no page today")

    monkeypatch.setattr("flows.pages.private_pages.show_result", no)
    with pytest.raises(RuntimeError, match="no page"):
        flow(request)
    assert {path.suffix for path in published(places)} >= {".mp4", ".json"}


@pytest.mark.usefixtures("server")
def test_how_a_prompt_is_read_stands_in_record_and_page_of_the_run(
    places, world_model, monkeypatch
):
    shown = []
    monkeypatch.setattr(
        "flows.pages.private_pages.show_result", lambda *given, **more: shown.append((given, more))
    )
    asked = {**SMALL, "model": world_model}
    with pytest.raises(Refusal, match="there is no shape 'heart'"):
        text_to_video(VideoRequest(prompt="a red heart", **asked))
    assert published(places) == []
    text_to_video(VideoRequest(prompt="a reed circle and a cat", **asked))
    (record,) = [path for path in published(places) if path.suffix == ".json"]
    said = json.loads(record.read_text())["extra"]
    assert (said["read_as"], said["not_understood"]) == (["reed -> red"], ["cat"])
    assert "'not understood': 'cat'" in str(shown)
    assert "'read as': 'reed -> red'" in str(shown)


@pytest.mark.usefixtures("server")
def test_several_clips_of_a_prompt_are_results_of_one_run(places):
    asked = VideoRequest(prompt="a red circle", seed=7, **SMALL)
    made = text_to_video(asked, output_name="Take.gif", count=3)
    assert made.keys() >= {"video", "record", "video_2", "record_2", "video_3", "record_3"}
    records = [json.loads(made[role].open().read_text()) for role in ("record", "record_2")]
    assert [record["seeds"] for record in records] == [7, seed_of(7, 1)]
    names = sorted(path.name for path in published(places) if path.suffix == ".gif")
    assert names == ["take-1.gif", "take-2.gif", "take-3.gif"]
    folders = {path.parent.name.rpartition("-")[2] for path in published(places)}
    assert len(folders) == 1  # of one run
    assert len({(made[f"video{n}"].sha256) for n in ("", "_2", "_3")}) == 3
