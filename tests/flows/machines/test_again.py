"""A single job whose worker ended is run again by itself, a few times at most."""

import os
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType

from flows.machines import again, sweeper
from flows.machines.hosts import beat
from flows.machines.sweeper import ENGINE_DIED, Sweeper, close

WORKER = "prefect.worker.name"
SIGNALED = "Execution was aborted by a termination signal."


class Server:
    """Runs of flows by name, and the states that they are given."""

    def __init__(self, run, flow):
        self.run, self.flow, self.given = run, flow, []

    def read_flow(self, flow):
        return SimpleNamespace(name=self.flow)

    def read_flow_run(self, run):
        return self.run

    def read_flow_runs(self, flow_filter, flow_run_filter, **_):
        self.since = flow_run_filter.end_time.after_
        return [self.run] if self.flow in flow_filter.name.any_ else []

    def set_flow_run_state(self, run, state, *, force):
        self.given.append((state.type, state.message))


def run_of(state=StateType.RUNNING, message="", **changes):
    told = {"id": uuid4(), "flow_id": uuid4(), "deployment_id": uuid4(), "run_count": 1}
    told |= {"labels": {WORKER: "gpu-here-0"}} | changes
    return SimpleNamespace(state=SimpleNamespace(type=state, message=message), **told)


@pytest.mark.parametrize(
    ("flow", "changes", "state"),
    [
        ("text_to_video", {}, StateType.SCHEDULED),
        ("super_resolve_mri", {"run_count": 2}, StateType.SCHEDULED),
        ("text_to_video", {"run_count": 3}, StateType.CRASHED),
        ("text_to_video", {"deployment_id": None}, StateType.CRASHED),
        ("text_to_video", {"state": StateType.CANCELLING}, StateType.CANCELLED),
        ("make_shard", {}, StateType.CRASHED),
        ("train_video", {}, StateType.CRASHED),
    ],
)
def test_what_died_with_its_worker_is_run_again_where_nobody_else_sees_to_it(flow, changes, state):
    server = Server(run_of(**changes), flow)
    close(server, server.run, ENGINE_DIED)
    ((given, said),) = server.given
    assert given == state
    assert (said == again.AGAIN) == (state == StateType.SCHEDULED)


@pytest.mark.parametrize(
    ("flow", "changes", "count"),
    [
        ("text_to_video", {}, 1),
        ("text_to_video", {"message": "exited with non-zero status code -15."}, 1),
        ("text_to_video", {"message": "exited with non-zero status code -9."}, 0),
        ("text_to_video", {"labels": {WORKER: "gpu-far-0"}}, 0),
        ("text_to_video", {"run_count": 3}, 0),
        ("make_shard", {}, 0),
    ],
)
def test_what_was_told_to_end_with_its_worker_is_taken_up_when_that_is_back(flow, changes, count):
    run = run_of(**{"state": StateType.CRASHED, "message": SIGNALED} | changes)
    server = Server(run, flow)
    again.take_up(server, "gpu-here-0", WORKER, datetime.now(UTC).timestamp())
    assert [state for state, _ in server.given] == [StateType.SCHEDULED] * count


@pytest.mark.parametrize(("heard_s", "least", "most"), [(600, 600, 700), (None, 172_700, 172_900)])
def test_what_a_person_ended_while_the_worker_lived_is_not_taken_up(
    tmp_path, monkeypatch, heard_s, least, most
):
    if heard_s is not None:
        beat(tmp_path, "gpu-here-0", set(), {})
        then = time.time() - heard_s
        os.utime(tmp_path / "gpu-here-0.json", (then, then))
    server = Server(run_of(state=StateType.CRASHED, message=SIGNALED), "text_to_video")
    place = SimpleNamespace(name="gpu-here-0", lanes={}, pool="gpu", visible=())
    now = datetime.now(UTC)
    monkeypatch.setattr(sweeper, "jobs", lambda _: [])
    monkeypatch.setattr(sweeper, "_read", lambda *_: [])
    monkeypatch.setattr(sweeper, "get_client", lambda **_: nullcontext(server))
    monkeypatch.setattr(sweeper, "count_places", lambda *_: None)
    monkeypatch.setattr(sweeper, "server_time", lambda _: now.timestamp())
    Sweeper(place, "here", (tmp_path, tmp_path / "locks"), set).look()
    assert least <= (now - server.since).total_seconds() <= most
    assert [state for state, _ in server.given] == [StateType.SCHEDULED]
