"""One head of a dataset made again from its record, in every format, and what is said if not."""

import json
import shutil

import pytest
import torch
from test_datasets import BallHeads

from core.refusal import Refusal
from flows.commands.command_line import main
from medical.datasets import again, making
from medical.datasets.again import draw_again, ground_of
from medical.datasets.making import Maker, make_dataset
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.standing import standing_head
from medical.files.nifti import read_volume, write_volume

ASKED = {
    "name": "pilot", "count": 2, "contrasts": ["T1w", "FLAIR"], "spacing_mm": [4, 4, 4], "seed": 7,
    "lesions": {"load_ml": [5, 15], "count": [5, 9]}, "formats": ["bids", "nnunet", "dicom"],
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of two heads in three formats; of the second, the first attempt did not pass."""
    pytest.importorskip("highdicom")
    out, judge = tmp_path_factory.mktemp("set") / "out", making.judge
    with pytest.MonkeyPatch.context() as change:
        change.setattr(making, "shipped_heads", BallHeads)
        change.setattr(
            making,
            "judge",
            lambda drawn, planned: ["odd"] if _first_of_second(drawn) else judge(drawn, planned),
        )
        assert make_dataset(Maker.of(MRIDatasetRequest(**ASKED)), out).missing == ()
    return out


def _first_of_second(drawn):
    return drawn.facts["subject"] == "sub-002" and drawn.facts["attempt"] == 0


@pytest.fixture
def dataset(made, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "shipped_heads", BallHeads)
    return shutil.copytree(made, tmp_path / "out")


def edit(path, change):
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


@pytest.mark.parametrize(
    "name",
    ["volumes/sub-002.json", "bids/sub-001/anat/sub-001_FLAIR.nii.gz",
     "nnunet/Dataset501_pilot/labelsTr/sub001.nii.gz", "dicom/sub-002/lesions.dcm"],
)  # fmt: skip
def test_any_file_of_a_head_leads_to_all_its_files_bit_for_bit(dataset, name, capsys):
    assert main(["reproduce", str(dataset / name)]) == 0
    told = capsys.readouterr().out
    subject = "sub-002" if "002" in name else "sub-001"
    assert told.startswith(f"{subject} of out: augment_mri_dataset\n")
    count = len(json.loads((dataset / "volumes" / f"{subject}.json").read_text())["files"])
    assert f"identical: every bit of {count} files" in told
    assert count > 80  # slices of both series among them
    assert "note" not in told


def test_what_is_drawn_again_can_be_kept(dataset, tmp_path, capsys):
    kept = tmp_path / "kept"
    assert main(["reproduce", str(dataset / "volumes" / "sub-001.json"), str(kept)]) == 0
    name = "bids/sub-001/anat/sub-001_T1w.nii.gz"
    assert (kept / name).read_bytes() == (dataset / name).read_bytes()
    assert main(["reproduce", str(dataset / "volumes" / "sub-001.json"), str(kept)]) == 2
    assert "gets a folder of its own" in capsys.readouterr().err


def test_a_file_that_is_other_or_gone_is_named(dataset, capsys):
    image = dataset / "bids/sub-001/anat/sub-001_FLAIR.nii.gz"
    scan = read_volume(image)
    data = scan.data.clone()
    data[20, 20, 20] += 3
    write_volume(scan.with_data(data, scan.affine), image, overwrite=True)
    (dataset / "nnunet/Dataset501_pilot/labelsTr/sub001.nii.gz").unlink()
    assert main(["reproduce", str(image)]) == 1
    told = capsys.readouterr().out
    assert "note: bids/sub-001/anat/sub-001_FLAIR.nii.gz was changed after it was recorded" in told
    assert "labelsTr/sub001.nii.gz has gone" in told
    assert "different: 1 of" in told
    assert "of the voxels, by up to 3)" in told


def test_a_seed_that_drew_something_else_is_another_head(dataset):
    edit(dataset / "volumes" / "sub-002.json", lambda said: said.update(attempt=0))
    head = standing_head(dataset / "volumes" / "sub-002.json")
    found = draw_again(head, ground_of(head), dataset.parent / "again")
    assert not found.same
    assert "different: " in found.words


def drop(name):
    return lambda said: said.pop(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *[(drop(name), f"does not tell its {name}") for name in
          ("subject", "attempt", "seed", "files", "contributors")],
        (lambda said: said.update(files=None, attempt="two"), "does not tell its files, attempt"),
        (lambda said: said["contributors"].pop("anatomy"), "does not tell its contributors"),
        (lambda said: said.update(versions=[1]), "does not tell its versions"),
        (lambda said: said.update(subject="sub-009"), "not among the 2 heads of its plan"),
    ],
)  # fmt: skip
def test_a_record_that_was_cut_is_refused(dataset, change, words, monkeypatch, capsys):
    monkeypatch.setattr(again, "draw_volume", lambda *_: pytest.fail("drawn"))
    edit(dataset / "volumes" / "sub-001.json", change)
    assert main(["reproduce", str(dataset / "volumes" / "sub-001.json")]) == 2
    assert words in capsys.readouterr().err


def test_a_model_that_is_another_is_said_before_anything_is_drawn(dataset, monkeypatch, capsys):
    monkeypatch.setattr(again, "draw_volume", lambda *_: pytest.fail("drawn"))
    monkeypatch.setattr(BallHeads, "digest", "other")
    asked = ["reproduce", str(dataset / "volumes" / "sub-001.json")]
    assert main(asked) == 2
    told = capsys.readouterr().err
    assert "the model that heads are drawn with is other and was ball" in told
    assert "only what a head was drawn from makes it again" in told
    edit(dataset / "volumes" / "sub-001.json", lambda said: said.pop("drawn_from"))
    assert main(asked) == 2
    assert "the model, its people, the lesion atlas" in capsys.readouterr().err


def test_what_computed_then_and_now_is_told(dataset, capsys):
    def older(said):
        said["versions"]["torch"] = "1.0"
        said["compute"]["threads"] = 77

    edit(dataset / "volumes" / "sub-001.json", older)
    assert main(["reproduce", str(dataset / "volumes" / "sub-001.json")]) == 0
    told = capsys.readouterr().out
    assert f"note: torch 1.0 then, {torch.__version__.partition('+')[0]}" in told
    assert "note: threads 77 then" in told


def test_files_of_no_single_head_are_refused_and_others_left_alone(dataset, tmp_path):
    for name in ("report.html", "dataset.json", "quarantine/sub-002_attempt-1/reasons.json", ""):
        with pytest.raises(Refusal, match="one head at a time is made again"):
            standing_head(dataset / name)
    (dataset / "labels.json").write_text(json.dumps({"outputs": {}}))
    assert standing_head(dataset / "labels.nii.gz") is None  # made of a head by something else
    assert standing_head(tmp_path / "clip.mp4") is None
