"""Scans, prompts and models that only one of several hosts has."""

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from stores import Elsewhere, open_s3, planned

from core.storage.faults import StoreRefusedError
from core.storage.store import Store, open_store
from flows.batches.coordinator import coordinate
from flows.batches.inputs import at_hand, with_models
from flows.batches.ledger import Batch
from flows.batches.start import hand_over, items_here_or_planned
from flows.requests.batch_requests import BatchLimits, ClipBatchRequest, ScanBatchRequest
from flows.settings.settings import read_settings
from flows.storage.delivery import obtain
from flows.storage.inputs import deliver_told, told_path
from medical.files.synthetic import marked_synthetic

NAME = "Jane-Doe-1961"  # what a scan's file is called must not travel further than its manifest


@pytest.fixture
def scans(places):
    """A folder of two scans on one host, and how it is taken from this host."""
    folder = places / "scans"
    folder.mkdir()
    for n in range(2):
        data = np.random.default_rng(n).random((24, 24, 6), dtype=np.float32) * 100
        nib.save(nib.Nifti1Image(data, np.diag([1, 1, 4, 1])), folder / f"{NAME}-{n}.nii.gz")
    return folder


def restoring(folder, **fields):
    limits = BatchLimits(retry_delay_s=0.0)
    asked = {"samples": 2, "steps": 1, "model": "tiny-mri", "limits": limits, "name": "night"}
    return ScanBatchRequest(scans=str(folder), **{**asked, **fields})


def hide(folder):
    folder.rename(folder.with_name("far-away"))


def nothing(*news):
    return None


def test_scans_and_the_model_reach_hosts_that_have_neither(team, scans, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, logger="flows")
    request = restoring(scans)
    hand_over(team("clinic"), "default", request)
    assert Batch.named(team("clinic"), "default", "night").state() == "planned"
    originals = {path.name: path.read_bytes() for path in scans.iterdir()}
    hide(scans)
    monkeypatch.setenv("LAMINA_MODELS", str(scans.with_name("no-models")))
    hands = Elsewhere(team, "one", "two")
    ended = coordinate(team("chief"), "default", request, hands, nothing)
    assert (ended["state"], ended["made"], ended["failed"]) == ("finished", 2, 0)

    store = open_store(team("one"))
    batch = Batch.named(team("one"), "default", "night")
    for item, _ in batch.items():
        record = json.loads(store.read(f"default/batches/night/results/{item.stem}.json"))
        name = item.row.rpartition("/")[2]
        assert record["inputs"]["scan"]["sha256"] == sha256(originals[name]).hexdigest()
        assert record["request"]["scan"].endswith(name)
    keys = [*store.names("default/.inputs"), *store.folders("default/.models")]
    assert len(keys) == 3
    assert not any(NAME in key for key in keys)
    assert not any(key.startswith((".inputs", ".models")) for key in store.walk("default"))
    assert NAME not in caplog.text

    again = coordinate(team("chief"), "default", request, Elsewhere(team), nothing)
    assert (again["state"], again["made"]) == ("finished", 2)


def test_a_result_brings_the_scan_it_was_made_from(team, scans):
    request = restoring(scans)
    coordinate(team("one"), "default", request, Elsewhere(team, "one"), nothing)
    hide(scans)
    settings = team("two")
    batch = Batch.named(settings, "default", "night")
    item, _ = batch.items()[0]
    folder = obtain(batch.results / f"{item.stem}.nii.gz")
    assert folder is not None
    assert folder.is_relative_to(settings.outputs / "default")
    scan = folder / item.row.rpartition("/")[2]
    assert sha256(scan.read_bytes()).hexdigest() == item.scan.sha256


def test_what_files_beside_a_scan_tell_of_it_goes_with_it(team, scans, places):
    dataset, marks = places / "ds", [{"SyntheticData": True}, {"SkullStripped": True}, {}]
    for n, told in enumerate(marks):
        anat = dataset / f"sub-0{n}" / "anat"
        anat.mkdir(parents=True)
        data = np.random.default_rng(9 + n).random((24, 24, 6), dtype=np.float32) * 100
        scan = anat / f"sub-0{n}_T1w.nii.gz"
        nib.save(nib.Nifti1Image(data, np.diag([1, 1, 4, 1])), scan)
        (anat / f"sub-0{n}_T1w.json").write_text(json.dumps({**told, "PatientName": NAME}))
    (dataset / "participants.tsv").write_text("participant_id\tsynthetic\nsub-02\tyes\n")
    about = {"Name": "Heads", "License": "CC0", "Authors": ["A"], "ContactName": NAME}
    (dataset / "dataset_description.json").write_text(json.dumps(about))
    request = restoring(dataset)
    hand_over(team("clinic"), "default", request)
    dataset.rename(places / "far-away")
    ended = coordinate(team("chief"), "default", request, Elsewhere(team, "one"), nothing)
    assert (ended["state"], ended["made"]) == ("finished", 3)

    batch = Batch.named(team("one"), "default", "night")
    for item, _ in batch.items():
        result = nib.nifti1.load(batch.results / f"{item.stem}.nii.gz")
        drawn = item.row.endswith(("sub-00_T1w.nii.gz", "sub-02_T1w.nii.gz"))
        assert result.header["descrip"].tobytes().startswith(b"Synthetic") is drawn
    (places / "one").rename(places / "far-away-too")
    for item, _ in Batch.named(team("two"), "default", "night").items():
        drawn = item.row.endswith(("sub-00_T1w.nii.gz", "sub-02_T1w.nii.gz"))
        again = Batch.named(team("two"), "default", "night")
        folder = obtain(again.results / f"{item.stem}.nii.gz")
        assert folder is not None
        assert bool(marked_synthetic(folder / Path(item.row).name)) is drawn
    derived = Batch.named(team("chief"), "default", "night").root / "bids"
    for n in range(3):
        said = json.loads((derived / f"sub-0{n}/anat/sub-0{n}_desc-sr_T1w.json").read_text())
        assert said["SkullStripped"] is (n == 1)
    said = json.loads((derived / "dataset_description.json").read_text())
    assert (said["Name"], said["License"]) == ("Heads: restored to finer voxels", "CC0")
    store = open_store(team("one"))
    kept = [*store.names("default/.inputs"), *store.names("default/batches/night")]
    everywhere = [store.read(f"default/.inputs/{name}") for name in kept if ".json" in name]
    everywhere.append(store.read("default/batches/night/batch.json"))
    assert not any(NAME.encode() in (content or b"") for content in everywhere)


def test_marks_of_a_scan_stay_in_the_store_until_a_file_denies_them(team, places):
    settings = team("one")
    store, folder = open_store(settings), settings.outputs / "default" / ".inputs"
    key = store.key(told_path(folder, "d"))

    def delivered(host, **said):
        scan = places / host / "scan.nii.gz"
        scan.parent.mkdir(exist_ok=True)
        if said:
            scan.with_name("scan.json").write_text(json.dumps(said))
        deliver_told(store, folder, "d", scan, store.names("default/.inputs").get("d.json"))
        return json.loads(store.read(key) or b"null")

    assert delivered("bare") is None
    both = {"SkullStripped": True, "SyntheticData": True}
    assert delivered("clinic", SkullStripped=True) == {"SkullStripped": True}
    assert delivered("drawn", SyntheticData=True) == both
    assert delivered("bare") == both
    assert delivered("another", SkullStripped=False) == {"SyntheticData": True}
    assert delivered("denial", SyntheticData=False) == {}


def test_a_bare_copy_of_a_scan_is_marked_as_its_original(team, scans):
    path = scans / f"{NAME}-0.nii.gz"
    sidecar = scans / f"{NAME}-0.json"
    sidecar.write_text('{"SyntheticData": true}')
    request = restoring(scans)
    hand_over(team("one"), "default", request)
    batch = Batch.named(team("two"), "default", "night")
    items = {item.row: item for item, _ in batch.items()}
    assert at_hand(batch, items[str(path)]).request.scan == str(path)
    sidecar.unlink()
    assert marked_synthetic(at_hand(batch, items[str(path)]).request.scan)
    hand_over(team("one"), "default", request)  # a copy without the mark takes none away
    assert marked_synthetic(at_hand(batch, items[str(path)]).request.scan)
    sidecar.write_text('{"SyntheticData": false}')
    hand_over(team("one"), "default", request)
    assert at_hand(batch, items[str(path)]).request.scan == str(path)


def test_another_scan_of_the_same_path_is_not_taken_for_the_planned_one(team, scans):
    request = restoring(scans)
    hand_over(team("one"), "default", request)
    path = scans / f"{NAME}-0.nii.gz"
    path.write_bytes((scans / f"{NAME}-1.nii.gz").read_bytes())
    settings = team("two")
    batch = Batch.named(settings, "default", "night")
    first = at_hand(batch, batch.items()[0][0])
    assert first.request.scan != str(path)
    assert sha256(Path(first.request.scan).read_bytes()).hexdigest() == first.scan.sha256
    assert at_hand(batch, batch.items()[0][0]) == first
    second, _ = batch.items()[1]
    assert at_hand(batch, second) == second


def test_a_scan_that_changed_while_it_was_planned_or_in_the_store_is_refused(
    team, scans, monkeypatch
):
    from flows.batches import start as start_module

    request, path = restoring(scans), scans / f"{NAME}-0.nii.gz"
    content, deliver = path.read_bytes(), start_module.deliver_inputs

    def change_and_deliver(batch, items):
        path.write_bytes(b"another")
        deliver(batch, items)

    with monkeypatch.context() as patch:
        patch.setattr(start_module, "deliver_inputs", change_and_deliver)
        with pytest.raises(ValueError, match=r"must not change .* start the batch again"):
            hand_over(team("one"), "default", request)
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(start_module, "deliver_inputs", lambda batch, items: None)
        hand_over(team("one"), "default", request)
    hide(scans)
    with pytest.raises(ValueError, match=r"neither here nor in .*; start it there"):
        hand_over(team("two"), "default", request)
    scans.with_name("far-away").rename(scans)
    hand_over(team("one"), "default", request)
    store = open_store(team("two"))
    store.write(f"default/.inputs/{sha256(content).hexdigest()}.nii.gz", b"poison")
    hide(scans)
    batch = Batch.named(team("two"), "default", "night")
    with pytest.raises(StoreRefusedError, match=r"holds sha256 .* instead of") as refused:
        at_hand(batch, batch.items()[0][0])
    assert NAME not in str(refused.value)


def test_batches_of_one_host_deliver_and_fetch_one_scan_at_once(team, scans, monkeypatch):
    settings = team("one")
    asked = [restoring(scans, name=f"night-{n}", steps=n) for n in (1, 2)]
    with ThreadPoolExecutor(2) as batches:
        list(batches.map(partial(hand_over, settings, "default"), asked))
    hide(scans)
    settings, fetch, overtaking = team("two"), Store.fetch, []
    first, second = (Batch.named(settings, "default", request.name) for request in asked)
    (item, _), *_ = first.items()
    (same, _), *_ = second.items()

    def fetch_and_be_overtaken(store, *rest):
        monkeypatch.setattr(Store, "fetch", fetch)
        came = fetch(store, *rest)
        overtaking.append(at_hand(second, same))
        return came

    monkeypatch.setattr(Store, "fetch", fetch_and_be_overtaken)
    found = at_hand(first, item).request.scan
    assert [other.request.scan for other in overtaking] == [found]
    assert sha256(Path(found).read_bytes()).hexdigest() == item.scan.sha256


def test_prompts_of_one_host_are_read_from_the_plan_on_another(team, places):
    prompts = places / "prompts.txt"
    prompts.write_text("a red circle moves left\n")
    request = ClipBatchRequest(name="night", prompt_file=str(prompts), model="tiny-video")
    hand_over(team("one"), "default", request)
    prompts.unlink()
    (item,), repeated = items_here_or_planned(team("two"), "default", request)
    assert (item.request.prompt, repeated) == ("a red circle moves left", [])
    other = request.model_copy(update={"steps": 3})
    with pytest.raises(ValueError, match=r"prompts\.txt"):
        items_here_or_planned(team("two"), "default", other)


def test_a_host_with_another_model_of_that_name_makes_the_batch_with_the_planned_one(
    team, places, tiny_models, monkeypatch
):
    from core.models.checkpoints import find_model, save_model
    from flows.batches.inputs import deliver_inputs
    from video.training.presets import tiny

    batch = planned(team("one"), 1)
    deliver_inputs(batch, [item for item, _ in batch.items()])
    ours = (tiny_models / "tiny-video" / "model.json").read_bytes()
    record = {"name": "tiny-video", "kind": "video", "objective": "flow matching"}
    save_model(places / "others" / "tiny-video", tiny(), record)
    monkeypatch.setenv("LAMINA_MODELS", str(places / "others"))
    settings = team("two")
    found = with_models(settings, Batch.named(settings, "default", "night"))
    assert found.models[1:] == settings.models
    assert (find_model("tiny-video", "video") / "model.json").read_bytes() == ours
    assert with_models(found, Batch.named(settings, "default", "night")) == found


def test_without_a_store_nothing_is_delivered(places, scans):
    hand_over(read_settings(), "default", restoring(scans))
    assert not (places / "outputs").exists()


@pytest.mark.slow
@pytest.mark.integration
def test_lamina_batch_of_a_folder_of_scans_goes_on_on_another_host(
    places, cable, scans, monkeypatch
):
    """The first host has the scans and plans; the second, another process, makes them."""
    open_s3(monkeypatch, cable.port)
    request = restoring(scans, limits=BatchLimits())
    hand_over(read_settings(), "default", request)
    hide(scans)
    environment = {**os.environ, "LAMINA_OUTPUTS": str(places / "other"), "OMP_NUM_THREADS": "1"}
    code = (
        "import json, sys; from flows.requests.batch_requests import ScanBatchRequest as R;"
        "from flows.batches.coordinator import coordinate; from flows.batches.shard_runs import "
        "Here;"
        "from flows.settings.settings import read_settings as s;"
        "asked = R.model_validate_json(sys.argv[1]);"
        "print(coordinate(s(), 'default', asked, Here(), lambda *news: None))"
    )
    words = [sys.executable, "-c", code, request.model_dump_json()]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "'made': 2" in done.stdout, done.stdout + done.stderr
    assert NAME not in done.stderr
    assert len(open_store(read_settings()).names("default/batches/night/results")) == 10
