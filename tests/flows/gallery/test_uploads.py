"""Scans that people bring: checked, kept whole or not at all, and never from another site."""

import gzip
import hashlib
import json

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from core.refusal import Refusal
from flows.gallery import uploads as uploads_module
from flows.gallery.application import PREFIX, alone
from flows.pages.failures import explained
from flows.requests.uploads import with_uploads
from flows.settings.settings import read_settings
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume
from medical.request import SuperResolutionRequest

TO = "/p/ward/scans/"


@pytest.fixture
def scan(places):
    """The bytes of a real scan."""
    file = places / "head.nii.gz"
    write_volume(Volume(torch.rand(6, 5, 4), np.diag([1.0, 1.0, 4.0, 1.0])), file)
    return file.read_bytes()


def browser(**options):
    base = f"http://127.0.0.1{PREFIX}"
    return TestClient(alone(read_settings()), base_url=base, follow_redirects=False, **options)


def kept(places):
    folder = places / "outputs/ward/uploads"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_scan_is_kept_as_it_came_and_named_in_a_form(places, scan):
    assert "No scan has been uploaded" in browser().get(TO).text
    answer = browser().post(TO + "P 17 (T1).nii.gz", content=scan)
    assert answer.status_code == 201
    assert answer.json() == {"name": "P-17-T1.nii.gz", "scan": "upload:P-17-T1.nii.gz"}
    assert kept(places) == ["P-17-T1.nii.gz"]
    assert (places / "outputs/ward/uploads/P-17-T1.nii.gz").read_bytes() == scan
    assert "upload:P-17-T1.nii.gz" in browser().get(TO).text
    request = SuperResolutionRequest(scan="upload:P-17-T1.nii.gz")
    found = with_uploads(request, "ward", read_settings())
    assert read_volume(found.scan).shape == (6, 5, 4)
    with pytest.raises(Refusal, match="the project default holds no uploaded scan of that name"):
        with_uploads(request, "default", read_settings())


def test_a_host_that_shares_no_disk_with_the_gallery_names_the_rule(places, monkeypatch):
    request = SuperResolutionRequest(scan="upload:a.nii.gz")
    monkeypatch.setenv("LAMINA_STORE", "memory://store")
    with pytest.raises(Refusal, match="stay on the disk of the gallery's host") as refused:
        with_uploads(request, "ward", read_settings())
    assert "upload it there" not in str(refused.value)


def test_a_flow_reads_what_was_uploaded_to_its_project(places, scan):
    browser().post(TO + "a.nii.gz", content=scan)

    @explained
    def flow(request, project="default"):
        return request.scan

    request = SuperResolutionRequest(scan="upload:a.nii.gz")
    assert flow(request, project="ward") == str(places / "outputs/ward/uploads/a.nii.gz")
    assert flow(SuperResolutionRequest(scan="b.nii.gz"), "ward") == "b.nii.gz"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("a.nii.gz", lambda scan: scan[:-9], "a.nii.gz is damaged"),
        ("a.nii.gz", lambda scan: scan[:40] + bytes(8) + scan[48:], "a.nii.gz is damaged"),
        ("a.nii", lambda _: b"", "a.nii is empty"),
        ("a.nii", lambda _: b"<html>" * 100, "a.nii is not a NIfTI file"),
        ("a.nii.gz", lambda _: gzip.compress(b"nothing" * 99), "a.nii.gz is not a NIfTI file"),
        ("a.png", lambda scan: scan, "a.png: a scan is uploaded as NIfTI"),
        (".nii.gz", lambda scan: scan, "a scan is uploaded as NIfTI"),
    ],
)
def test_what_is_no_whole_scan_is_refused_and_leaves_nothing(places, scan, name, change, reason):
    answer = browser().post(TO + name, content=change(scan))
    assert answer.status_code == 400
    assert reason in answer.json()["error"]
    assert str(places) not in answer.json()["error"]
    assert kept(places) == []


def test_one_that_is_too_large_is_refused_before_and_while_it_comes(places, scan, monkeypatch):
    monkeypatch.setattr(uploads_module, "LARGEST_SCAN", 100)
    said = browser().post(TO + "a.nii.gz", content=scan)
    assert (said.status_code, "more than 0 MB" in said.json()["error"]) == (400, True)
    unsaid = browser().post(TO + "a.nii.gz", content=iter([scan[:60], scan[60:]]))
    assert "content-length" not in unsaid.request.headers
    assert unsaid.status_code == 400
    assert kept(places) == []


def test_no_scan_takes_the_place_of_another(places, scan):
    assert browser().post(TO + "a.nii.gz", content=scan).status_code == 201
    again = browser().post(TO + "a.nii.gz", content=scan)
    assert again.status_code == 400
    assert "is here already" in again.json()["error"]


def test_a_project_that_has_its_share_takes_no_more(places, scan, monkeypatch):
    monkeypatch.setenv("LAMINA_QUOTA_GB", "0.0000001")
    answer = browser().post(TO + "a.nii.gz", content=scan)
    assert "LAMINA_QUOTA_GB" in answer.json()["error"]
    assert kept(places) == []


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://127.0.0.1:9"])
def test_another_site_sends_nothing(places, scan, origin):
    answer = browser().post(TO + "a.nii.gz", content=scan, headers={"Origin": origin})
    assert answer.status_code == 403
    ours = browser().post(TO + "a.nii.gz", content=scan, headers={"Origin": "http://127.0.0.1"})
    assert ours.status_code == 201
    assert browser().get(TO + "a.nii.gz").status_code == 405
    assert kept(places) == ["a.nii.gz"]


def test_only_who_sees_a_project_uploads_to_it(places, scan, monkeypatch):
    digest = hashlib.sha256(b"a-token").hexdigest()
    users = {"users": {"ann": {"sha256": digest, "projects": ["ward"]}}}
    (places / "tokens.json").write_text(json.dumps(users))
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(places / "tokens.json"))
    assert browser().post(TO + "a.nii.gz", content=scan).status_code == 401
    ann = {"Authorization": "Bearer a-token"}
    assert browser().post("/p/studio/scans/a.nii.gz", content=scan, headers=ann).status_code == 404
    assert browser().get("/p/studio/scans/", headers=ann).status_code == 404
    assert browser().post("/p/..%2fx/scans/a.nii.gz", content=scan, headers=ann).status_code == 404
    assert browser().post(TO + "a.nii.gz", content=scan, headers=ann).status_code == 201
    (log,) = (places / "state/audit").glob("*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert ("ann", "POST", f"{TO}a.nii.gz", 201) in {
        (line["user"], line["method"], line["path"], line["status"]) for line in lines
    }
