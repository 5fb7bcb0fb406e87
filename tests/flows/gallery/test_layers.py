"""The scan beside a result: only the very file that the record tells, and only where it may be."""

import hashlib
import json

import pytest
from starlette.testclient import TestClient

from flows.gallery.application import PREFIX, alone
from flows.settings.settings import read_settings

PAGE = "/p/ward/r/super_resolve_mri/p17-5e6f7a8b/scan"
SCAN = "/p/ward/i/super_resolve_mri/p17-5e6f7a8b/scan/scan.nii.gz"
CONTENT = b"a scan of somebody"


@pytest.fixture
def scan(places):
    path = places / "inputs" / "p17.nii.gz"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def record(places, scan):
    """Write the record of a result; facts about the scan may be changed."""
    folder = places / "outputs/ward/super_resolve_mri/p17-5e6f7a8b"
    folder.mkdir(parents=True)
    files = {"result": "scan.nii.gz", "std": "scan_std.nii.gz", "picture": "scan.png"}
    for name in files.values():
        (folder / name).write_bytes(b"v")

    def write(path=scan, **changed):
        digest = hashlib.sha256(CONTENT).hexdigest()
        told = {"file": "p17.nii.gz", "bytes": len(CONTENT), "sha256": digest} | changed
        said = {
            "task": "super_resolve_mri",
            "created": "2026-11-20T10:00:00+00:00",
            "request": {"scan": str(path), "seed": 1, "noise_std": -1.0, "slice_gap_mm": 0.0},
            "inputs": {"scan": told},
            "outputs": {r: {"file": n, "sha256": "0" * 64} for r, n in files.items()},
            "extra": {"acquisition": {"axes": [None, {"thickness_mm": 4.0, "gap_mm": 0.5}]}},
        }
        (folder / "scan.json").write_text(json.dumps(said))

    write()
    return write


@pytest.fixture
def predicted(places, record):
    """The record says that the map is the error that the model predicts."""
    path = places / "outputs/ward/super_resolve_mri/p17-5e6f7a8b/scan.json"
    said = json.loads(path.read_text())
    said["extra"]["uncertainty"] = "root mean square error to be expected, in the scan's units"
    path.write_text(json.dumps(said))


def browser():
    base = f"http://127.0.0.1{PREFIX}"
    return TestClient(alone(read_settings()), base_url=base, follow_redirects=False)


@pytest.mark.usefixtures("predicted")
def test_the_color_bar_of_a_predicted_error_does_not_call_it_a_spread():
    page = browser().get(PAGE).text
    assert 'data-unit="Root mean square error to be expected, in the scan' in page
    assert "Standard deviation of the samples" not in page


@pytest.mark.usefixtures("record")
def test_the_scan_is_a_layer_and_maps_tell_their_unit():
    page = browser().get(PAGE).text
    assert f'data-scan="{PREFIX}{SCAN}"' in page
    assert "Before and after" in page
    assert 'data-unit="Standard deviation of the samples, in the intensity units' in page
    assert ">Radiological<" in page
    answer = browser().get(SCAN)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.usefixtures("record")
def test_what_the_record_holds_is_told_in_words():
    page = browser().get(PAGE).text
    assert "{'" not in page
    assert "thickness_mm" not in page
    assert "<tr><th>Acquisition, axis 2, thickness (mm)</th><td>4</td></tr>" in page
    assert "<tr><th>Noise</th><td>estimated</td></tr>" in page
    assert "<tr><th>Slice gap (mm)</th><td>what the thickness leaves</td></tr>" in page


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "0" * 64},
        {"sha256": ""},
        {"bytes": 3},
        {"path": "/etc/passwd"},
        {"path": "nowhere.nii.gz"},
        {"path": "\0.nii.gz"},
    ],
)
def test_another_file_is_not_shown(record, changed):
    record(**changed)
    assert "data-scan" not in browser().get(PAGE).text
    assert browser().get(SCAN).status_code == 404


def test_a_scan_that_changed_since_is_not_shown(record, scan):
    record()
    assert browser().get(SCAN).status_code == 200
    scan.write_bytes(CONTENT[::-1])
    assert browser().get(SCAN).status_code == 404


@pytest.mark.usefixtures("record")
def test_a_scan_outside_the_operators_folders_is_not_shown(places, scan, monkeypatch):
    monkeypatch.setenv("LAMINA_INPUTS", str(scan.parent))
    assert browser().get(SCAN).status_code == 200
    monkeypatch.setenv("LAMINA_INPUTS", str(places / "elsewhere"))
    assert browser().get(SCAN).status_code == 404
    link = places / "elsewhere" / "p17.nii.gz"
    link.parent.mkdir()
    link.symlink_to(scan)
    assert browser().get(SCAN).status_code == 404


@pytest.mark.usefixtures("record")
def test_nobody_sees_the_scan_of_a_project_that_is_not_theirs(places, monkeypatch):
    tokens = {"users": {"ann": {"sha256": "", "projects": ["studio"]}}}
    tokens["users"]["ann"]["sha256"] = hashlib.sha256(b"a-token").hexdigest()
    (places / "tokens.json").write_text(json.dumps(tokens))
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(places / "tokens.json"))
    assert browser().get(SCAN).status_code == 401
    ann = {"Authorization": "Bearer a-token"}
    assert browser().get(SCAN, headers=ann).status_code == 404
