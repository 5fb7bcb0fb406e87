"""A person's word on a dataset: said everywhere, kept, and what silence means."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from core.refusal import Refusal
from medical.datasets.approval import Answer, ask, expire, status, waiting
from medical.datasets.decisions import approve, expire_questions, say_audit
from medical.datasets.making import make_dataset
from tests.medical.test_datasets import BallHeads, contents, maker
from tests.medical.test_likeness import FACTS


@pytest.fixture(scope="module")
def heads():
    return BallHeads()


@pytest.fixture(scope="module")
def drawn(heads, tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "pilot"
    make_dataset(maker(heads, count=1), out)
    return out


@pytest.fixture
def pilot(drawn, tmp_path):
    """A dataset of one head among the outputs below ``tmp_path``."""
    return shutil.copytree(drawn, tmp_path / "default" / "augment_mri_dataset" / "pilot")


def long_ago():
    return datetime.now(UTC) - timedelta(hours=2)


def test_a_person_decides_and_everything_says_so(heads, tmp_path):
    out = tmp_path / "default" / "augment_mri_dataset" / "pilot"
    with pytest.raises(Refusal, match=r"holds no dataset\.json"):
        approve(out, Answer("accept", "Ann"))
    make_dataset(maker(heads, count=1), out)
    ask(out, hours=1.0)
    assert expire_questions(tmp_path) == []
    said = approve(out, Answer("accept", "Ann", "looks right"))
    assert (said["decision"], said["by"]) == ("accept", "Ann")
    assert json.loads((out / "dataset.json").read_text())["approval"] == "approved"
    for place in ("report.html", "bids/README", "nnunet/Dataset501_pilot/dataset.json"):
        assert "approved" in (out / place).read_text()
        assert "unapproved" not in (out / place).read_text(), place
    before = contents(out)
    make_dataset(maker(heads, count=1), out)
    assert contents(out) == before


def test_the_report_of_an_audited_dataset_says_what_was_found(heads, pilot):
    assert "Not audited" in (pilot / "report.html").read_text()
    assert say_audit(pilot, FACTS)
    text = (pilot / "report.html").read_text()
    assert "1 of 2 heads show a person" in text
    assert "audit: not passed" in text
    assert json.loads((pilot / "dataset.json").read_text())["audit"] == "not passed"
    before = contents(pilot)
    make_dataset(maker(heads, count=1), pilot)
    assert contents(pilot) == before
    assert not say_audit(pilot / "bids", FACTS)


def test_lesions_are_shown_before_and_after(pilot):
    assert list((pilot / "subjects").glob("*_before-lesions.jpg"))
    assert "before lesions" in (pilot / "report.html").read_text()


def test_silence_is_a_rejection(heads, tmp_path):
    out = tmp_path / "default" / "augment_mri_dataset" / "pilot"
    make_dataset(maker(heads, count=1), out)
    ask(out, hours=1.0, now=datetime.now(UTC) - timedelta(hours=2))
    assert expire_questions(tmp_path) == [out]
    said = json.loads((out / "approval.json").read_text())
    assert (said["decision"], said["by"]) == ("reject", "nobody")
    assert status(out) == "rejected"
    assert "rejected" in (out / "report.html").read_text()
    assert expire_questions(tmp_path) == []


def test_an_earlier_decision_is_kept_and_the_same_answer_is_one(pilot):
    ask(pilot, hours=1.0, now=long_ago())
    said = approve(pilot, Answer("accept", "Ann"))
    assert [(e["decision"], e["by"]) for e in said["earlier"]] == [("reject", "nobody")]
    assert approve(pilot, Answer("accept", "Ann")) == said
    said = approve(pilot, Answer("reject", "Bob"))
    assert [e["by"] for e in said["earlier"]] == ["nobody", "Ann"]
    assert not any("earlier" in e for e in said["earlier"])
    assert status(pilot) == "rejected"


def test_heads_that_changed_are_not_approved(pilot, tmp_path):
    ask(pilot, hours=1.0)
    approve(pilot, Answer("accept", "Ann"))
    assert list(waiting(tmp_path)) == []
    record = pilot / "volumes" / "sub-001.json"
    record.write_text(record.read_text().replace('"fold": 0', '"fold":  0'))
    assert status(pilot) == "unapproved"
    assert expire_questions(tmp_path) == []
    assert "unapproved" in (pilot / "report.html").read_text()


def test_a_decision_of_a_process_that_died_is_said_later(pilot, tmp_path):
    ask(pilot, hours=1.0, now=long_ago())
    assert expire(pilot)
    assert "rejected" not in (pilot / "report.html").read_text()
    assert list(waiting(tmp_path)) == [pilot]
    expire_questions(tmp_path)
    assert json.loads((pilot / "dataset.json").read_text())["approval"] == "rejected"
    assert "rejected" in (pilot / "report.html").read_text()
    assert list(waiting(tmp_path)) == []


def test_a_dataset_of_before_is_refused_whole_and_stops_no_other(pilot, tmp_path):
    older = shutil.copytree(pilot, pilot.with_name("older"))
    for one in (older, pilot):
        ask(one, hours=1.0, now=long_ago())
    path = older / "volumes" / "sub-001.json"
    record = json.loads(path.read_text())
    del record["quality"]
    path.write_text(json.dumps(record))
    before = contents(older)
    with pytest.raises(Refusal, match="of an earlier version, sub-001 lack quality"):
        approve(older, Answer("accept", "Ann"))
    told = []
    assert expire_questions(tmp_path, lambda out, fault: told.append((out, type(fault)))) == [
        pilot
    ]
    assert told == [(older, Refusal)]
    assert contents(older) == before


def test_a_decision_does_not_change_what_drew_the_dataset(pilot):
    path = pilot / "dataset.json"
    standing = json.loads(path.read_text())
    path.write_text(json.dumps({**standing, "version": "0.0.1"}))
    approve(pilot, Answer("accept", "Ann"))
    assert "drawn with Lamina 0.0.1 from" in (pilot / "report.html").read_text()
    about = json.loads((pilot / "bids" / "dataset_description.json").read_text())
    assert about["GeneratedBy"][0]["Version"] == "0.0.1"
