"""Whether drawn heads help: arms, cut and paste, runs that go on, and what the table says."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.refusal import Refusal
from core.seeds import generator
from medical.datasets.making import Dataset
from medical.datasets.request import MRIDatasetRequest
from medical.evaluation import downstream, leave_out
from medical.evaluation.cases import people_of
from medical.evaluation.downstream import (
    ARMS,
    PASTED,
    Case,
    batch_of,
    carved,
    interval,
    overlap,
    protocol,
    read_cases,
    runs,
)
from medical.evaluation.downstream_table import (
    chance_of_none,
    differences,
    rejected,
    table,
    verdict,
)
from medical.evaluation.leave_out import draw_without, drawn_for, read_rows
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from medical.lesions.atlas import digest_of_mask, lesion_atlas


def case(name, value, seed=0):
    """A ball with bright lesions; images of other values are other cases."""
    random = np.random.default_rng(seed)
    places = np.indices((40, 36, 30)) - np.array([20, 18, 15]).reshape(3, 1, 1, 1)
    image = np.where(np.linalg.norm(places, axis=0) < 14, value, 0.0)
    mask = np.zeros(image.shape)
    for start in random.integers(10, 20, (4, 3)):
        mask[tuple(slice(a, a + 4) for a in start)] = 1
    image = np.where(mask > 0, 1.6 * value, image)
    return Case.of(name, torch.from_numpy(image), torch.from_numpy(mask))


def test_arms_take_their_share_of_drawn_patches():
    real, drawn = case("a", 1.0), case("b", 1.0, seed=1)
    drawn.image[:] = 0.25
    for arm, share in ARMS.items():
        found = [batch_of(arm, [real], [drawn], generator(3, step))[0] for step in range(12)]
        parts = [float(image.max() == image.min()) for batch in found for image in batch]
        assert np.mean(parts) == pytest.approx(share, abs=0.2)
    images, shares = batch_of("real", [real], [drawn], generator(1))
    assert images.shape == (4, 1, 32, 32, 32)
    assert torch.equal(shares.sum(1), torch.ones(4, 32, 32, 32))
    again = batch_of("real", [real], [drawn], generator(1))[0]
    assert torch.equal(images, again)


def test_lesions_are_pasted_with_their_mask():
    target = torch.zeros(32, 32, 32), torch.zeros(32, 32, 32)
    source = torch.full((32, 32, 32), 0.5), torch.zeros(32, 32, 32)
    assert carved(target, source, generator(0)) is target  # it has no lesion
    source[1][10:18, 10:18, 10:18] = 1
    sizes = []
    for seed in range(20):
        image, mask = carved(target, source, generator(seed))
        assert bool((image[mask > 0] == 0.5).all())
        assert bool((mask <= source[1]).all())
        sizes.append(int((image > 0).sum()))
    assert min(sizes) < 8**3 < max(sizes)


def test_a_run_that_was_stopped_goes_on(monkeypatch):
    made = []

    def trained(arm, real, drawn, seed, *, steps):
        made.append((seed, real[0].name, arm))

    monkeypatch.setattr(downstream, "trained", trained)
    monkeypatch.setattr(downstream, "lesions_found", lambda network, case: case.mask.numpy() > 0)
    people = [case("a", 1.0), case("b", 2.0, seed=1)]
    drawn = {"a": people[:1], "b": people[1:]}
    rows = list(runs(people, drawn, 2, []))
    assert len(rows) == len(made) == 2 * 2 * len(ARMS)
    assert {row["dice"] for row in rows} == {1.0}
    assert all(row["left_out"] != name for row, (_, name, _) in zip(rows, made, strict=True))
    assert {r["drawn"] for r in rows if r["left_out"] == "a"} == {
        protocol(people, people[:1], 150)["drawn"]
    }
    assert len({(row["steps"], row["real"], row["drawn"]) for row in rows}) == 2
    assert list(runs(people, drawn, 2, rows)) == []
    assert len(list(runs(people, drawn, 3, rows[:-1]))) == 1 + 2 * len(ARMS)


def test_a_person_is_left_out_with_all_sessions(monkeypatch):
    trained_on = []
    monkeypatch.setattr(
        downstream,
        "trained",
        lambda arm, real, drawn, seed, *, steps: trained_on.append([c.name for c in real]),
    )
    shown = {"sub-1_ses-1": True, "sub-1_ses-2": False, "sub-2": True}  # found whole, or not
    monkeypatch.setattr(
        downstream,
        "lesions_found",
        lambda network, case: (case.mask.numpy() > 0) & shown[case.name],
    )
    real = [case(name, 1.0 + k, seed=k) for k, name in enumerate(shown)]
    told = list(runs(real, {"sub-1": real, "sub-2": real}, 1, []))
    assert [(row["left_out"], row["dice"]) for row in told[:: len(ARMS)]] == [
        ("sub-1", 0.5), ("sub-2", 1.0),
    ]  # fmt: skip
    assert trained_on[0] == ["sub-2"]
    assert trained_on[-1] == ["sub-1_ses-1", "sub-1_ses-2"]
    assert list(people_of(real)) == ["sub-1", "sub-2"]
    assert case("patient_07", 1.0).person == "patient_07"


def test_training_is_the_same_for_the_same_seed():
    real = [case("a", 1.0)]
    networks = [downstream.trained(PASTED, real, real, 5, steps=2) for _ in range(2)]
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other)
    found = downstream.lesions_found(networks[0], real[0])
    assert found.shape == (40, 36, 32)  # grown to the patch


def rows(gain):
    """Results of three seeds in which drawn data adds ``gain`` to each person."""
    shared = {"steps": 5, "seconds": 60.0}
    return [
        {"seed": s, "left_out": name, "arm": arm, "dice": 0.5 + 0.01 * s + gain * share, **shared}
        for s in range(3)
        for name in ("a", "b")
        for arm, share in ARMS.items()
    ]


def test_the_table_tells_gain_and_no_gain():
    assert "no gain" in verdict(rows(0.0))
    assert verdict(rows(0.1)).endswith("(Holm): 25 % drawn, 50 % drawn, 75 % drawn, drawn alone.")
    text = table(rows(0.1), 8)
    assert "2 people" in text
    assert "8 drawn heads" in text
    assert "about 1.0 minutes an arm" in text
    assert "Above 50 % drawn data" in text
    assert "| 50 % drawn | 0.560" in text
    assert differences(rows(0.1), "drawn alone", "a") == pytest.approx([0.1] * 3)
    mean, low, high = interval([0.1, 0.2, 0.3])
    assert (mean, low, high) == pytest.approx((0.2, -0.0484, 0.4484), abs=1e-3)
    assert overlap(np.zeros(3, bool), np.zeros(3, bool)) == 1


def test_a_single_seed_has_no_interval_and_tells_nothing():
    one = [row for row in rows(0.1) if row["seed"] == 0]
    assert verdict(one) == "No arm has two seeds of every person yet: nothing is told."
    text = table(one, 8)
    assert "nan" not in text
    assert "(one seed)" in text


def test_what_one_arm_shows_among_five_is_held_to_all_of_them():
    assert rejected({"a": 0.02, "b": 0.5, "c": 0.9}) == []  # alone it would pass
    assert rejected({"a": 0.5, "b": 0.01, "c": 0.02}) == ["b", "c"]
    assert rejected({"a": 0.03, "b": 0.01, "c": 0.04}) == ["b"]  # .03 is held to .025
    assert rejected({}) == []
    gains = [0.01, 0.03, 0.02, 0.04]
    told = [
        {"seed": s, "left_out": "a", "arm": arm, "dice": 0.5 + gain * (arm != "real")}
        for s, gain in enumerate(gains)
        for arm in ("real", PASTED)
    ]
    assert chance_of_none(told, PASTED) == pytest.approx(0.0152, abs=1e-4)
    assert chance_of_none(told, "25 % drawn") is None
    down = [{**row, "left_out": "b", "dice": 1 - row["dice"]} for row in told]
    assert chance_of_none(told + down, PASTED) == pytest.approx(0.9848, abs=1e-4)


def test_results_are_gone_on_from_only_by_the_same_protocol(tmp_path):
    out, wanted = tmp_path / "out.jsonl", {"a": {"steps": 5, "real": "r", "drawn": "d"}}
    assert read_rows(out, wanted) == []
    row = {"seed": 0, "left_out": "a", "arm": "real", **wanted["a"]}
    out.write_text(json.dumps(row) + "\n" + json.dumps(row)[:20])
    assert read_rows(out, wanted) == [row]
    assert out.read_text() == json.dumps(row) + "\n"  # the cut line is gone for good
    for change, words in [
        ({"steps": 150}, "steps 150 there, 5 now"), ({"real": "x"}, "digest of the people x"),
        ({"drawn": "y"}, "drawn heads y there, d now"),
        ({"left_out": "b"}, "b, who is not among a"),
    ]:  # fmt: skip
        out.write_text(json.dumps({**row, **change}) + "\n")
        with pytest.raises(Refusal, match=words):
            read_rows(out, wanted)
    out.write_text("half\n" + json.dumps(row) + "\n")
    with pytest.raises(Refusal, match=r"out.jsonl:1 is no result"):
        read_rows(out, wanted)


def test_heads_are_drawn_and_read_without_the_person_who_is_tested(tmp_path, monkeypatch):
    masks, drawn = tmp_path / "masks", tmp_path / "drawn"
    masks.mkdir()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-90.0, -126.0, -72.0)
    people = []
    for k, name in enumerate(("p1", "p2", "p3")):
        mask = np.zeros((91, 109, 91), np.float32)
        mask[30 + k : 40, 50:60, 45:50] = 1
        write_volume(Volume(torch.from_numpy(mask), affine), masks / f"{name}.nii.gz")
        people.append(Case.of(f"tested-{k}", torch.from_numpy(mask) + 1, torch.from_numpy(mask)))
    asked, made = MRIDatasetRequest(count=1, contrasts=("FLAIR",), formats=("bids",)), []

    def make_dataset(maker, out):
        made.append((out.name, len(maker.atlas.people), maker.atlas.digest))
        anat = out / "bids" / "sub-001" / "anat"
        lesions = out / "bids" / "derivatives" / "lamina" / "sub-001" / "anat"
        for folder in (anat, lesions, out / "volumes"):
            folder.mkdir(parents=True, exist_ok=True)
        image = Volume(torch.ones(8, 8, 8), np.eye(4))
        write_volume(image, anat / "sub-001_FLAIR.nii.gz", overwrite=True)
        mask = lesions / "sub-001_label-lesion_mask.nii.gz"
        write_volume(image, mask, overwrite=True)
        record = {"drawn_from": {"lesion_atlas": maker.atlas.digest}}
        (out / "volumes" / "sub-001.json").write_text(json.dumps(record))
        return Dataset(out, 1, ())

    monkeypatch.setattr(leave_out, "make_dataset", make_dataset)
    draw_without(people[:2], masks, drawn, asked)
    assert [(name, count) for name, count, _ in made] == [("tested-0", 2), ("tested-1", 2)]
    assert made[0][2] != made[1][2]
    found = drawn_for(people[:2], drawn)
    assert [case.name for case in found["tested-0"]] == ["sub-001"]
    other = drawn / "tested-0" / "volumes" / "sub-001.json"
    other.write_text(json.dumps({"drawn_from": {"lesion_atlas": made[1][2]}}))
    with pytest.raises(Refusal, match="whose lesions are in the heads must be known"):
        drawn_for(people[:2], drawn)
    swapped = [replace(people[1], name="tested-0"), people[1]]
    with pytest.raises(Refusal, match=r"tested-0: .* medical\.evaluation\.leave_out"):
        drawn_for(swapped, drawn)
    other.unlink()
    with pytest.raises(Refusal, match=r"sub-001\.json is not there"):
        drawn_for(people[:2], drawn)
    masks.joinpath("p3.nii.gz").unlink()
    with pytest.raises(
        Refusal, match="atlas-tested-0 was measured from 2 masks that are not the 1"
    ):
        draw_without(people[:1], masks, drawn, asked)


@pytest.mark.parametrize(
    ("named", "off", "left"),
    [("sub-1", 1, 1), ("sub-1_ses-2", 1, 1), ("sub-9", 0, 1), ("sub-10", 1, None)],
)
def test_a_person_is_left_out_by_name_and_by_voxels(tmp_path, monkeypatch, named, off, left):
    masks, taken = tmp_path / "masks", []
    masks.mkdir()
    mask = torch.zeros(91, 109, 91)
    mask[30:40, 50:60, 45:50] = 1
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-90.0, -126.0, -72.0)
    write_volume(Volume(mask.roll(off, 0), affine), masks / f"{named}.nii.gz")
    write_volume(Volume(mask.roll(5, 1), affine), masks / "p2.nii.gz")
    person = Case.of("sub-1_ses-1", mask + 1, mask)
    later = Case.of("sub-1_ses-2", mask.roll(9, 2) + 1, mask.roll(9, 2))
    request = MRIDatasetRequest(count=1, contrasts=("FLAIR",), formats=("bids",))

    def make_dataset(maker, out):
        taken.append(len(maker.atlas.people))
        return Dataset(out, 1, ())

    monkeypatch.setattr(leave_out, "make_dataset", make_dataset)
    if left is None:
        with pytest.raises(Refusal, match=r"sub-1: no mask in .*--no-mask sub-1 "):
            draw_without([person], masks, tmp_path / "drawn", request)
        draw_without([person], masks, tmp_path / "drawn", request, no_mask=["sub-1_ses-1"])
    else:
        draw_without([person, later], masks, tmp_path / "drawn", request)
        assert [p.name for p in (tmp_path / "drawn").iterdir()] == ["atlas-sub-1"]
    assert taken == [left or 2]


def test_heads_of_own_people_and_of_a_foreign_atlas_are_refused(tmp_path):
    request = MRIDatasetRequest(count=1, sources="somebody")
    with pytest.raises(Refusal, match="leave sources empty"):
        draw_without([], tmp_path, tmp_path, request)
    one = tmp_path / "sub-001"
    one.mkdir()
    for name in ("FLAIR", "lesions"):
        write_volume(Volume(torch.ones(8, 8, 8), np.eye(4)), one / f"{name}.nii.gz")
    tested = case("tested", 0.8)
    with pytest.raises(Refusal, match=r"sub-001\.json is not there"):
        drawn_for([tested], tmp_path)
    record_of(tmp_path, "0" * 64)
    with pytest.raises(Refusal, match="names the lesion atlas 000000000000, and"):
        drawn_for([tested], tmp_path)
    record_of(tmp_path, lesion_atlas().digest)
    assert [c.name for c in drawn_for([tested], tmp_path)["tested"]] == ["sub-001"]


def record_of(dataset, atlas, name="sub-001"):
    """A record beside heads that were drawn."""
    (dataset / "volumes").mkdir(exist_ok=True)
    path = dataset / "volumes" / f"{name}.json"
    path.write_text(json.dumps({"drawn_from": {"lesion_atlas": atlas}}))


def test_cases_are_read_from_both_kinds_of_folders(tmp_path, monkeypatch):
    with pytest.raises(Refusal, match="no FLAIR with lesion masks"):
        read_cases(tmp_path)
    image = Volume(torch.ones(8, 8, 8), np.eye(4))
    mask = Volume(torch.eye(8).expand(8, 8, 8).clone(), np.eye(4))
    (tmp_path / "p1").mkdir()
    write_volume(image, tmp_path / "p1" / "FLAIR.nii.gz")
    write_volume(mask, tmp_path / "p1" / "lesions.nii.gz")
    anat = tmp_path / "drawn" / "bids" / "sub-1" / "anat"
    masks = tmp_path / "drawn" / "bids" / "derivatives" / "lamina" / "sub-1" / "anat"
    for folder in (anat, masks):
        folder.mkdir(parents=True)
    write_volume(image, anat / "sub-1_FLAIR.nii.gz")
    write_volume(mask, masks / "sub-1_label-lesion_mask.nii.gz")
    record_of(tmp_path / "drawn", lesion_atlas().digest, "sub-1")
    assert [c.name for c in read_cases(tmp_path)] == ["p1"]
    drawn = read_cases(tmp_path / "drawn")
    assert [c.name for c in drawn] == ["sub-1"]
    assert drawn[0].image.shape == (32, 32, 32)
    words = ["downstream", str(tmp_path), str(tmp_path / "drawn"), str(tmp_path / "out.jsonl")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(Refusal, match="holds 1 person"):
        downstream.main()
    (tmp_path / "p2").mkdir()
    for name in ("FLAIR.nii.gz", "lesions.nii.gz"):
        (tmp_path / "p2" / name).write_bytes((tmp_path / "p1" / name).read_bytes())
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "1", "--steps", "1"])
    known = replace(
        lesion_atlas(), people=(digest_of_mask(read_cases(tmp_path)[0].mask.numpy() > 0),)
    )
    with monkeypatch.context() as change:
        change.setattr(leave_out, "lesion_atlas", lambda: known)
        with pytest.raises(Refusal, match="may have no part in what trains"):
            downstream.main()
    downstream.main()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(lines) == 2 * len(ARMS)
    assert json.loads(lines[0])["arm"] == "real"
    assert (tmp_path / "out.md").read_text().startswith("Protocol: ")
