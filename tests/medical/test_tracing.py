"""How far heads can be traced to people of the user's own: measured, kept, said, refused."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from heads import fractions
from test_own_people import asked, folder_of

from core.refusal import Refusal
from flows.jobs import dataset_plans
from medical.anatomy.drawn import likeliest
from medical.anatomy.pool import CANONICAL, DEEP, WIDE, Person, Pool, person_hash
from medical.audit.evidence import interval
from medical.audit.learned import membership_ways
from medical.audit.linkage import _told, keep
from medical.audit.seen import Seen, box_of, mapped, painted
from medical.audit.sources import maps_of
from medical.audit.tracing import beyond, told_of, trace
from medical.datasets import own_people, tracing
from medical.datasets.making import Maker, make_dataset
from medical.datasets.plan import plain
from medical.datasets.tracing import seconds_to_measure, settled
from medical.datasets.words import datasheet, short_license
from medical.files.nifti import read_volume

COUNT = 13


def found(hits=2, auc=0.6, named=20, heads=120, people=COUNT):
    """What measuring may find."""
    low, high = interval(hits, heads)
    told = {"auc": auc, "interval": [auc - 0.1, auc + 0.1], "sets": 6}
    share = {"hits": hits, "share": hits / heads, "interval": [low, high]}
    return {
        "heads": heads,
        "people": people,
        "guessing": round(1 / people, 4),
        "named": {"box, largest share": {**share, "hits": 0}, "bent, largest share": share},
        "membership": {"4": {"ridge": told}, "20": {"ridge": told}},
        "members": 10,
        "others": 3,
        "controls": {"bent label maps": {"made": 20, "named": named, "attack": "bent"}},
        "pools": [10],
    }


def test_bounds_hold_of_interval_area_controls_and_number():
    assert beyond(found(), 20) == []
    assert "upper end" in beyond(found(hits=20), 20)[0]
    assert "above 0.70" in beyond(found(auc=0.71), 3)[0]
    assert "of 20 bent label maps 18" in beyond(found(named=18), 4)[0]
    assert beyond(found(named=19), 4) == []
    assert "fewer than 120" in beyond(found(hits=0, heads=119), 4)[0]
    assert "behind 21 heads was not measured" in beyond(found(), 21)[0]
    assert told_of(found(), 5)["heads"] == 20


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("own") / "mine", COUNT)


@pytest.fixture
def traced(monkeypatch):
    """Stands in for measuring; what it finds can be set, and calls are counted."""
    told = {"found": found(), "calls": 0}

    def stand_in(everyone, pools, count, folder, on_head):
        told["calls"] += 1
        assert count == 120
        assert [len(pool) for pool in pools] in ([10], [8])
        on_head(1, 1)
        return dict(told["found"])

    monkeypatch.setattr(own_people.OwnHeads, "map_people", lambda self: None)
    monkeypatch.setattr(own_people.OwnHeads, "everyone", lambda self: (self._pool, ()))
    monkeypatch.setattr(tracing, "trace", stand_in)
    return told


def test_people_within_the_bounds_need_no_word_and_are_measured_once(people, traced, tmp_path):
    planned = Maker.of(asked(people), tmp_path / "out")
    assert planned.plan.pending
    assert "is measured before any image is drawn, with 120 anatomies" in planned.plan.said[0]
    assert seconds_to_measure(planned, tmp_path / "out", tmp_path / "kept") > 120
    made = settled(planned, tmp_path / "out", tmp_path / "kept")
    assert not made.plan.pending
    assert made.plan.key == planned.plan.key
    assert "derived from 10 people of your own: in 120 anatomies" in made.plan.said[0]
    assert "2 % (95 % interval 0 to 6 %; guessing 7.7 % of 13)" in made.plan.said[0]
    assert "area under the curve of 0.60 (interval 0.50 to 0.70" in made.plan.said[0]
    assert plain(made.plan)["linkage"]["named"] == found()["named"]
    assert seconds_to_measure(planned, tmp_path / "out", tmp_path / "kept") == 0
    again = settled(Maker.of(asked(people, seed=9)), None, tmp_path / "kept")
    assert again.plan.said[0] == made.plan.said[0]
    assert traced["calls"] == 1
    settled(Maker.of(asked(people, age=(20, 50))), None, tmp_path / "kept")
    assert traced["calls"] == 2  # other pools


def test_people_beyond_the_bounds_are_refused_with_the_figures_before_anything_is_made(
    people, traced, tmp_path
):
    traced["found"], out = found(hits=24, auc=0.8), tmp_path / "out"
    words = r"20 % \(95 % interval 14 to 28 %.*above 12\.7 %.*above 0\.70.*accept_linkage=true"
    with pytest.raises(Refusal, match=words):
        make_dataset(Maker.of(asked(people), out), out)
    assert not out.exists()
    traced["found"] = found(hits=24)
    with pytest.raises(Refusal, match=r"above 12\.7 %; bring more people, or write"):
        settled(Maker.of(asked(people)), out)  # fewer heads would not help
    traced["found"] = found(hits=24, auc=0.8)
    accepted = Maker.of(asked(people, accept_linkage=True), out)
    said = settled(accepted, out, tmp_path / "kept").plan.said[0]
    assert "20 % (95 % interval 14 to 28 %" in said
    assert "this was accepted. Whoever holds a scan may recognize its person." in said


def test_a_plan_says_what_was_measured_before_without_measuring(
    people, traced, tmp_path, monkeypatch
):
    monkeypatch.setattr(dataset_plans, "kept_linkage", lambda: tmp_path / "kept")
    request, out = asked(people), tmp_path / "out"
    maker, _ = dataset_plans.planned(request, out)
    assert maker.plan.pending
    settled(maker, None, tmp_path / "kept")
    monkeypatch.setattr(tracing, "trace", None)
    again, _ = dataset_plans.planned(request.model_copy(update={"seed": 9}), out)
    assert not again.plan.pending
    assert "area under the curve of 0.60" in again.plan.said[0]
    (figures,) = (tmp_path / "kept").glob("*.json")
    figures.write_text(json.dumps(found(hits=24)))
    with pytest.raises(Refusal, match=r"above 12\.7 %.*accept_linkage=true"):
        dataset_plans.planned(request, out)


@pytest.fixture
def drawing(traced, monkeypatch):
    """As ``traced``, and an anatomy is drawn; runs are held back until ``go`` is set."""
    stand_in, folders = tracing.trace, []
    traced["drew"], traced["go"] = threading.Event(), threading.Event()

    def draw(everyone, pools, count, folder, on_head):
        keep(folder / "anatomy-000.npz", labels=np.zeros(3))
        folders.append((folder, folder.stat().st_mode & 0o777))
        traced["drew"].set()
        assert traced["go"].wait(20)
        assert (folder / "anatomy-000.npz").is_file()
        return stand_in(everyone, pools, count, folder, on_head)

    monkeypatch.setattr(tracing, "trace", draw)
    traced["folders"] = folders
    return traced


def test_of_two_runs_with_the_same_people_one_measures_and_both_have_the_figures(
    people, drawing, tmp_path
):
    makers = [Maker.of(asked(people, seed=seed)) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(settled, makers[0], None, tmp_path)
        assert drawing["drew"].wait(20)
        second = threads.submit(settled, makers[1], None, tmp_path)
        time.sleep(0.3)
        assert not second.done()
        drawing["go"].set()
        said = {run.result(20).plan.said for run in (first, second)}
    assert len(said) == 1
    assert drawing["calls"] == 1
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_drawn_anatomies_are_their_owners_alone_and_swept_after_a_day(people, drawing, tmp_path):
    drawing["go"].set()
    old, new, used = (tmp_path / name for name in ("old", "new", "used"))
    for folder in (old, new, used):
        keep(folder / "anatomy-000.npz", labels=np.zeros(3))
    for folder in (old, used):
        os.utime(folder, (time.time() - 90_000, time.time() - 90_000))
    with tracing._held(used):
        made = settled(Maker.of(asked(people)), None, tmp_path)
    assert made.plan.traced
    folder = tmp_path / made.plan.traced["linkage"]
    assert drawing["folders"] == [(folder, 0o700)]
    assert [path.is_dir() for path in (old, new, used, folder)] == [False, True, True, False]


def test_an_anatomy_that_another_run_drew_meanwhile_is_no_fault(tmp_path):
    for _ in range(2):
        keep(tmp_path / "anatomy-000.npz", labels=np.zeros(3))


def test_what_a_finished_dataset_says_is_not_measured_again(people, traced, tmp_path):
    out = tmp_path / "out"
    made = settled(Maker.of(asked(people)), None)
    out.mkdir()
    (out / "dataset.json").write_text(json.dumps({"plan": plain(made.plan)}))
    again = settled(Maker.of(asked(people)), out)
    assert again.plan == made.plan
    assert traced["calls"] == 1


def test_nothing_is_measured_where_nobody_asks_and_it_must_be_accepted(people, traced):
    with pytest.raises(Refusal, match=r"not measured \(linkage_drawings=0\).*accept_linkage=true"):
        Maker.of(asked(people, linkage_drawings=0))
    maker = Maker.of(asked(people, linkage_drawings=0, accept_linkage=True))
    assert not maker.plan.pending
    assert traced["calls"] == 0
    with pytest.raises(ValueError, match="fewer than 20 anatomies say nothing"):
        asked(people, linkage_drawings=19)


def balls(count):
    """People as rough balls: a pool that folds nothing, and the same as attacks see them."""
    random = np.random.default_rng(5)
    seen = []
    for k in range(count):
        shares = fractions(CANONICAL, 1.0, random.normal(0, 0.04, 4))
        shares = shares + 0.25 * random.standard_normal(shares.shape) * (shares.sum(0) > 0.1)
        labels = likeliest(shares.clip(0, 1).astype(np.float32))
        seen.append(Seen(person_hash("x", f"{k}"), labels, box_of(painted(labels))))
    maps = [[np.rint(m.clip(0, 1) * 255).astype(np.uint8) for m in maps_of(each)] for each in seen]
    pool = Pool(
        tuple(Person(s.name, 30 + k, "fm"[k % 2], (1, 1, 1)) for k, s in enumerate(seen)),
        np.stack([m[0] for m in maps]),
        np.stack([m[1] for m in maps]),
        np.zeros(WIDE.shape, np.uint8),
    )
    assert pool.deep.shape[2:] == DEEP.shape
    return pool, seen


@pytest.mark.slow
def test_measuring_counts_anatomies_of_each_pool_and_goes_on(tmp_path):
    pool, seen = balls(12)
    names = [person.hash for person in pool.people]
    steps = []
    told = trace(
        (pool, seen), [names[:5], names[5:10]], 20, tmp_path, lambda *step: steps.append(step)
    )
    assert steps[-1] == (32, 32)
    assert (told["heads"], told["people"], told["members"], told["others"]) == (20, 12, 10, 2)
    assert told["pools"] == [5, 5]
    assert {name.partition(",")[0] for name in told["named"]} == {
        "box", "block", "hemisphere", "bent", "learned",
    }  # fmt: skip
    assert told["controls"]["bent label maps"]["named"] >= 6  # balls have few folds; by chance 1
    assert set(told["membership"]) == {"1", "2", "4", "5", "10", "20"}
    assert json.loads(json.dumps(told)) == told
    (tmp_path / "anatomy-007.npz").unlink()
    assert trace((pool, seen), [names[:5], names[5:10]], 20, tmp_path) == told


def test_reports_of_own_people_tell_their_own_figures_and_license(people, traced):
    made = settled(Maker.of(asked(people, lesions=None)), None)
    summary = {"plan": plain(made.plan), "approval": "unapproved", "license_of_people": "CC BY"}
    words = " ".join(answer for _, answer in datasheet(made.request, summary))
    assert "anatomies are mixtures, derived from 10 people of your own: in 120" in words
    assert "License of their data: CC BY." in words
    assert short_license(made.request, summary) == (
        "follows the data of the people behind it: CC BY"
    )
    assert short_license(made.request.model_copy(update={"sources": ""}), summary) == "CC0"


@pytest.mark.parametrize("turned", ["left", "around"])
def test_people_are_seen_upright_however_their_files_lie(people, turned):
    """Boxes are compared axis by axis with those of drawn heads, which are upright."""
    head = read_volume(next(people.glob("sub-03/anat/*_T1w.nii.gz")))
    affine = np.eye(4)
    affine[0] = [-1, 0, 0, head.data.shape[0] - 1]
    other = replace(head, data=head.data.flip(0), affine=head.affine @ affine)
    if turned == "around":
        affine = np.eye(4)[[1, 2, 0, 3]]
        other = replace(head, data=head.data.permute(1, 2, 0), affine=head.affine @ affine.T)
    assert np.allclose(other.affine_mm[:3, :3] != 0, affine[:3, :3].T != 0)
    straight = own_people._upright(mapped(head, "a")[0], head).box
    lying = own_people._upright(mapped(other, "a")[0], other).box
    assert np.corrcoef(straight.ravel(), lying.ravel())[0, 1] > 0.99
    assert np.corrcoef(straight.ravel(), mapped(other, "a")[0].box.ravel())[0, 1] < 0.98


def test_what_sets_tell_is_an_area_with_its_interval():
    random = np.random.default_rng(3)
    heads, people = random.standard_normal((2, 12, 8, 8, 8)).astype(np.float32)
    ways = membership_ways(heads[:4], people, np.ones((8, 8, 8), bool))
    members = np.arange(12) < 8
    for way in ways.values():
        told = _told([way, way], members, ~members)
        assert 0 <= told["interval"][0] <= told["auc"] <= told["interval"][1] <= 1
