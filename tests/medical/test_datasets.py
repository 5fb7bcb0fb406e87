"""A dataset from its request: what stands where, the same bytes, resumed, refused in time."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from core.records import sha256_file
from core.refusal import Refusal
from medical.anatomy.head_model import SHIPPED
from medical.datasets import making
from medical.datasets.heads import Contributor, Head, TemplateHeads
from medical.datasets.making import Maker, make_dataset
from medical.datasets.people import PeopleHeads, shipped_heads
from medical.datasets.plan import (
    FEWEST_IN_POOL,
    _untold,
    eligible_people,
    make_plan,
    plain,
    split,
)
from medical.datasets.quality import faults as faults_of
from medical.datasets.quality import measured
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.strata import strata
from medical.datasets.telling import Told
from medical.datasets.volumes import draw_volume, judge
from medical.datasets.withdrawal import people_behind, traces
from medical.files.nifti import read_volume
from medical.files.nnunet import faults
from medical.lesions.atlas import lesion_atlas

ASKED = {
    "name": "pilot", "count": 3, "contrasts": ["T1w", "FLAIR"], "spacing_mm": [3, 3, 3],
    "lesions": {"load_ml": [5, 15], "count": [5, 12]}, "seed": 7,
}  # fmt: skip


class BallHeads:
    """Heads that take no time: a ball of white matter in gray in fluid, with two ventricles."""

    people, words, digest, seconds, card, around = (), "a ball", "ball", 0.0, "", 0
    render = TemplateHeads.render

    def draw(self, seed, spacing_mm, people):
        affine = np.diag([*spacing_mm, 1.0])
        shape = tuple(round(e / s) for e, s in zip((160, 190, 150), spacing_mm, strict=True))
        affine[:3, 3] = (-79.0, -113.0, -70.0)
        random = np.random.default_rng(seed)
        steps = np.array(spacing_mm).reshape(3, 1, 1, 1)
        x, y, z = np.indices(shape) * steps + affine[:3, 3].reshape(3, 1, 1, 1)
        size = random.uniform(0.9, 1.0)
        radius = np.sqrt((x / 68) ** 2 + ((y + 18) / 85) ** 2 + ((z - 8) / 62) ** 2) / size
        labels = np.select([radius < 0.77, radius < 0.95, radius < 1.0], [3, 2, 1], 0)
        inner = (np.abs(np.abs(x) - 14) < 6) & (np.abs(y + 18) < 30) & (np.abs(z - 16) < 8)
        labels[inner] = 1
        weights = {person.hash: 1 / len(people) for person in people}
        facts = {"seed": seed, "age": None, "sex": None}
        return Head(labels.astype(np.uint8), affine, weights, facts)


@pytest.fixture(scope="module")
def heads():
    return BallHeads()


def maker(heads, **changes):
    request = MRIDatasetRequest(**{**ASKED, **changes})
    return Maker(request, make_plan(request, heads, lesion_atlas()), heads, lesion_atlas())


@pytest.fixture(scope="module")
def dataset(heads, tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "out"
    assert make_dataset(maker(heads), out).missing == ()
    return out


def contents(folder):
    return {str(p.relative_to(folder)): sha256_file(p) for p in folder.rglob("*") if p.is_file()}


def test_everything_stands_where_it_is_looked_for(dataset):
    for subject in ("sub-001", "sub-002", "sub-003"):
        images = [read_volume(dataset / "bids" / subject / "anat" / f"{subject}_{c}.nii.gz")
                  for c in ("T1w", "FLAIR")]  # fmt: skip
        mask = read_volume(dataset / "bids" / "derivatives" / "lamina" / subject / "anat"
                           / f"{subject}_label-lesion_mask.nii.gz")  # fmt: skip
        assert set(np.unique(mask.data.numpy())) == {0.0, 1.0}
        for image in images:
            assert image.shape == mask.shape
            assert (image.affine == mask.affine).all()
            assert image.spacing_mm == pytest.approx((3.0, 3.0, 3.0))
        record = json.loads((dataset / "volumes" / f"{subject}.json").read_text())
        load = record["lesions"]["load_ml"]
        assert 5 <= load["asked"] <= 15
        assert float(mask.data.sum()) * 27 / 1000 == pytest.approx(load["asked"], rel=0.05)
    assert (dataset / "bids" / "participants.tsv").read_text().count("sub-") == 3
    assert "unapproved" in (dataset / "report.html").read_text()
    assert json.loads((dataset / "dataset.json").read_text())["approval"] == "unapproved"
    assert not (dataset / "quarantine").exists()


def bids_validator(folder):
    """What the real validator ends with, and says; it needs no network."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    if not program.exists():
        pytest.skip("the extra dev is not installed")
    ended = subprocess.run([program, folder], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_the_bids_validator_finds_no_error(dataset, tmp_path):
    code, words = bids_validator(dataset / "bids")
    assert (code, "[ERROR]" in words) == (0, False), words
    code, words = bids_validator(dataset / "bids" / "derivatives" / "lamina")
    assert (code, "[ERROR]" in words) == (0, False), words
    broken = shutil.copytree(dataset / "bids", tmp_path / "bids")
    anat = broken / "sub-001" / "anat"
    (anat / "sub-001_T1w.nii.gz").rename(anat / "sub-001_T1ish.nii.gz")
    code, words = bids_validator(broken)
    assert code != 0
    assert "[ERROR]" in words


def test_nnunet_finds_no_fault_and_no_fold_validates_on_what_it_saw(dataset):
    folder = dataset / "nnunet" / "Dataset501_pilot"
    assert faults(folder) == []
    records = [json.loads(p.read_text()) for p in sorted((dataset / "volumes").iterdir())]
    given = {
        r["subject"].replace("-", ""): {
            *r["contributors"]["anatomy"],
            *r["contributors"]["lesions"],
        }
        for r in records
    }
    splits = json.loads((folder / "splits_final.json").read_text())
    for fold in splits:
        assert sorted(fold["train"] + fold["val"]) == sorted(given)
        seen = set().union(*(given[case] for case in fold["train"]))
        assert not seen & set().union(*(given[case] for case in fold["val"]))


def test_a_fault_of_a_raw_dataset_is_found(dataset, tmp_path):
    folder = shutil.copytree(dataset / "nnunet" / "Dataset501_pilot", tmp_path / "set")
    next((folder / "imagesTr").iterdir()).unlink()
    assert faults(folder)


class LargeHeads(BallHeads):
    """Heads of people who are larger than the mean."""

    people = (Contributor("a", 30.0, "f"),) * 20

    def draw(self, seed, spacing_mm, people):
        head = super().draw(seed, spacing_mm, people)
        return replace(head, to_mni=np.diag([1 / 1.08, 1 / 1.06, 1 / 1.05, 1.0]))


def test_loads_are_met_in_the_millilitres_of_the_head_and_not_of_the_atlas(tmp_path):
    asked = maker(LargeHeads(), count=1, formats=["bids"])
    planned = asked.plan.volumes[0]
    drawn = draw_volume(asked.request, asked.plan, planned, 0, asked.heads, asked.atlas)
    assert planned.wish is not None
    assert drawn.mask.sum() * 27 / 1000 == pytest.approx(planned.wish.load_ml, rel=0.01)


def test_what_was_asked_and_delivered_is_told_by_strata(dataset):
    rows = json.loads((dataset / "dataset.json").read_text())["strata"]
    loads = [row for row in rows if row["kind"] == "load"]
    assert loads[0]["value"] == "5 to 7.5 ml"
    assert sum(row["delivered"] for row in loads) == 3
    regions = sum(row["delivered"] for row in rows if row["kind"] == "region")
    records = [json.loads(p.read_text()) for p in (dataset / "volumes").iterdir()]
    assert regions == sum(r["lesions"]["count"]["delivered"] for r in records)
    assert all(row["people"] > 0 for row in rows if row["delivered"])
    assert "5 to 7.5 ml" in (dataset / "report.html").read_text()


def test_the_same_request_changes_nothing_and_another_is_refused(heads, dataset):
    before = {p: p.stat().st_mtime_ns for p in dataset.rglob("*")}
    assert make_dataset(maker(heads), dataset).made == 3
    assert {p: p.stat().st_mtime_ns for p in dataset.rglob("*")} == before
    with pytest.raises(Refusal, match=r"another request \(seed, key differ\)"):
        make_dataset(maker(heads, seed=8), dataset)


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(heads, dataset, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def killed(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(maker(heads), out, lambda done, _: killed() if done == 2 else None)
    (out / "volumes" / "sub-002.json").unlink()  # killed before its record, between its files
    next((out / "bids" / "sub-002" / "anat").glob("*_T1w.nii.gz")).unlink()
    for place in ("bids/sub-002/anat/.part-1.nii.gz", "nnunet/Dataset501_pilot/imagesTr/.part-2"):
        (out / place).write_bytes(b"half of it")
    make_dataset(maker(heads), out)
    assert contents(out) == contents(dataset)


def test_what_does_not_pass_is_set_aside_and_drawn_again(heads, tmp_path, monkeypatch):
    judge = making.judge
    first = iter([["looks odd"]])
    monkeypatch.setattr(making, "judge", lambda *a: next(first, None) or judge(*a))
    out = tmp_path / "out"
    made = make_dataset(maker(heads, count=1, formats=["nnunet"]), out)
    assert (made.made, made.missing) == (1, ())
    (aside,) = (out / "quarantine").iterdir()
    assert json.loads((aside / "reasons.json").read_text())["reasons"] == ["looks odd"]
    assert not (out / "bids").exists()
    assert faults(out / "nnunet" / "Dataset501_pilot") == []


def test_a_dataset_for_which_nothing_passes_says_who_is_missing(heads, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "ATTEMPTS", 1)
    monkeypatch.setattr(making, "judge", lambda *_: ["never"])
    made = make_dataset(maker(heads, count=1, lesions={}), tmp_path / "out")
    assert made.missing == ("sub-001",)


class Smooth(BallHeads):
    """A head of people in which gray matter lacks, so that nothing can be held to real ones."""

    def __init__(self, contributors):
        self.contributors = contributors

    def draw(self, seed, spacing_mm, people):
        head = super().draw(seed, spacing_mm, people)
        labels = np.where(head.labels == 2, 3, head.labels).astype(np.uint8)
        return Head(labels, head.affine, self.contributors, head.facts)


def test_a_head_that_cannot_be_held_to_real_ones_is_set_aside_where_it_was_due():
    def told(contributors, **changes):
        asked = maker(Smooth(contributors), contrasts=["T1w"], lesions={}, **changes)
        planned = asked.plan.volumes[0]
        drawn = draw_volume(asked.request, asked.plan, planned, 0, asked.heads, asked.atlas)
        return drawn.facts["quality"]["likeness"], judge(drawn, planned)

    found, reasons = told({"a": 1.0}, spacing_mm=[1, 1, 1])
    assert found["judged"]
    assert any("nobody can tell how like real heads it is" in reason for reason in reasons)
    for contributors, changes in (({}, {"spacing_mm": [1, 1, 1]}), ({"a": 1.0}, {})):
        found, reasons = told(contributors, **changes)
        assert found is None  # class means, or another grid: not judged
        assert not any("real heads" in reason for reason in reasons)


def people(count, **changes):
    given = {"age": 30.0, "sex": "f", **changes}
    return [Contributor(f"{i:02d}", given["age"], given["sex"]) for i in range(count)]


class Asked(BallHeads):
    def __init__(self, people):
        self.people = people


def test_who_stands_behind_a_request_is_counted():
    request = MRIDatasetRequest(**ASKED, age=[20, 40], sex="f")
    assert len(eligible_people(request, Asked(people(40)))) == 30  # a quarter serves the audit
    for few in (people(2), people(40, age=50.0), people(40, sex="m")):
        with pytest.raises(Refusal, match="can stand behind women of 20 to 40 years"):
            eligible_people(request, Asked(few))


TOLD = {"age": 30.0, "sex": "f"}


class Aged(Asked):
    """Heads of the age and sex that they are asked to be of."""

    is_of: ClassVar = TOLD

    def draw(self, seed, spacing_mm, people):
        head = super().draw(seed, spacing_mm, people)
        return Head(head.labels, head.affine, head.contributors, {**head.facts, **self.is_of})


@pytest.mark.parametrize(
    ("is_of", "shown", "words"),
    [(TOLD, ("35", "f"), "ages are told of women of 30 to 39 alone"),
     ({"age": 44.0, "sex": "f"}, ("n/a", "f"), "not told"),
     ({"age": 30.0, "sex": "m"}, ("n/a", "m"), "not told")],
)  # fmt: skip
def test_ages_that_few_people_share_are_told_nowhere(tmp_path, monkeypatch, is_of, shown, words):
    given = [(30.0, "f")] * 20 + [(44.0, "f")] * 4 + [(30.0 + 10 * (i % 3), "m") for i in range(9)]
    heads = Aged([Contributor(f"{i:02d}", age, sex) for i, (age, sex) in enumerate(given)])
    heads.is_of = is_of
    out = tmp_path / "out"
    asked = maker(heads, count=1, formats=["bids"], lesions={})
    assert asked.plan.told[0].facts(is_of).get("withheld", []) == (
        [] if "n/a" not in shown else ["age"]
    )
    make_dataset(asked, out)
    row = (out / "bids" / "participants.tsv").read_text().splitlines()[1].split("\t")
    assert tuple(row[1:3]) == shown
    rows = {r["kind"]: r for r in json.loads((out / "dataset.json").read_text())["strata"]}
    assert words in json.dumps(rows) + " ".join(asked.plan.said)
    assert rows["sex"]["people"] == (18 if is_of["sex"] == "f" else 7)
    texts = [p.read_text() for p in out.rglob("*") if p.suffix in (".json", ".tsv", ".html")]
    assert not any(f'"age": {is_of["age"]:g}' in text for text in texts)
    if "n/a" in shown:
        assert rows["age"]["value"].startswith("others, of each fewer than 5")


def test_no_sex_is_told_where_one_is_of_few_people():
    given = [*people(20), *people(3, sex="m")]
    told = Told.of(given)
    kept = {"age": 35.0, "age_band": "30 to 39"}
    assert told.facts({"age": 30.0, "sex": "f"}) == {**kept, "sex": None, "withheld": ["sex"]}
    assert told.facts({"age": 60.0, "sex": "m"})["withheld"] == ["age", "sex"]
    assert told.facts({"age": None, "sex": None}) == {"age": None, "sex": None}
    assert "sex is not told, ages are told of people of 30 to 39 alone" in told.words
    assert Told.of(people(9)).words == Told.of([]).words == ""
    assert "ages are told of no head" in Told.of(people(3)).words


def test_ages_and_sexes_are_counted_in_the_pool_of_the_fold_that_a_head_is_drawn_from():
    given = [(33.3, "f")] * 40 + [(44.0, "f")] * 9 + [(30.0, "m")] * 6
    heads = Asked([Contributor(f"{i:02d}", age, sex) for i, (age, sex) in enumerate(given)])
    plan = maker(heads, lesions={}).plan
    assert len(plan.pools) > 1
    for pool, told in zip(plan.pools, plan.told, strict=True):
        forties = sum(person.age == 44.0 for person in pool)
        men = sum(person.sex == "m" for person in pool)
        assert 0 < forties < 5
        assert 0 < men < 5
        assert told.facts({"age": 44.0, "sex": "f"})["withheld"] == ["age", "sex"]
        assert told.facts({"age": 33.3, "sex": "f"})["age"] == 35.0
        assert told.alike("age", "40 to 49") == forties
    assert "sex is not told, ages are told of people of 30 to 39 alone" in plan.said[-1]
    told = replace(plan, pools=(plan.pools[0], ())).told
    of = {"anatomy": {"age": 35.0, "sex": None}, "fold": 0, "contributors": {}}
    row = strata(MRIDatasetRequest(name="two"), [of], told)[0]
    assert row["people"] == told[0].alike("age", "30 to 39") < len(plan.pools[0])


def test_where_folds_differ_each_says_what_is_not_told():
    pools = [people(9), [*people(9), *people(2, age=50.0)]]
    assert _untold(pools) == [f"fold 1: {Told.of(pools[1]).words}"]
    assert _untold([people(9), people(9)]) == []


def test_what_fewer_than_five_gave_is_withheld_from_the_table():
    def record(load, donors):
        return {
            "lesions": {"load_ml": {"asked": load}, "regions": {"deep": 2}},
            "anatomy": {"age": None, "sex": None},
            "contributors": {"anatomy": {}, "lesions": dict.fromkeys("abcdefgh"[:donors], 1)},
        }

    request = MRIDatasetRequest(**{**ASKED, "lesions": {"load_ml": [4, 8], "count": [1, 9]}})
    rows = strata(request, [record(4.5, 4), record(7.5, 5)], [Told.of([])])
    loads = [row["delivered"] for row in rows if row["kind"] == "load"]
    assert loads == [None, 0, 0, 1]
    assert [row["delivered"] for row in rows if row["kind"] == "region"] == [4]


def test_pools_share_nobody_and_hold_five_or_more():
    pools = split(people(27), 5, 5)
    assert sorted(p.hash for pool in pools for p in pool) == [f"{i:02d}" for i in range(27)]
    assert [len(pool) for pool in pools] == [6, 6, 5, 5, 5]
    assert len(split(people(9), 5, 5)) == 1


def test_more_heads_than_the_evidence_covers_must_be_accepted():
    heads = Asked(people(60))
    request = MRIDatasetRequest(**{**ASKED, "count": 60})
    with pytest.raises(Refusal, match="accept_linkage=true"):
        make_plan(request, heads, lesion_atlas())
    accepted = request.model_copy(update={"accept_linkage": True})
    assert "may recognize" in make_plan(accepted, heads, lesion_atlas()).said[0]
    few = request.model_copy(update={"count": 52})  # 45 people contribute: 40 of 34 were measured
    assert "3 %" in make_plan(few, heads, lesion_atlas()).said[0]
    with pytest.raises(Refusal, match=r"0\.69 .interval 0\.51 to 0\.85., behind 60"):
        make_plan(request.model_copy(update={"count": 53}), heads, lesion_atlas())


@pytest.mark.parametrize(("among", "few"), [(6, 5), (16, 12)])
def test_a_small_pool_says_what_was_measured_of_small_pools_and_must_be_accepted(among, few):
    heads = Asked(people(among))
    request = MRIDatasetRequest(**{**ASKED, "count": 1})
    assert len(eligible_people(request, heads)) == few
    with pytest.raises(Refusal, match=f"a pool of {few} people, fewer than 13"):
        make_plan(request, heads, lesion_atlas())
    accepted = request.model_copy(update={"accept_linkage": True})
    told = " ".join(make_plan(accepted, heads, lesion_atlas()).said)
    assert "pools of 7 people" in told
    assert "43 % (interval 32 to 55 %" in told
    assert "3 % (interval 2" not in told


def test_a_pool_of_thirteen_needs_no_word():
    request = MRIDatasetRequest(**{**ASKED, "count": 1})
    heads = Asked(people(17))
    assert len(eligible_people(request, heads)) == FEWEST_IN_POOL
    told = make_plan(request, heads, lesion_atlas()).said
    assert "3 % (interval 2 to 6 %" in told[0]
    assert "before they were painted" in told[0]
    assert "finished images and pools of other sizes were not measured" in told[0]
    assert "pools of 7" not in " ".join(told)


def test_a_site_changes_images_and_not_labels(heads, dataset, tmp_path):
    out = tmp_path / "out"
    make_dataset(maker(heads, count=1, site="varied"), out)
    record = json.loads((out / "volumes" / "sub-001.json").read_text())
    assert record["site"]["noise"] > 0
    image = read_volume(out / "bids" / "sub-001" / "anat" / "sub-001_T1w.nii.gz").data
    assert float(image.max()) < 3000


def test_sources_of_two_people_are_refused(heads, tmp_path):
    for name in ("sub-1", "sub-2"):
        (tmp_path / name / "anat").mkdir(parents=True)
        (tmp_path / name / "anat" / f"{name}_T1w.nii.gz").touch()
    with pytest.raises(Refusal, match="heads of 2 people"):
        maker(heads, sources=str(tmp_path))


def test_a_person_who_withdraws_is_found_and_nobody_else(dataset):
    record = json.loads((dataset / "volumes" / "sub-002.json").read_text())
    person = next(iter(record["contributors"]["lesions"]))
    found = traces(person, [dataset.parent])
    assert dataset / "volumes" / "sub-002.json" in found.volumes
    assert set(found.models) >= {"ms-lesions"}
    assert traces("ds002748:sub-01", [dataset.parent]).volumes == ()
    with pytest.raises(Refusal, match="such as ds002748:sub-01"):
        traces("not a name!", [dataset.parent])


def test_a_person_is_found_in_all_weights_that_ship(tmp_path):
    behind = people_behind()
    counts = {name: len(people) for name, people in behind.items()}
    assert counts == {"heads-1mm": 50, "heads-1mm-1": 50, "error-maps": 50, "real-heads": 15,
                      "ms-lesions": 29, "anomalies-flair": 27, "drawn-heads-1mm": 2}  # fmt: skip
    pool = {person.hash for person in shipped_heads().people}
    assert not pool & behind["real-heads"]  # who serves the gate contributes to no head
    assert behind["heads-1mm"] < pool | behind["real-heads"]  # the 60 heads, every sixth left out
    assert behind["anomalies-flair"] | behind["drawn-heads-1mm"] == behind["ms-lesions"]
    assert traces("ds002748:sub-04", [tmp_path]).models == (
        "error-maps",
        "heads-1mm",
        "heads-1mm-1",
        "real-heads",
    )
    assert traces("ds002748:sub-06", [tmp_path]).models == (SHIPPED,)
    (held,) = behind["ms-lesions"] - behind["anomalies-flair"] - {"e61254e06d04cedc"}
    assert traces(held, [tmp_path]).models == (SHIPPED, "ms-lesions")
    assert traces(held, [tmp_path]).silent == ()


def test_whoever_is_in_the_mean_alone_finds_the_volumes_that_were_drawn_around_it(tmp_path):
    given = shipped_heads()
    assert isinstance(given, PeopleHeads)
    assert given.around == 45
    plan = make_plan(MRIDatasetRequest(name="pilot", lesions=None), given, lesion_atlas())
    assert (plain(plan)["people"], plain(plan)["people_of_the_mean"]) == (34, 45)
    kept = {person.hash for pool in plan.pools for person in pool}
    serve = [person.hash for person in given.people if person.hash not in kept]
    assert len(serve) == 11

    def record(place, **facts):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        part = {"contributors": {"anatomy": {next(iter(kept)): 1.0}, "lesions": {}}}
        path.write_text(json.dumps(part | facts))
        return path

    ours = record("a/volumes/sub-001.json", drawn_from={"heads": given.digest})
    aside = record("a/quarantine/sub-002_attempt-1/reasons.json")
    record("b/volumes/sub-001.json", drawn_from={"heads": "of another model"})
    found = traces(serve[0], [tmp_path])
    assert found.volumes == ()
    assert found.around == (ours, aside)
    assert SHIPPED in found.models
    of_both = traces(next(iter(kept)), [tmp_path])
    assert set(of_both.volumes) >= {ours, aside}
    assert of_both.around == ()
    assert traces("0" * 12, [tmp_path]).around == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"lesions": {"load_ml": [15, 5]}}, "write 5,15"),
     ({"lesions": {"load_ml": [0, 5]}}, "begin above 0"),
     ({"contrasts": ["T1w", "T1w"]}, "name it once"),
     ({"age": [40, 20]}, "write 20,40")],
)  # fmt: skip
def test_a_request_that_means_nothing_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        MRIDatasetRequest(**{**ASKED, **changes})


def test_fields_may_be_absent_or_null():
    request = MRIDatasetRequest(name="a", lesions=None, age=None)
    assert request.lesions.healthy
    assert request == MRIDatasetRequest(name="a")


def test_a_head_is_measured_and_faults_are_named(dataset):
    record = json.loads((dataset / "volumes" / "sub-001.json").read_text())
    quality = record["quality"]
    assert faults_of(quality) == []
    assert quality["images"]["T1w"]["white"] == pytest.approx(1, abs=0.05)
    assert sum(quality["tissue_share"].values()) == pytest.approx(1, abs=0.001)
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[5:55, 5:55, 5:55] = 3
    labels[:8] = 2 * (labels[:8] > 0)
    noise = np.random.default_rng(0).normal(0, 30, labels.shape)
    image = (np.array([0, 300, 650, 1000])[labels] + noise * (labels > 0)).astype(np.float32)
    assert faults_of(measured({"T1w": image}, labels, np.eye(4), 1000.0)) == []
    seamed = image.copy()
    seamed[30:] += 120 * (labels[30:] > 0)
    for bad, words in [
        (seamed, "jump"), (image * 0.3, "white matter at"),
        (image + 40000 * (labels > 0), "clipped"),
        (np.where(labels > 0, 1000 + noise, 0).astype(np.float32), "gray differs"),
        (np.where(labels > 0, 1000 - 40.0 * (labels == 2), 0).astype(np.float32), "sharpness"),
    ]:  # fmt: skip
        told = faults_of(measured({"T1w": np.float32(bad)}, labels, np.eye(4), 1000.0))
        assert any(words in line for line in told), (words, told)
