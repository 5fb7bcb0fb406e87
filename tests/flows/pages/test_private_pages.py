"""Prefect's pages tell no more of medical results than the operator lets them."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from core.training.log import TrainingLog
from core.training.validation import Validation
from flows import approve_batch
from flows.batches import flow as batch_flow_module
from flows.batches.approval import Question, sheet_path
from flows.batches.ledger import Batch
from flows.batches.sheet import is_private
from flows.jobs.operations import OPERATIONS
from flows.pages import artifacts as artifacts_module
from flows.pages.private_pages import show_outputs
from flows.requests.batch_requests import ScanBatchRequest
from flows.settings.settings import read_settings
from flows.storage.files import FileRef
from flows.training.page import TrainingPage

SECRET = "mueller-anna-1961"


@pytest.fixture
def told(monkeypatch):
    """Everything that Prefect's server is told: pages and events, as text."""
    calls = []
    monkeypatch.setattr(
        artifacts_module, "create_markdown_artifact", lambda page, description: calls.append(page)
    )
    monkeypatch.setattr(artifacts_module, "emit_event", lambda **event: calls.append(str(event)))
    return calls


@pytest.fixture
def scan(places):
    folder = places / "outputs" / "ward-3" / "super_resolve_mri" / f"{SECRET}-1a2b3c4d"
    folder.mkdir(parents=True)
    for name in (f"{SECRET}.nii.gz", f"{SECRET}.json"):
        (folder / name).write_bytes(b"x")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"{SECRET}.png")

    def show():
        facts = {"scan": f"/in/{SECRET}.nii", "file": folder, "samples": 4}
        files = {"result": f"{SECRET}.nii.gz", "picture": f"{SECRET}.png"}
        results = {role: FileRef.of(folder / name) for role, name in files.items()}
        operation = OPERATIONS["super_resolve_mri"]
        show_outputs(operation, SECRET, facts, folder / f"{SECRET}.json", results)

    return show


def test_a_private_page_leads_to_the_gallery_and_shows_nothing(scan, told, monkeypatch):
    monkeypatch.setenv("LAMINA_MEDICAL_PAGES", "private")
    scan()
    page, event, other = told
    assert SECRET not in page + event + other
    assert "data:image" not in page
    assert "(/gallery/p/ward-3/)" in page
    assert "| folder | its name ends with 1a2b3c4d |" in page
    assert "| samples | 4 |" in page
    assert "lamina://ward-3/super_resolve_mri/1a2b3c4d/result" in event


def test_a_full_page_has_picture_outputs_and_links(scan, told):
    scan()
    page, event, _ = told
    assert "data:image/webp" in page
    assert f"{SECRET}.nii.gz?download=1" in page
    assert f"| result | [{SECRET}.nii.gz](" in page  # the role that the record has, too
    assert SECRET in event


@pytest.fixture
def scans(places):
    """A finished batch of one scan, named after a patient."""
    batch = Batch.named(read_settings(), "ward-3", "night")
    said = {"name": "night", "project": "ward-3", "kind": "mri", "state": "finished"}
    batch.create(said, [])
    return batch


def test_the_page_of_a_batch_of_scans_has_no_sheet(scans, told, monkeypatch):
    monkeypatch.setattr(
        batch_flow_module, "coordinate", lambda *_: {"state": "finished", "made": 1}
    )
    monkeypatch.setattr(
        batch_flow_module, "contact_sheet", lambda batch: "data:image/webp;base64,AA"
    )
    monkeypatch.setattr(batch_flow_module, "join_run_log", lambda: None)
    monkeypatch.setattr(artifacts_module, "create_progress_artifact", lambda *_: "id")
    for pages in ("private", "full"):
        monkeypatch.setenv("LAMINA_MEDICAL_PAGES", pages)
        batch_flow_module.coordinate_batch(ScanBatchRequest(name="night", scans="x"), "ward-3")
    private, full = (page for page in told if "Batch night" in page)
    assert "data:image" in full
    assert "data:image" not in private


def test_an_approval_names_private_scans_by_their_addresses(scans, monkeypatch):
    monkeypatch.setattr(approve_batch, "run_id", lambda: "run")
    question = Question("2026-11-23", ["0123456789abcdef"], [f"{SECRET}.nii.gz"])
    (scans.root / "approvals").mkdir()
    sheet_path(scans, "run").write_text("data:image/webp;base64,AA")
    for pages, expected in {"private": False, "full": True}.items():
        monkeypatch.setenv("LAMINA_MEDICAL_PAGES", pages)
        words = approve_batch._words(scans, question, "")
        assert (SECRET in words, "data:image" in words) == (expected, expected)
        assert ("| 1 | 0123456789abcdef |" in words) is not expected
        assert "(/gallery/p/ward-3/batches/night/)" in words


def test_clips_are_shown_in_any_case(monkeypatch):
    monkeypatch.setenv("LAMINA_MEDICAL_PAGES", "private")
    assert not is_private(SimpleNamespace(read=lambda: {"kind": "video"}))
    assert is_private(SimpleNamespace(read=lambda: {"kind": "mri"}))


def test_the_page_of_a_training_on_heads_has_curves_alone(tmp_path, told):
    log = TrainingLog(tmp_path / "log", "flow")
    log.record(1, {"loss": 1.0, "learning_rate": 0.1})
    log.close()
    found = Validation({"psnr": 25.0}, np.zeros((8, 8, 3), np.uint8))
    TrainingPage(tmp_path, pictures=False)("flow", 1, found)
    TrainingPage(tmp_path)("flow", 1, found)
    assert [page.count("data:image") for page in told] == [1, 2]
