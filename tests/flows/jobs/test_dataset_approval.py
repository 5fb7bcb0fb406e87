"""The flow that draws a dataset asks a person once, and writes what was said."""

import json
from types import SimpleNamespace

import pytest

import flows.augment_mri_dataset as module
from flows.jobs import datasets
from flows.storage.files import FileRef
from medical.datasets.making import make_dataset
from medical.datasets.request import MRIDatasetRequest
from tests.medical.test_datasets import ASKED, BallHeads, maker


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    out = tmp_path / "pilot"
    make_dataset(maker(BallHeads(), count=1), out)
    monkeypatch.setattr(module, "run_dataset", lambda *_: FileRef.of(out / "dataset.json"))
    monkeypatch.setattr(module, "question", datasets.question.fn)
    monkeypatch.setattr(module, "write_answer", datasets.write_answer.fn)
    return out


def run(hours=72.0):
    return module.augment_mri_dataset.fn(MRIDatasetRequest(**ASKED), "default", hours)


def test_a_person_is_asked_once_and_the_answer_is_written(dataset, monkeypatch):
    asked = []

    def answered(**given):
        asked.append(given)
        return SimpleNamespace(decision="reject", by="Ann", note="too few")

    monkeypatch.setattr(module, "suspend_flow_run", answered)
    run()
    assert asked == []  # a run of no deployment cannot be suspended
    monkeypatch.setattr(module, "deployment", SimpleNamespace(id="some"))
    run(hours=0)
    assert asked == []
    run()
    run()
    (question,) = asked
    assert question["timeout"] == 72 * 3600
    said = json.loads((dataset / "approval.json").read_text())
    assert (said["decision"], said["by"], said["note"]) == ("reject", "Ann", "too few")
    assert json.loads((dataset / "dataset.json").read_text())["approval"] == "rejected"
