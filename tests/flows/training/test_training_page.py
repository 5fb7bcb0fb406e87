"""What a training run says of itself: in words, in its page, and at its end."""

import io
import json
import logging

import numpy as np
import pytest
from PIL import Image

from core.models.checkpoints import WEIGHTS
from core.training.checkpoint import remember_stages
from core.training.log import TrainingLog
from core.training.plan import Progress
from core.training.validation import Validation
from flows.commands.train import _train
from flows.pages import artifacts as artifacts_module
from flows.pages.artifacts import LARGEST_ARTIFACT
from flows.settings.settings import read_settings
from flows.training.page import TrainingPage, curves
from flows.training.stages import train
from flows.training.training import in_words, run_folder, summary
from medical.request import MRITrainingRequest
from video.request import VideoTrainingRequest


@pytest.fixture
def pages(monkeypatch):
    """The pages as the server has them, each in the state it was last given."""
    found = {}

    def create(page, description):
        found[len(found)] = page
        return len(found) - 1

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update_artifact(self, key, update):
            found[key] = update.data

    monkeypatch.setattr(artifacts_module, "create_markdown_artifact", create)
    monkeypatch.setattr(artifacts_module, "get_client", lambda sync_client: Client())
    return found


def logged(run):
    log = TrainingLog(run / "log", "flow")
    for step in range(1, 4):
        log.record(step, {"loss": 1 / step, "learning_rate": 0.1})
    log.close()


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_run_has_one_page_that_follows_its_validations(pages, tmp_path):
    logged(tmp_path)
    page = TrainingPage(tmp_path)
    page("flow", 2, Validation({"psnr": 25.0}, noise(8, 8)))
    page("flow", 3, Validation({"psnr": 30.123}, noise(900, 1100)))
    page.end()
    ((_, text),) = pages.items()
    assert text.count("data:image/webp;base64,") == 2
    assert len(text) <= LARGEST_ARTIFACT
    assert "| psnr | 30.12 |" in text
    assert "| step | 3 |" in text
    assert "| learning rate | 0.1 |" in text


def test_a_run_without_validation_shows_its_curves_in_the_end(pages, tmp_path):
    TrainingPage(tmp_path).end()  # nothing was trained
    assert not pages
    logged(tmp_path)
    TrainingPage(tmp_path).end()
    assert pages[0].count("data:image/webp;base64,") == 1


def test_a_server_that_is_away_ends_no_training(tmp_path, monkeypatch, caplog):
    def away(*_, **__):
        raise ConnectionError("no server")

    def train_model(request, settings, meter, on_validation):
        meter(1, 2, "step 1 of 2")
        logged(run_folder(request, settings))
        (tmp_path / WEIGHTS).write_bytes(b"trained")
        return tmp_path

    monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
    monkeypatch.setenv("LAMINA_DEVICE", "cpu")
    monkeypatch.setattr(artifacts_module, "create_progress_artifact", away)
    monkeypatch.setattr(artifacts_module, "create_markdown_artifact", away)
    monkeypatch.setattr("flows.training.training.train_model", train_model)
    assert train.fn(VideoTrainingRequest(name="a")).path == str(tmp_path / WEIGHTS)
    said = [record.message for record in caplog.records]
    assert "progress could not be shown: no server" in said
    assert "the page of the training could not be shown: no server" in said


def test_a_process_beside_the_first_reports_nothing(monkeypatch, caplog, capsys):
    def descend(*_, **__):
        logging.getLogger("core.training.trainer").warning("said by the first process too")

    monkeypatch.setattr("flows.training.training.descend", descend)
    monkeypatch.setenv("RANK", "1")
    try:
        assert _train(VideoTrainingRequest(name="a")) == 0
        assert not caplog.records
        assert not "".join(capsys.readouterr())
    finally:
        logging.getLogger("core").setLevel(logging.NOTSET)


def test_curves_are_drawn_of_whatever_there_is():
    records = [
        {"stage": "flow", "step": 1, "loss": None},
        {"stage": "flow", "step": 2, "loss": 0.5},
        {"stage": "jumps", "step": 1, "loss": 0.1, "validation/psnr": 30.0},
    ]
    for told in (records, records[:1], []):
        assert Image.open(io.BytesIO(curves(told))).size == (720, 270)


def progress(**changes):
    facts = {"step": 3, "steps": 10, "loss": 0.5, "error": 0.5, "learning_rate": 0.1}
    facts["steps_in_run"] = 14
    return Progress(**{**facts, "seconds_per_step": 2.0, **changes})


def test_steps_are_counted_over_the_stages():
    request = MRITrainingRequest(heads="x", steps=10, jump_steps=4)
    assert in_words(request, "flow", progress(later_s=8.0)) == (
        "step 3 of 14, flow, loss 0.5000, 22 s left"
    )
    after = progress(step=1, steps=4, steps_before=10)
    assert in_words(request, "jumps", after) == "step 11 of 14, jumps, loss 0.5000, 6 s left"


def test_a_budget_never_leaves_less_than_nothing_and_promises_no_steps():
    request = VideoTrainingRequest(minutes=1.0)
    words = in_words(request, "flow", progress(budget_left_s=-1.2, later_s=5.0))
    assert words == "step 3, flow, loss 0.5000, 5 s left"


def test_the_end_says_what_was_done_and_where_the_log_is(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
    request, settings = VideoTrainingRequest(name="a", jump_steps=0), read_settings()
    checkpoint = run_folder(request, settings) / "flow" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text('{"step": 30}')
    clock = {
        "spent_s": 60.0,
        "work": {"steps": 30, "data_s": 6.0, "compute_s": 45.0, "seconds": 60.0},
        "flops": 2e9,
        "peak": 1e10,
        "troubles": [{"step": 7, "what": "out of memory", "samples_at_a_time": 2}],
    }
    (checkpoint / "clock.json").write_text(json.dumps(clock))
    remember_stages(run_folder(request, settings), ["flow"])
    lines = summary(request, settings)
    assert lines[0] == (
        "flow: 30 steps in 1 min; computing 75%, waiting for batches 10% of the time; "
        "1 GFLOP/s, 0.1 of the peak"
    )
    assert lines[1] == "flow, step 7: out of memory"
    log = tmp_path / "training" / "a" / "log"
    assert lines[2] == f"checkpoints: {log.parent}"
    assert f"`tensorboard --logdir {log}`" in lines[3]
