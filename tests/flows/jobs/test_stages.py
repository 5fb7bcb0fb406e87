import json
import logging
import traceback

import numpy as np
import pytest
import torch
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

from core.refusal import Refusal
from flows import train_video
from flows.jobs import job_stages, stages
from flows.jobs.operations import OPERATIONS
from flows.jobs.stages import worth_retrying
from flows.pages.run_log import LOGGERS, RunLog, join_run_log
from flows.storage.files import FileRef
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from medical.request import SuperResolutionRequest
from video.files.clip import read_mp4
from video.request import VideoRequest

AWAY = "http://127.0.0.1:9/api"  # where nothing listens

STAGES = [
    *(getattr(job_stages, name) for name in ("check", "draw", "publish", "verify", "report")),
    train_video.train,
]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ValueError("num_frames=0"), False),
        (OSError("no space left"), True),
        (RuntimeError("decoded other frames"), True),
    ],
)
def test_refused_input_is_not_tried_again_and_faults_are(error, again):
    assert worth_retrying(None, None, Failed(data=error)) is again


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage.fn.__module__}.{stage.name}")
def test_no_stage_hashes_its_arguments_or_keeps_its_result(stage):
    assert stage.cache_policy == NO_CACHE
    assert stage.persist_result is False


@pytest.mark.parametrize("kind", [stages.stage, stages.patient_stage])
def test_a_refusal_names_no_person_to_whom_reads_the_run(kind):
    @kind
    def look(unnamed):
        """Refuse a person's head."""
        raise Refusal("sub-07: no brain; ask its owner.", unnamed=unnamed)

    with pytest.raises(Refusal, match="1 person: no brain") as caught:
        look.fn("1 person: no brain; ask its owner.")
    assert "sub-07" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(Refusal, match="sub-07"):
        look.fn("")
    assert look.name == "look"
    assert look.retries == (2 if kind is stages.patient_stage else 0)
    assert look.cache_policy == NO_CACHE


def test_a_copy_with_other_bytes_is_no_result(tmp_path, monkeypatch):
    source = tmp_path / "drawn.mp4"
    source.write_bytes(b"frames")
    operation, drawn = OPERATIONS["text_to_video"], {"video": FileRef.of(source)}
    asked = VideoRequest(prompt="a red circle")
    whole = job_stages.publish.fn(operation, asked, drawn, tmp_path / "whole.mp4")
    assert whole["video"].open().read_bytes() == b"frames"
    monkeypatch.setattr("shutil.copyfile", lambda _, target: target.write_bytes(b"fram"))
    with pytest.raises(RuntimeError, match="holds sha256"):
        job_stages.publish.fn(operation, asked, drawn, tmp_path / "torn.mp4")


def test_the_domain_speaks_into_the_run_once():
    before = {
        name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level)
        for name in LOGGERS
    }
    try:
        join_run_log()
        join_run_log()
        for name in LOGGERS:
            logger = logging.getLogger(name)
            assert [type(h) for h in logger.handlers].count(RunLog) == 1
            assert logger.isEnabledFor(logging.INFO)
            logger.warning("outside of a run, where a warning would be an error")
    finally:
        for name, (handlers, level) in before.items():
            logging.getLogger(name).handlers[:] = handlers
            logging.getLogger(name).setLevel(level)


@pytest.fixture
def no_server(caplog):
    with temporary_settings({PREFECT_API_URL: AWAY}):
        yield
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert any(words.startswith("progress could not be shown: [Errno 111]") for words in said)


@pytest.mark.filterwarnings("ignore:Artifact creation outside")
def test_a_clip_is_sampled_while_the_server_is_away(places, encoder_read_once, no_server):
    size = {"num_frames": 4, "height": 32, "width": 32, "steps": 2, "model": "tiny-video"}
    request = VideoRequest(prompt="a red circle", **size)
    made = job_stages.draw.fn(OPERATIONS["text_to_video"], request, {}, ".mp4")
    assert {"video", "preview", "sheet", "numbers"} == made.keys()
    assert read_mp4(made["video"].open()).frames.shape == (4, 32, 32, 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Artifact creation outside")
def test_a_scan_is_restored_while_the_server_is_away(places, no_server):
    data = torch.zeros(12, 10, 4)
    data[3:9, 3:8, 1:3] = 300.0
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), places / "head.nii.gz")
    request = SuperResolutionRequest(scan="head.nii.gz", model="tiny-mri", samples=1, steps=1)
    scan = job_stages.check.fn(OPERATIONS["super_resolve_mri"], request)
    assert scan.keys() == {"scan"}
    made = job_stages.draw.fn(OPERATIONS["super_resolve_mri"], request, scan, ".nii.gz")
    assert {"result", "std", "consistency", "picture", "numbers"} == made.keys()


def test_a_folder_that_holds_another_result_is_not_published_into(tmp_path):
    operation = OPERATIONS["text_to_video"]
    request = VideoRequest(prompt="a red circle", seed=1)
    folder = tmp_path / "a-red-circle-0a1b2c3d"
    folder.mkdir()
    stages.refuse_another_result(operation, request, folder)
    told = {"task": operation.name, "request": request.model_dump()}
    record = folder / "a-red-circle.json"
    record.write_text(json.dumps(told))
    stages.refuse_another_result(operation, request, folder)  # its own, of a run begun again
    other = request.model_copy(update={"seed": 2})
    with pytest.raises(Refusal, match=r"a-red-circle-0a1b2c3d holds .*; move that folder away"):
        stages.refuse_another_result(operation, other, folder)
    record.write_text("{")
    with pytest.raises(Refusal, match=r"holds the result of another request"):
        stages.refuse_another_result(operation, request, folder)
    assert record.read_text() == "{"
