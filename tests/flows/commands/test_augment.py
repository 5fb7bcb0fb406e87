"""The command that makes a dataset: planned, made, left alone, refused, by exit code."""

import json
import shutil
from pathlib import Path

import pytest
from ball_heads import Ball

from flows.commands.command_line import main
from flows.machines import resources
from medical.datasets import making

ASKED = {"name": "pilot", "count": 1, "contrasts": ["FLAIR"], "spacing_mm": [4, 4, 4],
         "lesions": {"load_ml": [5, 6], "count": [3, 4]}}  # fmt: skip


@pytest.fixture
def asked(places, monkeypatch):
    source = "shipped_heads" if hasattr(making, "shipped_heads") else "TemplateHeads"
    monkeypatch.setattr(making, source, Ball)

    def write(**changes):
        path = places / "request.json"
        path.write_text(json.dumps({**ASKED, **changes}))
        return str(path)

    return write


def test_a_dataset_is_planned_made_and_left_alone(asked, places, capsys):
    out = places / "out"
    assert main(["mri", "augment", asked(), str(out), "--dry-run"]) == 0
    assert "1 head, FLAIR: needs" in capsys.readouterr().out
    assert not out.exists()
    assert main(["mri", "augment", asked(), str(out)]) == 0
    assert Path(capsys.readouterr().out.splitlines()[-1]) == out / "report.html"
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert main(["mri", "augment", asked(), str(out)]) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    capsys.readouterr()
    assert main(["mri", "augment", asked(seed=9), str(out)]) == 2
    assert "a dataset is never changed" in capsys.readouterr().err


def test_what_stands_needs_no_room_and_what_is_left_is_refused_with_numbers(
    asked, places, capsys, monkeypatch
):
    out = places / "out"
    assert main(["mri", "augment", asked(count=2), str(out)]) == 0
    capsys.readouterr()
    used = shutil.disk_usage(places)._replace(free=0)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: used)
    assert main(["mri", "augment", asked(count=2), str(out)]) == 0
    assert "2 heads, FLAIR: all stand\n" in capsys.readouterr().out
    (out / "volumes" / "sub-002.json").unlink()
    assert main(["mri", "augment", asked(count=2), str(out)]) == 2
    told = capsys.readouterr().err
    assert "GB disk" in told
    assert "GB of free disk" in told


def _removed(out: Path) -> None:
    (out / "bids" / "sub-002" / "anat" / "sub-002_FLAIR.nii.gz").unlink()


def _flipped(out: Path) -> None:
    image = out / "bids" / "sub-002" / "anat" / "sub-002_FLAIR.nii.gz"
    held = bytearray(image.read_bytes())
    held[-9] ^= 1  # of the same size
    image.write_bytes(held)


def _cut(out: Path) -> None:
    record = out / "volumes" / "sub-002.json"
    record.write_bytes(record.read_bytes()[:100])


def _record_cut(out: Path) -> None:
    whole = (out / "dataset.json").read_bytes()
    (out / "dataset.json").write_bytes(whole[:100])


def _record_without_files(out: Path) -> None:
    told = json.loads((out / "dataset.json").read_text())
    del told["files"]
    (out / "dataset.json").write_text(json.dumps(told))


def _emptied(out: Path) -> None:
    shutil.rmtree(out / "nnunet")


@pytest.mark.parametrize(
    ("harm", "left"), [(_removed, "1 stand"), (_flipped, "1 stand"), (_cut, "1 stand"),
                       (_emptied, "needs")]
)  # fmt: skip
def test_what_was_removed_or_damaged_is_planned_and_drawn_again(asked, places, capsys, harm, left):
    out = places / "out"
    assert main(["mri", "augment", asked(count=2), str(out)]) == 0
    whole = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    harm(out)
    capsys.readouterr()
    assert main(["mri", "augment", asked(count=2), str(out), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert left in told
    assert "needs" in told
    assert main(["mri", "augment", asked(count=2), str(out)]) == 0
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == whole
    assert main(["mri", "augment", asked(count=2), str(out)]) == 0
    assert "all stand" in capsys.readouterr().out


def test_a_dataset_whose_own_record_is_cut_is_finished_again(asked, places, capsys):
    out = places / "out"
    assert main(["mri", "augment", asked(), str(out)]) == 0
    whole = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    for harm in (_record_cut, _record_without_files):
        harm(out)
        assert main(["mri", "augment", asked(), str(out)]) == 0
        assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == whole
    for text in ('{"count', "7"):
        (out / "request.json").write_text(text)
        capsys.readouterr()
        assert main(["mri", "augment", asked(), str(out)]) == 2
        assert "request.json is cut short or no request" in capsys.readouterr().err


def test_a_dataset_that_misses_heads_ends_with_1(asked, places, capsys, monkeypatch):
    monkeypatch.setattr(making, "judge", lambda *_: ["never"])
    monkeypatch.setattr(making, "ATTEMPTS", 1)
    assert main(["mri", "augment", asked(), str(places / "out")]) == 1
    assert "sub-001" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"contrasts": ["PD"]}, "contrasts"), ({"count": 0}, "at least 1"),
     ({"lesion": {}}, "is no field of this request"),
     ({"lesions": {"load_ml": [5, 200]}}, "at most 100"),
     ({"sources": "nowhere"}, "heads of 0 people")],
)  # fmt: skip
def test_a_request_that_cannot_be_served_is_refused(asked, places, capsys, changes, words):
    assert main(["mri", "augment", asked(**changes), str(places / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (places / "out").exists()


def test_a_person_who_withdraws_is_looked_for_among_the_outputs(asked, places, capsys):
    assert main(["mri", "augment", asked(), str(places / "out")]) == 0
    record = json.loads((places / "out" / "volumes" / "sub-001.json").read_text())
    person = next(iter(record["contributors"]["lesions"]))
    capsys.readouterr()
    assert main(["mri", "withdraw", person, "--datasets", str(places)]) == 0
    assert f"volume {places / 'out' / 'volumes' / 'sub-001.json'}" in capsys.readouterr().out
