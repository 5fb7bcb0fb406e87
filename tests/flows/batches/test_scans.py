"""Folders and datasets as they are: what is taken, what is left out, and that this is said."""

import os
import shutil
from contextlib import nullcontext, suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.refusal import Refusal
from flows.batches.items import items_of
from flows.batches.ledger import Batch, intact
from flows.batches.shard import run_shard
from flows.batches.start import plan_batch, start_batch
from flows.commands.command_line import main
from flows.requests.batch_requests import ScanBatchRequest, ShardRequest
from flows.settings.settings import read_settings
from medical.files.bidsignore import read_ignored
from medical.files.container import scan_name
from medical.files.survey import Wanted, survey

T1 = "sub-{0}/anat/sub-{0}_T1w.nii.gz"


def scan(path: Path, value: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(value).integers(1, 800, (8, 8, 4)).astype(np.int16)
    image = nib.Nifti1Image(data, np.diag([1.0, 1.0, 4.0, 1.0]))
    kind = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
    plain = path.with_name(f"written{kind}")
    nib.save(image, plain)
    return plain.rename(path)


def taken(folder: Path, *subjects: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in survey(folder, Wanted(subjects)).taken]


def left_out(folder: Path, *subjects: str) -> dict[str, str]:
    found = survey(folder, Wanted(subjects))
    return {path.relative_to(folder).as_posix(): why for path, why in found.left_out.items()}


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "ds"
    scan(folder / T1.format("01"), 1)
    return folder


def test_a_link_into_an_annex_that_leads_nowhere_is_named_and_ends_nothing(dataset):
    lost = dataset / T1.format("02")
    lost.parent.mkdir(parents=True)
    lost.symlink_to("../../.git/annex/objects/none.nii.gz")
    pointer = dataset / T1.format("03")
    pointer.parent.mkdir(parents=True)
    pointer.write_text("/annex/objects/MD5E-s5663237--0123.nii.gz\n")
    assert taken(dataset) == [T1.format("01")]
    reasons = left_out(dataset)
    assert "leads nowhere" in reasons[T1.format("02")]
    assert "git-annex" in reasons[T1.format("03")]
    (dataset / T1.format("01")).unlink()
    with pytest.raises(Refusal, match=r"neither .*sub-02_T1w.nii.gz: its link leads .*; point"):
        survey(dataset)


def test_what_holds_no_scan_is_left_out_of_a_dataset_with_the_reason(dataset):
    anat = dataset / "sub-01/anat"
    (anat / "._sub-01_T1w.nii.gz").write_bytes(b"\0\5\x16\7")
    (anat / ".part-0123.nii.gz").write_bytes(b"")
    (anat / "sub-01_T1w.mgz").write_bytes(b"x")
    (anat / "sub-02_T1w.nii.gz").mkdir()
    scan(anat / "sub-01_T2w.nii.gz")
    scan(anat / "sub-01_t1w.nii.gz")
    scan(dataset / "SUB-03/anat/SUB-03_T1w.nii.gz")
    scan(dataset / "derivatives/x/sub-01/anat/sub-01_desc-x_T1w.nii.gz")
    scan(dataset / ".git/sub-01/anat/sub-01_T1w.nii.gz")
    assert taken(dataset) == [T1.format("01")]
    reasons = left_out(dataset)
    assert {name.rpartition("/")[2]: why.split()[0:2] for name, why in reasons.items()} == {
        "._sub-01_T1w.nii.gz": ["a", "._"],
        ".part-0123.nii.gz": ["a", "hidden"],
        "sub-01_T1w.mgz": ["not", "NIfTI,"],
        "sub-02_T1w.nii.gz": ["a", "folder,"],
        "sub-01_T2w.nii.gz": ["another", "suffix"],
        "sub-01_t1w.nii.gz": ["another", "suffix"],
        "SUB-03_T1w.nii.gz": ["not", "below"],
        "derivatives": ["no", "part"],
    }


def test_scans_that_are_not_packed_are_taken_unless_they_stand_there_packed(dataset):
    scan(dataset / T1.format("02").removesuffix(".gz"), 2)
    scan(dataset / T1.format("01").removesuffix(".gz"), 3)
    assert taken(dataset) == [T1.format("01"), "sub-02/anat/sub-02_T1w.nii"]
    assert left_out(dataset) == {"sub-01/anat/sub-01_T1w.nii": "the same scan is taken as .nii.gz"}
    (dataset / T1.format("01")).unlink()
    assert taken(dataset) == [T1.format(n).removesuffix(".gz") for n in ("01", "02")]


def test_linked_folders_are_followed_and_circles_are_not(dataset, tmp_path):
    scan(tmp_path / "raw/anat2/sub-02_T1w.nii.gz", 2)
    (dataset / "sub-02").mkdir()
    (dataset / "sub-02/anat").symlink_to("../../raw/anat2")
    (dataset / "sub-01/again").symlink_to("..")
    scan(tmp_path / "raw/sub-03/ses-1/anat/sub-03_ses-1_T1w.nii.gz", 3)
    (dataset / "sub-03").symlink_to("../raw/sub-03")
    assert taken(dataset) == [
        T1.format("01"),
        T1.format("02"),
        "sub-03/ses-1/anat/sub-03_ses-1_T1w.nii.gz",
    ]


def test_suffixes_in_any_case_are_taken(tmp_path):
    for number, name in enumerate(("B.NII.GZ", "C.Nii", "a.nii.gz")):
        scan(tmp_path / name, number)
    assert taken(tmp_path) == ["B.NII.GZ", "C.Nii", "a.nii.gz"]
    assert [scan_name(name) for name in taken(tmp_path)] == ["B", "C", "a"]


def test_own_maps_are_left_out_and_scans_of_such_a_name_are_not(tmp_path):
    for number, name in enumerate(("a", "a_std", "a_consistency", "b_std", "c_STD")):
        scan(tmp_path / f"{name}.nii.gz", number)
    for number, name in enumerate(("d_std", "d_consistency")):
        scan(tmp_path / f"{name}.nii", number + 10)
    assert taken(tmp_path) == ["a.nii.gz", "b_std.nii.gz", "c_STD.nii.gz"]
    assert set(left_out(tmp_path)) == {
        "a_std.nii.gz",
        "a_consistency.nii.gz",
        "d_std.nii",
        "d_consistency.nii",
    }


def test_a_plain_folder_says_what_it_holds_below(tmp_path):
    scan(tmp_path / "a.nii.gz")
    scan(tmp_path / "more/b.nii.gz")
    assert taken(tmp_path) == ["a.nii.gz"]
    assert "subfolder" in left_out(tmp_path)["more/b.nii.gz"]
    scan(tmp_path / "more/of/them/c.nii.gz", 3)
    (tmp_path / "more/again").symlink_to("..")
    below = {"more/b.nii.gz", "more/of/them/c.nii.gz"}
    assert left_out(tmp_path).keys() == below


def test_what_stands_behind_a_link_of_a_plain_folder_is_not_walked(tmp_path, tmp_path_factory):
    far = tmp_path_factory.mktemp("far")
    scan(far / "secret.nii.gz")
    scan(far / "deep" / "secret.nii.gz")
    (tmp_path / "scans" / "to-deep").mkdir(parents=True)
    scan(tmp_path / "scans" / "a.nii.gz")
    (tmp_path / "scans" / "linked").symlink_to(far)
    (tmp_path / "scans" / "other").symlink_to(tmp_path)  # which holds no scan itself
    told = left_out(tmp_path / "scans")
    assert list(told) == ["linked"]
    assert "subfolder" in told["linked"]


def test_folders_that_may_not_be_looked_into_stop_nothing(tmp_path, monkeypatch):
    scan(tmp_path / "a.nii.gz")
    scan(tmp_path / "shut/b.nii.gz")
    (tmp_path / "shut/1").write_bytes(b"x")
    stat = Path.stat

    def refused(path, **rest):
        if path.parent.name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **rest)

    monkeypatch.setattr(Path, "stat", refused)
    assert taken(tmp_path) == ["a.nii.gz"]
    assert left_out(tmp_path).keys() == {"shut/b.nii.gz"}


def test_what_holds_scans_in_another_form_is_said(tmp_path):
    scan(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.bz2").write_bytes(b"BZh")
    (tmp_path / "scans.ZIP").write_bytes(b"PK")
    for name in ("IM0001", "1.2.840.3", "LICENSE", "notes.txt"):
        dicom = name in ("IM0001", "1.2.840.3")
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" if dicom else b"text")
    os.mkfifo(tmp_path / "pipe")
    said = left_out(tmp_path)
    assert said.keys() == {"b.nii.bz2", "scans.ZIP", "IM0001", "1.2.840.3"}
    assert said["scans.ZIP"] == "an archive, so unpack it"
    assert said["IM0001"] == said["b.nii.bz2"] == "not NIfTI, so convert it to .nii.gz"


def test_subjects_are_looked_for_below_the_dataset_only(tmp_path):
    folder = tmp_path / "sub-01_study" / "ds"
    for number, label in enumerate(("01", "02")):
        scan(folder / T1.format(label), number)
    assert taken(folder, "01") == [T1.format("01")]
    assert left_out(folder, "01") == {T1.format("02"): "of a subject that was not asked for"}
    shutil.rmtree(folder / "sub-01")
    with pytest.raises(Refusal, match="sub-01 not found"):
        survey(folder, Wanted(["01"]))


def test_bidsignore_is_heeded(dataset):
    for number, label in enumerate(("02", "03", "10")):
        scan(dataset / T1.format(label), number + 2)
    (dataset / ".bidsignore").write_text("# those\n\nsub-02/\n*/anat/sub-03*\n!sub-10\n")
    assert taken(dataset) == [T1.format("01"), T1.format("10")]
    assert set(left_out(dataset).values()) == {"named by .bidsignore"}


@pytest.mark.parametrize(
    ("lines", "inside", "ignored"),
    [
        ("*_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz", True),
        ("/*_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz", False),
        ("anat", "sub-01/anat/a.nii", True),
        ("anat/", "sub-01/anat", False),
        ("sub-0[12]/**", "sub-02/anat/a.nii", True),
        ("sub-0[!12]/**", "sub-02/anat/a.nii", False),
        ("**/a.nii", "a.nii", True),
        ("sub-??", "sub-012/a.nii", False),
        ("*.nii\n!b.nii", "sub-01/b.nii", False),
        ("sub-01\n!sub-01/b.nii", "sub-01/b.nii", True),
        ("a.nii", "aXnii", False),
        ("[^a].nii", "b.nii", True),
        ("[^a].nii", "a.nii", False),
        ("[a^].nii", "^.nii", True),
        ("[a&&b].nii", "&.nii", True),
    ],
)
def test_patterns_mean_what_they_mean_to_git(tmp_path, lines, inside, ignored):
    (tmp_path / ".bidsignore").write_text(lines)
    assert read_ignored(tmp_path / ".bidsignore")(inside) is ignored


@given(st.text(max_size=30), st.text("ab/*[]!", min_size=1, max_size=8))
def test_any_pattern_is_read(tmp_path_factory, lines, inside):
    path = tmp_path_factory.mktemp("any") / ".bidsignore"
    path.write_text(lines, encoding="utf-8", errors="replace")
    with suppress(Refusal) if "-" in lines else nullcontext():  # of a range that goes down
        assert read_ignored(path)(inside) in (True, False)


@given(st.text("ab/*[]!^&|~-\\?", max_size=8))
def test_signs_of_regular_expressions_are_themselves(tmp_path_factory, line):
    path = tmp_path_factory.mktemp("any") / ".bidsignore"
    path.write_text(line, encoding="utf-8")
    with suppress(Refusal):
        read_ignored(path)("a")


def test_a_range_that_goes_down_is_refused_with_its_line(tmp_path):
    path = tmp_path / ".bidsignore"
    path.write_text("sub-01\n[z-a]*\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"in line 2 the pattern '\[z-a\]\*'"):
        read_ignored(path)


FIELDS = {"model": "tiny-mri", "samples": 1, "limits": {"reserve_gb": 0.0}}


def begun(folder: Path) -> tuple[Batch, list]:
    request = ScanBatchRequest(name="night", scans=str(folder), **FIELDS)
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True, exist_ok=True)
    items = items_of(request)
    start_batch(batch, request, plan_batch(batch, request, items))
    return batch, items[0]


def test_batches_learn_from_each_scan_where_asked_and_are_told_as_before_where_not(
    places, dataset
):
    plain = ScanBatchRequest(name="night", scans=str(dataset), model="tiny-mri")
    asked = plain.model_copy(update={"adapt_minutes": 2.0})
    assert "adapt_minutes" not in plain.model_dump(mode="json")
    (one, *_), (other, *_) = items_of(plain)[0], items_of(asked)[0]
    assert (one.request.adapt_minutes, other.request.adapt_minutes) == (0.0, 2.0)
    assert one.address != other.address
    assert "adapt_minutes" not in one.request.model_dump()


def run(batch):
    asked = ShardRequest(batch=batch.root.name, shard=0)
    return run_shard(read_settings(), asked, lambda done, total, note="": None).plain()


def test_a_scan_that_was_replaced_since_it_was_planned_is_refused(places, tmp_path):
    for number, name in enumerate("ac"):
        scan(tmp_path / f"in/{name}.nii.gz", number)
    batch, (first, second) = begun(tmp_path / "in")
    scan(tmp_path / "other.nii.gz", 9).rename(tmp_path / "in/c.nii.gz")
    assert run(batch) == {"made": 1, "failed": 1, "left": 0, "ended": ""}
    outcome = batch.outcomes()[second.address]
    assert outcome["error"].startswith("Refusal: ")
    assert "in/c.nii.gz holds sha256" in outcome["error"]
    assert intact(batch, first)
    assert not intact(batch, second)
    assert not list(batch.results.glob(f"{second.address}*"))


def test_a_scan_that_is_replaced_while_it_is_restored_is_refused(places, tmp_path, monkeypatch):
    from flows.batches.makers import Maker

    sample = Maker.sample

    def replaced(self, job):
        scan(tmp_path / "other.nii.gz", 9).rename(tmp_path / "in/a.nii.gz")
        return sample(self, job)

    scan(tmp_path / "in/a.nii.gz", 1)
    batch, (only,) = begun(tmp_path / "in")
    monkeypatch.setattr(Maker, "sample", replaced)
    assert run(batch)["failed"] == 1
    assert not intact(batch, only)
    assert not list(batch.results.glob(f"{only.address}*"))


def words(folder: Path, *more: str) -> list[str]:
    given = [word for name in ("model=tiny-mri", "samples=1") for word in ("--set", name)]
    return ["batch", *more, str(folder), "--name", "night", *given, "--set", "limits.reserve_gb=0"]


def test_a_plan_lists_what_it_takes_and_what_it_leaves_out(places, dataset, capsys):
    scan(dataset / "sub-01/anat/sub-01_T2w.nii.gz")
    os.symlink("nowhere.nii.gz", dataset / "sub-01/anat/sub-01_run-2_T1w.nii.gz")
    assert main(words(dataset, "plan")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"takes {dataset / T1.format('01')}" in lines
    assert "1 file left out, sub-01/anat/sub-01_T2w.nii.gz: another suffix than T1w" in lines
    assert [line for line in lines if "sub-01_run-2_T1w.nii.gz: its link leads nowhere" in line]


def test_a_batch_whose_items_fail_names_them_and_exits_with_1(places, tmp_path, capsys):
    scan(tmp_path / "in/a.nii.gz")
    (tmp_path / "in/b.nii.gz").write_bytes(b"junk")
    assert main([*words(tmp_path / "in", "run"), "--here"]) == 1
    said = capsys.readouterr()
    assert "1 made, 1 failed" in said.out
    assert "in/b.nii.gz  failed: Refusal: " in said.err
    assert main(["batch", "status", "night", "--failed"]) == 0
    assert "in/b.nii.gz  failed: Refusal: " in capsys.readouterr().out
    (tmp_path / "in/a.nii.gz").unlink()
    assert main([*words(tmp_path / "in", "run"), "--here"]) == 1


def test_what_only_points_elsewhere_or_is_derived_is_left_out_wherever_it_stands(dataset):
    pointer = dataset / T1.format("02")
    pointer.parent.mkdir(parents=True)
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n")
    os.mkfifo(dataset / "sub-01/anat/sub-01_run-2_T1w.nii.gz")
    scan(dataset / "sub-01/derivatives/anat/sub-01_T1w.nii.gz")
    assert taken(dataset) == [T1.format("01")]
    reasons = left_out(dataset)
    assert "Git LFS" in reasons[T1.format("02")]
    assert "a pipe" in reasons["sub-01/anat/sub-01_run-2_T1w.nii.gz"]
    assert "no part of the raw dataset" in reasons["sub-01/derivatives"]


def test_a_plan_says_which_results_have_no_name_of_their_own_in_bids(places, dataset, capsys):
    scan(dataset / "sub-01/sub-01_T1w.nii.gz", 2)
    assert main(words(dataset, "plan")) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "derivative" in line]
    assert line.startswith("1 file left out, sub-01/sub-01_T1w.nii.gz: restored, but not in")
