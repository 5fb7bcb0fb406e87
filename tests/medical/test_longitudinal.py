"""Two sessions of drawn heads: what grew, what did not, and every door that must know of it."""

import json
import shutil

import numpy as np
import pytest
from test_datasets import ASKED, BallHeads, bids_validator, contents, maker

from medical.audit.places import contributors, heads_of
from medical.datasets import making
from medical.datasets.again import draw_again, ground_of
from medical.datasets.cost import dataset_cost
from medical.datasets.making import make_dataset
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.series import read_subject_series
from medical.datasets.standing import standing_head
from medical.datasets.subject import _Read
from medical.evaluation.cases import read_cases
from medical.files.nifti import read_volume
from medical.files.nnunet import faults

GROWS = {"years": 2, "ml_a_year": [1, 3]}
SUBJECTS = ("sub-001", "sub-002")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "out"
    assert make_dataset(maker(BallHeads(), count=2, longitudinal=GROWS), out).missing == ()
    return out


def record(out, subject):
    return json.loads((out / "volumes" / f"{subject}.json").read_text())


def voxels(path):
    return read_volume(path).data.numpy()


def session(out, subject, name):
    """Images and masks of a session, by the names that BIDS gives them."""
    anat, stem = out / "bids" / subject / name / "anat", f"{subject}_{name}"
    labels = out / "bids" / "derivatives" / "lamina" / subject / name / "anat"
    found = {c: voxels(anat / f"{stem}_{c}.nii.gz") for c in ("T1w", "FLAIR")}
    found["lesions"] = voxels(labels / f"{stem}_label-lesion_mask.nii.gz")
    found["tissues"] = voxels(labels / f"{stem}_dseg.nii.gz")
    change = labels / f"{stem}_label-lesion_desc-change_mask.nii.gz"
    return found | ({"change": voxels(change)} if change.is_file() else {})


@pytest.mark.parametrize("subject", SUBJECTS)
def test_lesions_grow_by_what_was_asked_and_the_change_is_exact(dataset, subject):
    told = record(dataset, subject)
    first, second = (session(dataset, subject, name) for name in ("ses-01", "ses-02"))
    assert "change" not in first
    assert (second["change"] == second["lesions"] - first["lesions"]).all()
    assert set(np.unique(second["change"])) == {0.0, 1.0}
    load, growth = told["lesions"]["load_ml"]["asked"], told["longitudinal"]["ml_a_year"]["asked"]
    assert 5 <= load <= 15
    assert 1 <= growth <= 3
    assert float(first["lesions"].sum()) * 27 / 1000 == pytest.approx(load, rel=0.05)
    assert float(second["change"].sum()) * 27 / 1000 / 2 == pytest.approx(growth, rel=0.05)
    assert told["longitudinal"]["sessions"]["ses-01"]["count"] == told["lesions"]["count"]["asked"]
    assert told["longitudinal"]["sessions"]["ses-02"]["count"] == told["lesions"]["count"]["asked"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_outside_lesions_the_sessions_are_one_image(dataset, subject):
    first, second = (session(dataset, subject, name) for name in ("ses-01", "ses-02"))
    assert (first["tissues"] == second["tissues"]).all()
    for contrast in ("T1w", "FLAIR"):
        outside = second["lesions"] == 0
        assert (first[contrast][outside] == second[contrast][outside]).all()
        joined = second["change"] > 0
        assert (first[contrast][joined] != second[contrast][joined]).mean() > 0.9


def test_the_bids_validator_finds_no_error(dataset):
    table = (dataset / "bids" / "sub-001" / "sub-001_sessions.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in table] == ["session_id", "ses-01", "ses-02"]
    for folder in (dataset / "bids", dataset / "bids" / "derivatives" / "lamina"):
        code, words = bids_validator(folder)
        assert (code, "[ERROR]" in words) == (0, False), words


def test_a_case_of_nnunet_is_both_sessions_with_what_joined(dataset):
    folder = dataset / "nnunet" / "Dataset501_pilot"
    assert faults(folder) == []
    about = json.loads((folder / "dataset.json").read_text())
    channels = ["T1w ses-01", "FLAIR ses-01", "T1w ses-02", "FLAIR ses-02"]
    assert list(about["channel_names"].values()) == channels
    assert about["labels"] == {"background": 0, "lesion": 1, "joined": 2}
    first, second = (session(dataset, "sub-001", name) for name in ("ses-01", "ses-02"))
    label = voxels(folder / "labelsTr" / "sub001.nii.gz")
    assert ((label == 1) == (first["lesions"] > 0)).all()
    assert ((label == 2) == (second["change"] > 0)).all()
    assert (voxels(folder / "imagesTr" / "sub001_0003.nii.gz") == second["FLAIR"]).all()


def test_tables_and_report_tell_growth_asked_and_delivered(dataset):
    summary = json.loads((dataset / "dataset.json").read_text())
    grown = [row for row in summary["strata"] if row["kind"] == "growth"]
    assert grown[0]["value"] == "1 to 1.5 ml a year"
    assert sum(row["delivered"] for row in grown) == 2
    assert any("nobody's lesions were followed" in said for said in summary["plan"]["said"])
    page = (dataset / "report.html").read_text()
    assert "ml a year asked" in page
    assert "FLAIR, ses-02" in page
    assert "first session, and 2 years later" in page
    assert "2 years apart" in page
    row = (dataset / "bids" / "participants.tsv").read_text().splitlines()
    assert "lesion_growth" in row[0]


def test_the_gate_looks_at_both_sessions(tmp_path, monkeypatch):
    judged = making.judge
    seen = []

    def second_is_clipped(drawn, planned):
        if not seen:
            drawn.facts["quality"]["later"]["images"]["T1w"]["clipped"] = 0.5
        seen.append(judged(drawn, planned))
        return seen[-1]

    monkeypatch.setattr(making, "judge", second_is_clipped)
    out = tmp_path / "out"
    asked = maker(BallHeads(), count=1, longitudinal=GROWS, formats=["bids"])
    assert make_dataset(asked, out).made == 1
    assert seen[0] == ["ses-02, T1w: 50.00% of the brain is clipped"]
    assert seen[1] == []
    assert (out / "quarantine" / "sub-001_attempt-1" / "sub-001" / "ses-02").is_dir()


def test_a_killed_run_goes_on_and_a_head_is_made_again(dataset, tmp_path, monkeypatch):
    out = shutil.copytree(dataset, tmp_path / "out")
    (out / "bids/sub-002/ses-02/anat/sub-002_ses-02_FLAIR.nii.gz").unlink()
    (out / "dataset.json").unlink()
    make_dataset(maker(BallHeads(), count=2, longitudinal=GROWS), out)
    assert contents(out) == contents(dataset)
    monkeypatch.setattr(making, "shipped_heads", BallHeads)
    change = "bids/derivatives/lamina/sub-002/ses-02/anat"
    head = standing_head(out / change / "sub-002_ses-02_label-lesion_desc-change_mask.nii.gz")
    assert head is not None
    assert draw_again(head, ground_of(head), tmp_path / "again").words.startswith("identical")


@pytest.mark.parametrize("formats", [["nnunet"], ["dicom"]])
def test_other_formats_hold_both_sessions(tmp_path, dataset, formats):
    pytest.importorskip("highdicom")
    asked = maker(BallHeads(), count=1, longitudinal=GROWS, formats=formats)
    out = tmp_path / "out"
    make_dataset(asked, out)
    told = record(out, "sub-001")
    first, second = (_Read(asked.request, told, out, later=later) for later in (False, True))
    joined = float(((second.lesions > 0) & (first.lesions == 0)).sum()) * 27 / 1000
    assert joined == pytest.approx(2 * told["longitudinal"]["ml_a_year"]["delivered"], rel=1e-4)
    if formats == ["dicom"]:
        _, _, lesions = read_subject_series("sub-001", asked.request, out, "ses-02")
        assert float(lesions.sum()) == float(second.lesions.sum())
        assert (out / "dicom" / "sub-001" / "ses-02" / "change.dcm").is_file()


def test_sites_change_from_session_to_session_and_lesions_do_not(tmp_path):
    out = tmp_path / "out"
    asked = maker(BallHeads(), count=1, longitudinal=GROWS, formats=["bids"], site="varied")
    make_dataset(asked, out)
    first, second = (session(out, "sub-001", name) for name in ("ses-01", "ses-02"))
    outside = (second["lesions"] == 0) & (first["T1w"] > 0)
    assert (first["T1w"][outside] != second["T1w"][outside]).mean() > 0.5
    assert (second["change"] == second["lesions"] - first["lesions"]).all()


def test_an_audit_holds_a_head_once_and_cases_are_sessions(dataset):
    names = [head.name for head in heads_of(dataset)]
    assert names == ["sub-001_ses-01", "sub-002_ses-01"]
    assert set(contributors(dataset)) >= set(names)
    cases = {case.name: case for case in read_cases(dataset)}
    assert len(cases) == 4
    grown = float(cases["sub-001_ses-02"].mask.sum() - cases["sub-001_ses-01"].mask.sum())
    assert grown == session(dataset, "sub-001", "ses-02")["change"].sum()


def test_one_session_keeps_its_key_and_two_cost_more():
    one, none = (maker(BallHeads(), **more).plan.key for more in ({}, {"longitudinal": {}}))
    assert one == none != maker(BallHeads(), longitudinal=GROWS).plan.key
    asked = MRIDatasetRequest(**ASKED)
    grown = MRIDatasetRequest(**ASKED, longitudinal=GROWS)
    assert dataset_cost(grown).seconds > 1.3 * dataset_cost(asked).seconds
    assert dataset_cost(grown).disk_gb == pytest.approx(2 * dataset_cost(asked).disk_gb, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"longitudinal": {"years": 2}}, "lie above 0"),
        ({"longitudinal": {"ml_a_year": [1, 2]}}, "lie above 0"),
        ({"longitudinal": {"years": 1, "ml_a_year": [3, 1]}}, "a range begins with its smallest"),
        ({"longitudinal": GROWS, "lesions": {}}, "none that grow"),
        ({"longitudinal": {"years": 9, "ml_a_year": [1, 2]}}, "18 ml may join in 9 years"),
        ({"longitudinal": {"years": 0.1, "ml_a_year": [1, 2]}}, "fewer than 10 voxels"),
    ],
)
def test_growth_that_cannot_be_is_refused_before_work(changes, words):
    with pytest.raises(ValueError, match=words):
        MRIDatasetRequest(**{**ASKED, **changes})
