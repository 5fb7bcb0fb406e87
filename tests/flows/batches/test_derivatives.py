"""Restored scans of a BIDS dataset as a BIDS derivative dataset."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from core.refusal import Refusal
from flows.batches.derivatives import renew_derivatives
from flows.batches.items import items_of
from flows.batches.ledger import Batch
from flows.batches.shard import run_shard
from flows.batches.start import plan_batch, start_batch
from flows.commands.command_line import main
from flows.requests.batch_requests import ScanBatchRequest, ShardRequest
from flows.settings.settings import read_settings
from medical.files.bids import entities_of
from medical.files.bids_derivatives import Restored, derived_path, write_derivatives
from medical.files.survey import Wanted, survey

IMAGES = (
    "sub-01/anat/sub-01_T1w.nii.gz",
    "sub-01/anat/sub-01_T2w.nii.gz",
    "sub-02/ses-01/anat/sub-02_ses-01_run-1_T1w.nii.gz",
    "sub-02/ses-01/anat/sub-02_ses-01_run-02_T1w.nii.gz",
    "sub-02/ses-02/anat/sub-02_ses-02_acq-fast_PD.nii.gz",
    "sub-02/ses-02/anat/sub-02_ses-02_FLAIR.nii.gz",
)
FIELDS = {"model": "tiny-mri", "samples": 2, "steps": 1, "limits": {"reserve_gb": 0.0}}


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "ds"
    for number, name in enumerate(IMAGES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = np.random.default_rng(number).integers(1, 800, (8, 8, 4)).astype(np.int16)
        image = nib.Nifti1Image(data, np.diag([1.0, 1.0, 4.0, 1.0]))
        image.header.set_xyzt_units("mm")
        nib.save(image, path)
    stripped = {"SkullStripped": True}
    (folder / IMAGES[0].replace("nii.gz", "json")).write_text(json.dumps(stripped))
    about = {"Name": "Heads", "BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["A", "B"]}
    (folder / "dataset_description.json").write_text(json.dumps(about))
    return folder


def batch_of(folder: Path, **fields) -> Batch:
    request = ScanBatchRequest.model_validate(
        {"name": "n", "scans": str(folder), **FIELDS, **fields}
    )
    batch = Batch.named(read_settings(), "default", "n")
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    asked = ShardRequest(batch="n", shard=0)
    assert "failed" not in run_shard(read_settings(), asked, lambda *_, **__: None).plain()
    return batch


def derived(batch: Batch) -> Path:
    root = renew_derivatives(batch)
    assert root is not None
    return root


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def complaints(folder: Path) -> list[str]:
    """What the standard's own validator finds wrong: severity, code and place."""
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run(
        [validator, folder, "--format", "json"],
        check=False,  # 1 where there are errors
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = json.loads(done.stdout)["issues"]["issues"]
    return [f"{x['severity']} {x['code']} {x.get('location')}" for x in found]


def test_the_validator_accepts_the_derivatives_and_sees_what_is_wrong(places, dataset):
    batch = batch_of(dataset, suffixes="T1w T2w FLAIR")
    root = derived(batch)
    assert complaints(root) == []
    image = "sub-02/ses-01/anat/sub-02_ses-01_run-1_desc-sr_T1w.nii.gz"
    assert image in files(root)
    (root / image).rename(root / image.replace("_desc-sr_T1w", "_desc-sr_better"))
    assert any(line.startswith("error NOT_INCLUDED") for line in complaints(root))


def test_a_batch_of_a_dataset_ends_with_its_derivatives(places, dataset, capsys):
    fields = {"model": "tiny-mri", "samples": 2, "steps": 1, "limits.reserve_gb": 0}
    words = [f"--set={name}={value}" for name, value in fields.items()]
    words += ["--set=suffixes=T1w T2w", "--set=entities=run-1 run-2"]
    assert main(["batch", "run", str(dataset), "--name", "n", "--here", *words]) == 0
    batch = Batch.named(read_settings(), "default", "n")
    stem = "sub-02/ses-01/anat/sub-02_ses-01_run-{}_desc-sr_{}"
    wanted = {
        stem.format(run, suffix) + ending
        for run in ("1", "02")
        for suffix in ("T1w", "uncertainty")
        for ending in (".nii.gz", ".json")
    }
    described = {"dataset_description.json", "README.md", ".bidsignore"}
    assert files(batch.root / "bids") == wanted | described


def test_volumes_are_the_results_and_name_their_sources(places, dataset, caplog):
    caplog.set_level("INFO")
    batch = batch_of(dataset)
    addresses = {item.address for item, _ in batch.items()}
    told = [x.getMessage() for x in caplog.records if "slice profile: " in x.getMessage()]
    assert {line.partition(":")[0] for line in told} == addresses
    root = derived(batch)
    about = json.loads((root / "dataset_description.json").read_text())
    assert (about["DatasetType"], about["GeneratedBy"][0]["Name"]) == ("derivative", "Lamina")
    assert about["DatasetLinks"] == {"raw": dataset.as_uri()}
    assert (about["License"], about["Authors"]) == ("CC0", ["A", "B"])
    for item, _ in batch.items():
        inside = Path(item.row).relative_to(dataset)
        made = batch.outcomes()[item.address]["files"]
        for role in ("result", "std"):
            volume = root / (derived_path(inside, role) or "")
            assert volume.samefile(batch.root / made[role]["path"])
            said = json.loads(volume.with_name(volume.name.replace("nii.gz", "json")).read_text())
            spread = said["Description"] == "Uncertainty: standard deviation over the samples."
            assert spread is (role == "std")  # tiny-mri predicts no error
            assert said["Sources"] == [f"bids:raw:{inside.as_posix()}"]
            assert said["SkullStripped"] is (inside.name == "sub-01_T1w.nii.gz")
            assert (said["Model"], said["Seed"]) == ("tiny-mri", item.request.seed)
            assert any(line.startswith("slice profile: ") for line in said["Remarks"])


def test_what_is_no_longer_among_the_results_leaves_the_derivatives(places, dataset):
    batch = batch_of(dataset, suffixes="T1w T2w")
    before = files(derived(batch))
    smaller = batch_of(dataset, suffixes="T2w")
    after = files(derived(smaller))
    assert {name for name in after if "nii" in name} == {
        "sub-01/anat/sub-01_desc-sr_T2w.nii.gz",
        "sub-01/anat/sub-01_mod-T2w_desc-sr_uncertainty.nii.gz",
    }
    assert after < before


def test_scans_of_no_dataset_have_no_derivatives(places, dataset):
    batch = batch_of(dataset / "sub-01/anat")
    assert renew_derivatives(batch) is None


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), [0, 2, 3]),
        (Wanted(suffixes=["T2w"]), [1]),
        (Wanted(suffixes=["PDw", "FLAIR"]), [4, 5]),
        (Wanted(entities=["ses-1"]), [2, 3]),
        (Wanted(entities=["run-2"]), [3]),
        (Wanted(suffixes=["T1w", "PD"], entities=["ses-02", "acq-fast"]), [4]),
        (Wanted(["02"], entities=["run-1", "run-2"]), [2, 3]),
    ],
)
def test_suffixes_and_entities_choose_and_the_rest_is_named(dataset, wanted, numbers):
    found = survey(dataset, wanted)
    chosen = {IMAGES[number] for number in numbers}
    assert {path.relative_to(dataset).as_posix() for path in found.taken} == chosen
    left_out = {path.relative_to(dataset).as_posix() for path in found.left_out}
    assert left_out == set(IMAGES) - chosen


def test_nothing_of_that_kind_is_refused_with_what_there_is(dataset):
    with pytest.raises(Refusal, match=r"_bold.nii.gz .*another suffix than bold"):
        survey(dataset, Wanted(suffixes=["bold"]))
    with pytest.raises(Refusal, match="without the entities asked for: ses-03"):
        survey(dataset, Wanted(entities=["ses-03"]))


@pytest.mark.parametrize("words", [{"entities": "ses"}, {"suffixes": "_T1w"}, {"suffixes": ""}])
def test_words_that_are_no_suffix_or_entity_are_refused(words):
    with pytest.raises(ValidationError):
        ScanBatchRequest.model_validate({"scans": "x", **words})


@pytest.mark.parametrize("name", ["head.nii.gz", "sub-01_T-1w.nii.gz", "sub-_T1w.nii", "_.nii"])
def test_other_names_are_no_bids(name):
    assert derived_path(Path(name), "result") is None


def test_a_description_of_the_source_is_replaced():
    assert entities_of("sub-1_desc-a_T1w.nii") == ({"sub": "1", "desc": "a"}, "T1w")
    derived = derived_path(Path("sub-1/anat/sub-1_desc-a_T1w.nii"), "result")
    assert derived == Path("sub-1/anat/sub-1_desc-sr_T1w.nii.gz")


def test_scans_of_one_name_are_no_file_twice_and_the_readme_names_who_is_left_out(tmp_path):
    named = ["sub-1_T1w", "sub-1_T2w", "sub-1_FLAIR", "sub-1_desc-old_T1w"]
    volume = tmp_path / "volume.nii.gz"
    volume.write_bytes(b"")
    scans = [
        Restored(Path(f"sub-1/anat/{name}.nii.gz"), {"result": volume, "std": volume}, {})
        for name in named
    ]
    written = write_derivatives(tmp_path / "out", tmp_path, scans)
    assert len(set(written)) == len(written) == 6
    said = (tmp_path / "out" / "README.md").read_text()
    assert said.endswith("without its description: sub-1/anat/sub-1_desc-old_T1w.nii.gz.\n")
    sources = {p.name: json.loads(p.read_text())["Sources"] for p in tmp_path.rglob("sub-*.json")}
    assert sources["sub-1_mod-FLAIR_desc-sr_uncertainty.json"] == [
        "bids:raw:sub-1/anat/sub-1_FLAIR.nii.gz"
    ]
