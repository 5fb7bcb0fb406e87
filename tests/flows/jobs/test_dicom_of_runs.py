"""A run that is asked for DICOM: a folder beside the files, in the record, withdrawn with them."""

import inspect
import json
from contextlib import nullcontext

import pydicom
import pytest
from ball_series import ball

from core.records import sha256_file
from core.refusal import Refusal
from flows.commands.command_line import main
from flows.jobs import job_stages
from flows.jobs.operations import OPERATIONS
from medical.operations import dicom_results
from medical.operations.segment_mri import SegmentMRI

STAGES = ("check", "check_dicom", "draw", "publish", "verify", "convert", "report")


@pytest.fixture
def run(places, monkeypatch):
    """The stages of a run of ``segment_mri``, one after the other, without a server."""
    for name in STAGES:
        monkeypatch.setattr(job_stages, name, getattr(job_stages, name).fn)
    monkeypatch.setattr(job_stages, "join_run_log", lambda: None)
    monkeypatch.setattr(job_stages, "show_outputs", lambda *_: None)
    monkeypatch.setattr(job_stages, "run_id", lambda: "1a2b3c4d")
    monkeypatch.setattr("flows.jobs.stages.run_id", lambda: "1a2b3c4d")
    monkeypatch.setattr(job_stages, "progress_bar", lambda _: nullcontext(lambda *_, **__: None))
    work = SegmentMRI()
    scan = ball(places / "in")

    def begin(result_format, output_name="head"):
        request = work.request(scan=str(scan))
        return job_stages.run_stages(work, request, output_name, "default", result_format)

    return begin


def test_dicom_stands_beside_the_files_and_in_the_record(run, places):
    made = run("dicom")
    record = made["record"].open()
    folder = record.parent / "head"
    told = json.loads(record.read_text())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert told["extra"]["dicom"] == {
        path.relative_to(record.parent).as_posix(): sha256_file(path) for path in files
    }
    assert pydicom.dcmread(folder / "result.dcm").Modality == "SEG"
    assert len(files) == 1 + len(list((places / "in").iterdir()))
    assert main(["reproduce", str(made["result"].path)]) == 0


def test_files_alone_are_the_same_without(run):
    plain = run("nifti")
    stood = plain["result"].open().read_bytes()
    assert not (plain["record"].open().parent / "head").exists()
    assert "dicom" not in json.loads(plain["record"].open().read_text())["extra"]
    assert run("dicom", "other")["result"].open().read_bytes() == stood


def test_dicom_that_reads_back_otherwise_withdraws_all(run, places, monkeypatch):
    with monkeypatch.context() as change:
        change.setattr(dicom_results, "same_corners", lambda *_: False)
        with pytest.raises(RuntimeError, match="reads back as another volume"):
            run("dicom")
    outputs = places / "outputs" / "default" / "segment_mri"
    assert not [path for path in outputs.rglob("*") if path.is_file()]
    assert run("dicom")["record"].open().is_file()


def test_what_cannot_be_dicom_is_refused_before_anything_is_drawn(run, monkeypatch):
    def skewed(*_):
        raise Refusal("its axes are not at right angles: a series has no other; resample it.")

    monkeypatch.setattr("medical.operations.dicom_results.check_dicom", skewed)
    monkeypatch.setattr(job_stages, "draw", lambda *_: pytest.fail("drawn"))
    with pytest.raises(Refusal, match="right angles"):
        run("dicom")


@pytest.mark.parametrize("name", [n for n, each in OPERATIONS.items() if each.kind == "mri"])
def test_every_operation_on_a_scan_offers_it(name):
    work = OPERATIONS[name]
    asked = inspect.signature(_flow(name).fn).parameters
    assert ("result_format" in asked) == (".nii.gz" in work.endings)


def _flow(name):
    module = __import__(f"flows.{name}", fromlist=[name])
    return getattr(module, name)
