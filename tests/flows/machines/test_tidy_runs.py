import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound

from core.storage.journal import append_line, now
from flows.batches.items import items_of
from flows.batches.ledger import Batch
from flows.batches.locks import coordinated
from flows.batches.start import plan_batch, start_batch
from flows.batches.successors import lost_batches, succeed
from flows.machines.hosts import MARK, RUN_ID, SERVER, Beat, beat, beats, jobs, mark
from flows.machines.janitor import Sighting, verdict
from flows.requests.batch_requests import BatchLimits, ClipBatchRequest
from flows.settings.settings import read_settings

LOST_S = 300.0
SERVER_URL = "http://nowhere.invalid/api"


def seen(**changes):
    facts = {"run": "a", "state": "s", "age_s": 1000.0, "worker": "gpu-far-0", "silence_s": 5.0}
    return Sighting(**(facts | changes))


def far(age_s=1.0, runs=(), worker="gpu-far-0"):
    return {worker: Beat("far", worker, frozenset(runs), age_s)}


@pytest.mark.parametrize(
    ("sighting", "said"),
    [
        (seen(age_s=10.0), far()),  # too young to judge
        (seen(), far(runs=["a"])),  # its host names it
        (seen(worker=""), far(runs=["a"])),  # some host names it
        (seen(), far(runs=["a"]) | far(age_s=900.0)),  # sent twice: the host's other worker knows
        (seen(silence_s=5.0), far(age_s=1000.0)),  # its host is silent, itself it is not
        (seen(silence_s=1000.0), far(age_s=100.0)),  # silent, but not for long enough
        (seen(age_s=100.0, silence_s=None), {}),  # nobody has ever heard of it; it is young
        (seen(silence_s=20.0, worker="kubernetes"), {}),  # no host of ours; its heart beats
    ],
)
def test_a_run_that_may_be_alive_is_left_alone(sighting, said):
    assert verdict(sighting, said, LOST_S) == ""


@pytest.mark.parametrize(
    ("sighting", "said", "reason"),
    [
        (seen(), far(runs=["b"]), "far is up, and this run has no process there"),
        (seen(), far(age_s=900.0) | far(worker="gpu-far-1"), "far is up"),
        (seen(silence_s=400.0), far(age_s=900.0), "Nothing was heard of this run and of far"),
        (seen(silence_s=None), {}, "and of gpu-far-0 for 1000 s"),
        (seen(silence_s=None, worker=""), {}, "the worker that took it"),
    ],
)
def test_a_dead_run_is_told_with_the_reason(sighting, said, reason):
    assert reason in verdict(sighting, said, LOST_S)


def test_what_a_host_says_is_read_back_with_its_age(tmp_path):
    beat(tmp_path, "gpu-here-0", {"b", "a"}, {"batch": 1})
    beat(tmp_path, "cpu-here-0", set(), {})
    os.utime(tmp_path / "cpu-here-0.json", (0, 0))
    (tmp_path / "torn.json").write_text("{")
    said = beats(tmp_path)
    assert said["gpu-here-0"].runs == {"a", "b"}
    assert said["gpu-here-0"].host == socket.gethostname()
    assert said["gpu-here-0"].lanes == {"batch": 1}
    assert said["gpu-here-0"].fresh
    assert not said["cpu-here-0"].fresh
    assert set(said) == {"gpu-here-0", "cpu-here-0"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "gpu-here-0.json",
        "cpu-here-0.json",
        "torn.json",
    }


def test_no_host_has_said_anything(tmp_path):
    assert beats(tmp_path / "missing") == {}


def sleeper(worker, run="run", server=SERVER_URL):
    """A process that looks like a flow run's, and has a child of its own."""
    nap = "import time; time.sleep(60)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {nap!r}])"
    return subprocess.Popen(
        [sys.executable, "-c", program, "prefect.engine"],
        env={**os.environ, MARK: worker, RUN_ID: run, SERVER: server},
    )


def both_there():
    return [job for job in jobs(SERVER_URL) if len(job.processes) == 2]


@pytest.mark.parametrize("orphaned", [True, False])
def test_a_run_is_known_with_all_its_processes_and_can_be_ended(orphaned):
    worker = "1:0.00" if orphaned else mark()
    with sleeper(worker) as process, sleeper(worker, server="http://other.invalid/api") as other:
        try:
            while not (found := both_there()):
                assert process.poll() is None
            (job,) = found
            assert (job.run, job.has_engine, job.orphaned) == ("run", True, orphaned)
            job.kill()
            process.wait(10)
            assert jobs(SERVER_URL) == []
            assert other.poll() is None, "a run of another server is none of ours"
        finally:
            for job in [*jobs(SERVER_URL), *jobs("http://other.invalid/api")]:
                job.kill()


NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
PROMPTS = {"prompts": "a red circle moves left\na blue square moves right", "model": "tiny-video"}
LIMITS = {"tries": 2, "retry_delay_s": 60.0, "reserve_gb": 0.0}


def coordinated_by(kind, name="Crashed", minutes_ago=1.0, tags=(), **more):
    """A run that coordinated the batch ``night``, as the server knows it."""
    state = State(type=kind, name=name, timestamp=NOW - timedelta(minutes=minutes_ago))
    facts = {"id": uuid4(), "name": "a-run", "run_count": 1, "auto_scheduled": False}
    facts |= {"state": state, "state_type": kind, "state_id": state.id, "tags": list(tags)}
    request = {"name": "night", "limits": LIMITS, **PROMPTS}
    return SimpleNamespace(**facts, parameters={"request": request}, **more)


def lost_among(*runs):
    def read_flow_runs(*, flow_filter, offset, **_):
        ours = flow_filter.name.any_ == ["generate_clips"] and not offset
        return list(runs) if ours else []

    return list(
        lost_batches(SimpleNamespace(read_flow_runs=read_flow_runs), NOW.timestamp()).values()
    )


@pytest.fixture
def night(places):
    """A batch under way."""
    request = ClipBatchRequest(name="night", limits=BatchLimits(**LIMITS), **PROMPTS)
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    return batch


@pytest.fixture
def asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "flows.batches.successors.run_deployment", lambda *_, **how: asked.append(how)
    )
    return asked


CRASHED, FAILED, CANCELLED = StateType.CRASHED, StateType.FAILED, StateType.CANCELLED


def test_a_batch_whose_coordinator_died_gets_one_successor_after_a_while(night, asked_for):
    run = coordinated_by(CRASHED)
    (lost,) = lost_among(coordinated_by(StateType.COMPLETED, "Completed", 90.0), run)
    assert "another one is started" in succeed(lost, NOW.timestamp())
    (how,) = asked_for
    assert how["idempotency_key"] == f"again/{run.id}/1"
    assert how["scheduled_time"] == NOW + timedelta(seconds=60)
    assert how["parameters"]["request"]["prompts"] == PROMPTS["prompts"]
    assert how["tags"] == ["again:1", "made:0"]


@pytest.mark.parametrize(
    "runs",
    [
        [coordinated_by(StateType.RUNNING, "Running")],
        [coordinated_by(CRASHED), coordinated_by(StateType.SCHEDULED, "Scheduled", 5.0)],
        [coordinated_by(StateType.COMPLETED, "Completed"), coordinated_by(CRASHED, minutes_ago=9)],
    ],
)
def test_who_lives_waits_or_is_done_has_no_successor(night, runs):
    assert lost_among(*runs) == []


def test_a_batch_that_was_refused_when_it_was_taken_up_is_stopped_with_the_reason(
    night, asked_for
):
    run = coordinated_by(FAILED, "Refused")
    run.state.message = "the disk is full: free some space."
    (lost,) = lost_among(coordinated_by(CRASHED, minutes_ago=9), run)
    succeed(lost, NOW.timestamp())
    assert (night.state(), asked_for) == ("stopped", [])
    assert night.read()["reason"] == "its run was refused: the disk is full: free some space."
    assert lost_among(run) == []


def test_a_refusal_of_another_request_of_that_name_changes_nothing(night):
    run, crashed = coordinated_by(FAILED, "Refused"), coordinated_by(CRASHED, minutes_ago=9)
    run.parameters["request"]["steps"] = 3
    assert lost_among(run) == []
    assert [lost.run for lost in lost_among(crashed, run)] == [crashed]


@pytest.mark.parametrize("state", ["paused", "cancelled", "stopped", "finished"])
def test_a_batch_that_somebody_ended_or_paused_has_no_successor(night, state):
    night.change(state=state)
    assert lost_among(coordinated_by(CRASHED)) == []


def test_a_batch_that_is_coordinated_elsewhere_has_no_successor(night):
    with coordinated(night):
        assert lost_among(coordinated_by(CRASHED)) == []
    assert lost_among(coordinated_by(CRASHED))


@pytest.mark.parametrize("content", ["{", "[]", '{"format_version": 99}'])
def test_a_batch_that_cannot_be_read_keeps_no_other_from_its_successor(night, caplog, content):
    broken = night.root.with_name("broken")
    broken.mkdir()
    (broken / "batch.json").write_text(content)
    unreadable = coordinated_by(CRASHED)
    unreadable.parameters["request"]["name"] = "broken"
    (lost,) = lost_among(unreadable, coordinated_by(CRASHED))
    assert lost.batch == night
    assert "broken" in caplog.text


def test_a_run_whose_deployment_is_gone_keeps_nobody_from_a_successor(night, monkeypatch):
    def gone(run):
        raise ObjectNotFound(ValueError("404"))

    monkeypatch.setattr("flows.batches.successors.night_of", gone)
    dated = coordinated_by(CRASHED)
    dated.parameters["request"]["name"] = "nightly-{date}"
    assert [lost.batch for lost in lost_among(dated, coordinated_by(CRASHED))] == [night]


def test_successors_end_with_the_tries_unless_something_was_made(night, asked_for):
    (lost,) = lost_among(coordinated_by(CRASHED, tags=["again:1", "made:0"]))
    succeed(lost, NOW.timestamp())
    (lost,) = lost_among(coordinated_by(CRASHED, tags=["again:2", "made:0"]))
    assert "its coordinator ended 3 times" in succeed(lost, NOW.timestamp())
    assert [how["tags"] for how in asked_for] == [["again:2", "made:0"]]
    assert (night.state(), "nothing was made" in night.read()["reason"]) == ("stopped", True)
    night.change(state="running")
    (item, _), *_ = night.items()
    line = {"item": item.address, "state": "made", "files": {}, "time": now(), "seconds": 1.0}
    append_line(night.shard_file(0), line)
    (lost,) = lost_among(coordinated_by(CRASHED, tags=["again:2", "made:0"]))
    succeed(lost, NOW.timestamp())
    assert asked_for[-1]["tags"] == ["again:1", "made:1"]


def test_a_batch_whose_run_was_cancelled_is_cancelled_also_if_nobody_could_say_so(
    night, asked_for
):
    (lost,) = lost_among(coordinated_by(CANCELLED, "Cancelled"))
    succeed(lost, NOW.timestamp())
    assert (night.state(), asked_for) == ("cancelled", [])


def test_a_coordinator_that_died_before_it_planned_has_a_successor_too(places, asked_for):
    (lost,) = lost_among(coordinated_by(CRASHED))
    succeed(lost, NOW.timestamp())
    assert asked_for[0]["flow_run_name"] == "night"
    assert lost_among(coordinated_by(CANCELLED, "Cancelled")) == []
