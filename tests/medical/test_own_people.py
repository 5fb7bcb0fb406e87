"""A dataset drawn from people that the user brings: mapped, pooled by hash, refused in time."""

import json
import shutil

import numpy as np
import pytest
import torch
from heads import fractions

from core.refusal import Refusal
from medical.anatomy.pool import CANONICAL, person_hash
from medical.datasets import own_people
from medical.datasets.again import ground_of
from medical.datasets.making import Maker, claim
from medical.datasets.own_people import own_heads
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.standing import standing_head
from medical.datasets.withdrawal import traces
from medical.files.nifti import write_volume
from medical.files.synthetic import marked_synthetic
from medical.files.volume import FileHeader, Volume

COUNT = 7


def folder_of(root, count, *, ages=True, description=None):
    """A BIDS folder of balls with rough surfaces."""
    random, rows = np.random.default_rng(3), ["participant_id\tage\tgender"]
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = CANONICAL.corner
    for k in range(count):
        shares = fractions(
            CANONICAL, 1 + 0.02 * random.standard_normal(), random.normal(0, 0.02, 4)
        )
        image = np.tensordot([300.0, 650.0, 1000.0], shares, 1)
        image = (image + random.normal(0, 20, image.shape)) * (image > 0)
        path = root / f"sub-{k:02d}" / "anat" / f"sub-{k:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        data = torch.from_numpy(image.clip(0).astype(np.float32))
        volume = Volume(data, affine, FileHeader(dtype="int16"))
        write_volume(volume, path, description=description)
        rows.append(f"sub-{k:02d}\t{20 + 3 * k if ages else 'n/a'}\t{'fm'[k % 2]}")
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("own") / "mine", COUNT)


def asked(sources, **fields):
    return MRIDatasetRequest(
        name="own",
        count=1,
        spacing_mm=(2, 2, 2),
        contrasts=("T1w",),
        sources=str(sources),
        **fields,
    )


@pytest.mark.slow
def test_people_are_pooled_by_hash_and_a_quarter_is_kept(people):
    maker = Maker.of(asked(people, accept_linkage=True))
    hashes = {maker.heads.key.hash_of(f"sub-{k:02d}") for k in range(COUNT)}
    assert not hashes & {person_hash("mine", f"sub-{k:02d}") for k in range(COUNT)}
    assert {person.hash for person in maker.heads.people} == hashes
    assert {(p.age, p.sex) for p in maker.heads.people} == {
        (20 + 3 * k, "fm"[k % 2]) for k in range(COUNT)
    }
    drawn_from = {person.hash for pool in maker.plan.pools for person in pool}
    assert len(drawn_from) == 6
    assert any("of your own" in words and "accepted" in " ".join(maker.plan.said)
               for words in maker.plan.said)  # fmt: skip
    assert "mine" not in maker.heads.words
    pool = maker.heads._pool
    shipped = own_people.find_pool()
    assert pool.wide[:, 2].mean() == pytest.approx(shipped.wide[:, 2].mean(), rel=0.4)
    assert len({pool.wide[k].tobytes() for k in range(COUNT)}) == COUNT
    assert maker.heads.digest != shipped.digest


def test_people_who_may_be_recognized_must_be_accepted_before_any_is_mapped(people, monkeypatch):
    monkeypatch.setattr(own_people, "mapped", None)
    with pytest.raises(Refusal, match=r"of your own.*accept_linkage=true"):
        Maker.of(asked(people))


def test_two_people_are_refused(tmp_path):
    folder_of(tmp_path / "two", 2)
    with pytest.raises(Refusal, match="heads of 2 people: a dataset is drawn from 7 or more"):
        Maker.of(asked(tmp_path / "two", accept_linkage=True))
    shutil.copy(tmp_path / "two/sub-00/anat/sub-00_T1w.nii.gz", tmp_path / "two/stray_T1w.mgz")
    with pytest.raises(Refusal, match=r"heads of 2 people \(stray_T1w\.mgz: it is") as caught:
        own_heads(str(tmp_path / "two"))
    assert "heads of 2 people (1 file: it is no NIfTI" in caught.value.unnamed


def test_people_of_no_age_and_drawn_heads_are_refused(tmp_path):
    folder_of(tmp_path / "ageless", 7, ages=False)
    words = r"does not tell age and sex of 7 people \(sub-00, sub-01"
    with pytest.raises(Refusal, match=words) as caught:
        Maker.of(asked(tmp_path / "ageless", accept_linkage=True))
    assert "does not tell age and sex of 7 people: anatomies" in caught.value.unnamed
    folder_of(tmp_path / "drawn", 7, description="Synthetic (Lamina). Not a person.")
    with pytest.raises(Refusal, match="says that it is synthetic"):
        Maker.of(asked(tmp_path / "drawn", accept_linkage=True))


def test_a_head_with_its_skull_is_refused(tmp_path):
    folder = folder_of(tmp_path / "faces", 7)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-110, -140, -110)
    x, y, z = np.indices((110, 130, 110)) * 2.0 + affine[:3, 3].reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 95) ** 2 + (y / 115) ** 2 + (z / 95) ** 2)
    image = np.select([radius < 0.6, radius < 0.8, radius < 1], [1000.0, 650.0, 400.0], 0.0)
    image += np.random.default_rng(0).normal(0, 15, image.shape) * (image > 0)
    data = torch.from_numpy(image.clip(0).astype(np.float32))
    write_volume(
        Volume(data, affine), folder / "sub-00" / "anat" / "sub-00_T1w.nii.gz", overwrite=True
    )
    with pytest.raises(Refusal, match=r"sub-00: the brain would .* without their skull") as caught:
        Maker.of(asked(folder, accept_linkage=True))
    who = own_heads(str(folder)).key.hash_of("sub-00")
    assert f"{who}: the brain would have" in caught.value.unnamed
    assert "sub-" not in caught.value.unnamed


def test_a_damaged_head_is_named_to_its_owner_alone(tmp_path):
    folder = folder_of(tmp_path / "mine", 7)
    (folder / "sub-03" / "anat" / "sub-03_T1w.nii.gz").write_bytes(b"cut short")
    with pytest.raises(Refusal, match="sub-03_T1w") as caught:
        own_heads(str(folder))
    assert "(a person)" in caught.value.unnamed
    assert "sub-" not in caught.value.unnamed


@pytest.mark.slow
def test_a_head_of_own_people_is_drawn(people, tmp_path):
    from medical.datasets.making import make_dataset

    made = make_dataset(Maker.of(asked(people, accept_linkage=True)), tmp_path / "out")
    assert made.made + len(made.missing) == 1


@pytest.fixture
def quick(people, monkeypatch):
    """A plan of people who are not mapped."""
    monkeypatch.setattr(own_people.OwnHeads, "map_people", lambda self: None)
    return people


def drawn_into(out, sources):
    """A dataset of ``sources`` as its first head leaves it."""
    made = Maker.of(asked(sources, accept_linkage=True))
    claim(made, out)
    (out / "volumes").mkdir()
    hashes = {person.hash: 0.1 for pool in made.plan.pools for person in pool}
    record = {
        "subject": "sub-001",
        "attempt": 1,
        "seed": 7,
        "contributors": {"anatomy": hashes, "lesions": {}},
        "files": {},
    }
    (out / "volumes" / "sub-001.json").write_text(json.dumps(record))
    return made


def contributor(made):
    """The name of somebody who contributed."""
    behind = {person.hash for pool in made.plan.pools for person in pool}
    names = [f"sub-{k:02d}" for k in range(COUNT)]
    return next(name for name in names if made.heads.key.hash_of(name) in behind)


@pytest.mark.parametrize("how", ["plain", "address", "link", "here"])
def test_a_person_of_your_own_who_withdraws_is_found(quick, tmp_path, monkeypatch, how):
    sources = tmp_path / "clinic"
    shutil.copytree(quick, sources)
    if how == "address":
        said = {"Name": "x", "DatasetDOI": "doi:10.18112/openneuro.ds004199.v1.0.0"}
        (sources / "dataset_description.json").write_text(json.dumps(said))
    if how == "link":
        (tmp_path / "linked").symlink_to(sources)
    monkeypatch.chdir(sources)
    named = {"link": tmp_path / "linked", "here": "."}.get(how, sources)
    made = drawn_into(tmp_path / "all" / "out", named)
    shutil.rmtree(sources / "sub-00")  # what changes later hides nobody
    name, place = contributor(made), tmp_path / "all" / "out" / "volumes" / "sub-001.json"
    words = [name, f"clinic:{name}", *([f"ds004199:{name}"] if how == "address" else [])]
    for word in words:
        assert traces(word, [tmp_path / "all"]).volumes == (place,), word
    assert traces(f"ds000001:{name}", [tmp_path / "all"]).volumes == ()
    assert traces("sub-99", [tmp_path / "all"]).volumes == ()


def test_a_dataset_that_travels_without_its_key_names_nobody_and_no_folder(quick, tmp_path):
    made = drawn_into(tmp_path / "out", quick)
    texts = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    assert str(quick) not in texts
    assert "mine" not in texts
    for k in range(COUNT):
        assert person_hash("mine", f"sub-{k:02d}") not in texts
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "out", tmp_path / "moved" / "out")
    found = traces(contributor(made), [tmp_path / "moved"])
    assert found.keyless == (tmp_path / "moved" / "out",)
    other = asked(quick, accept_linkage=True, seed=5)
    with pytest.raises(Refusal, match="another request"):
        Maker.of(other, tmp_path / "moved" / "out")


def test_a_head_is_drawn_again_only_from_the_people_of_then(quick, tmp_path):
    sources, out = tmp_path / "clinic", tmp_path / "out"
    shutil.copytree(quick, sources)
    shutil.copytree(sources / "sub-00", sources / "sub-07")
    (sources / "sub-07/anat/sub-00_T1w.nii.gz").rename(sources / "sub-07/anat/sub-07_T1w.nii.gz")
    with (sources / "participants.tsv").open("a") as table:
        table.write("sub-07\t41\tf\n")
    made = drawn_into(out, sources)
    head = standing_head(out / "volumes" / "sub-001.json")
    assert head is not None
    assert ground_of(head).plan.key == made.plan.key
    moved = sources.rename(tmp_path / "moved")
    with pytest.raises(Refusal, match=r"is not there: .* name their folder with --inputs"):
        ground_of(head)
    assert ground_of(head, moved).plan.key == made.plan.key
    person = contributor(made)
    shutil.move(moved / person, tmp_path / person)
    with pytest.raises(Refusal, match=r"1 of 6 people behind sub-001 are not in .* any more"):
        ground_of(head, moved)
    shutil.move(tmp_path / person, moved / person)
    table = moved / "participants.tsv"
    table.write_text(table.read_text().replace("\t41\t", "\t42\t"))
    with pytest.raises(Refusal, match=r"the scans, ages or sexes in .* are not those of then"):
        ground_of(head, moved)
    (tmp_path / ".out.people.json").unlink()
    with pytest.raises(Refusal, match="the key that says where they stand is not beside it"):
        ground_of(head)


@pytest.mark.parametrize(
    ("said", "stated"),
    [
        ('{"License": "CC BY 4.0"}', "CC BY 4.0"),
        ("{}", ""),
        ('{"License": null}', ""),
        ("[1]", ""),
        ("{", ""),
        ("", ""),
    ],
)
def test_the_license_of_own_people_is_that_of_their_source(quick, tmp_path, said, stated):
    shutil.copytree(quick, tmp_path / "mine")
    (tmp_path / "mine" / "dataset_description.json").write_text(said)
    heads = own_heads(str(tmp_path / "mine"))
    assert heads.license == stated
    assert heads.key.study == "mine"


@pytest.mark.parametrize(("age", "good"), [("31", True), ("-999", False), ("0", False)])
def test_tables_in_latin_letters_are_read_and_codes_are_no_ages(tmp_path, age, good):
    table = f"participant_id\tage\tsex\tname\nsub-01\t{age}\tf\tM\xfcller\n"
    (tmp_path / "participants.tsv").write_bytes(table.encode("latin-1"))
    if good:
        told = own_people._participants(tmp_path, {"sub-01": tmp_path})
        assert told == {"sub-01": (31.0, "f")}
    else:
        with pytest.raises(Refusal, match="does not tell age and sex of 1 person"):
            own_people._participants(tmp_path, {"sub-01": tmp_path})
    scan = tmp_path / "sub-01_T1w.nii"
    write_volume(Volume(torch.ones(4, 4, 4), np.eye(4)), scan)
    assert marked_synthetic(scan) == ""


def test_ages_are_read_from_tables_saved_as_csv(tmp_path):
    table = 'participant_id,notes,age,sex\nsub-01,"tall, thin",31,f\n'
    (tmp_path / "participants.tsv").write_text(table)
    told = own_people._participants(tmp_path, {"sub-01": tmp_path})
    assert told == {"sub-01": (31.0, "f")}


def test_what_is_not_taken_of_a_person_is_said(people, tmp_path, caplog):
    shutil.copytree(people, tmp_path / "more")
    head = sorted((tmp_path / "more").glob("sub-*/anat/*_T1w.nii.gz"))[0]
    name = head.name.partition("_")[0]
    session = tmp_path / "more" / name / "ses-2" / "anat"
    session.mkdir(parents=True)
    shutil.copy(head, session / f"{name}_ses-2_T1w.nii.gz")
    (tmp_path / "more/derivatives").mkdir()
    table = tmp_path / "more/participants.tsv"
    table.write_text(table.read_text(), encoding="utf-16")
    elsewhere = tmp_path / "more" / "sub-01" / "ses-3" / "anat"
    elsewhere.mkdir(parents=True)
    shutil.copy(head, elsewhere / head.name)
    said = own_heads(str(tmp_path / "more")).left_out
    assert f"{name}_ses-2_T1w.nii.gz: one head of each person is taken" in said
    assert "derivatives: no part of the raw dataset" in said
    assert "is named as the head taken from" in said
    assert "1 file: one head of each person is taken" in caplog.text
    assert "1 file: no part of the raw dataset" in caplog.text
    assert "it is named as the head taken from another folder" in caplog.text
    assert "sub-" not in caplog.text  # logs name neither people
    assert "more" not in caplog.text  # nor their folder
