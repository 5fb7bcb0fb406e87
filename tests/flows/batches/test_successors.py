"""What becomes of a batch whose coordinator is killed and whom nobody helps."""

import json
from collections.abc import Callable
from urllib.request import Request, urlopen

import psutil
import pytest
from clips import SMALL, asked
from waiting import PATIENCE_S, until

from flows.batches.ledger import Batch, intact
from flows.machines.hosts import RUN_ID
from flows.settings.settings import read_settings
from flows.stack.api import Run, Server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PLACES = {"LAMINA_GPUS": "2"}


def batch_of(folder, name) -> Batch:
    settings = {"LAMINA_HOME": str(folder / "state"), "LAMINA_OUTPUTS": str(folder / "outputs")}
    return Batch.named(read_settings(settings), "default", name)


def engine_of(run: str) -> psutil.Process | None:
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_ID) == run and "prefect.engine" in process.cmdline():
                return process
        except psutil.Error:
            continue
    return None


def shard_runs(server: Server, name: str) -> list[str]:
    """The runs that make shards of a batch at this moment."""
    wanted = {
        "tags": {"all_": [f"batch:default/{name}"]},
        "state": {"type": {"any_": ["RUNNING"]}},
    }
    return [run["id"] for run in server._answer("/flow_runs/filter", {"flow_runs": wanted})]


def found(runs: Callable[[], list[str]]) -> tuple[str, psutil.Process]:
    """One of some runs and its engine, as soon as one of them has a process."""
    pairs: list[tuple[str, psutil.Process]] = []

    def look() -> bool:
        engines = ((run, engine_of(run)) for run in runs())
        pairs.extend((run, engine) for run, engine in engines if engine is not None)
        return bool(pairs)

    until(look, "a process")
    return pairs[0]


def coordinators(server: Server, name: str) -> list[dict]:
    wanted = {"flows": {"name": {"any_": ["generate_clips"]}}, "sort": "EXPECTED_START_TIME_ASC"}
    found = server._answer("/flow_runs/filter", wanted)
    return [run for run in found if run["parameters"]["request"]["name"] == name]


def all_once(batch: Batch, count: int) -> None:
    """Every item stands, and none was made twice."""
    assert all(intact(batch, item) for item, _ in batch.items())
    lines = [
        json.loads(line) for path in batch.shard_files() for line in path.read_text().splitlines()
    ]
    made = [line["item"] for line in lines if line["state"] == "made" and line["sample_s"]]
    assert len(made) == len(set(made)) == count


def over(server: Server, name: str) -> bool:
    return all(Run(x["id"], "", x["state_type"], "").ended for x in coordinators(server, name))


@pytest.fixture(scope="module", autouse=True)
def quick_janitor(running) -> None:
    """The janitor looks every few seconds and not every few minutes."""
    _, server = running
    janitor = server._answer("/deployments/name/tidy_runs/tidy_runs")
    address = f"{server.address}/api/deployments/{janitor['id']}/schedules"
    schedule = {
        "schedule": {"interval": 45.0},
        "active": True,
        "parameters": {"request": {"second_look_s": 1}},
    }
    request = Request(
        address,
        data=json.dumps([schedule]).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    urlopen(request).close()


def test_a_batch_whose_coordinator_is_killed_is_whole_and_nobody_touched_it(running):
    folder, server = running
    run = server.start("generate_clips", asked("alone", 24, shard_minutes=0.005))
    batch = batch_of(folder, "alone")
    until(lambda: batch.exists() and len(batch.outcomes()) >= 2, "the first items")
    engine = engine_of(run.id)
    assert engine is not None
    engine.kill()
    until(lambda: batch.state() == "finished", "the batch")
    until(lambda: over(server, "alone"), "its successor")
    first, second = coordinators(server, "alone")
    assert (first["id"], first["state_type"]) == (run.id, "CRASHED")
    assert (second["state_type"], second["name"]) == ("COMPLETED", "alone")
    assert {"again:1"} <= set(second["tags"])
    all_once(batch, 24)


def test_what_a_person_paused_cancelled_or_was_refused_stays_so(running):
    folder, server = running
    run = server.start("generate_clips", asked("paused", 48, shard_minutes=0.005))
    batch = batch_of(folder, "paused")
    until(lambda: batch.exists() and len(batch.outcomes()) >= 1, "the first item")
    assert batch.change(only_from=("running",), state="paused")
    engine = engine_of(run.id)
    assert engine is not None
    engine.kill()
    until(lambda: server.read(run).state == "CRASHED", "the books")
    refused = server.start("generate_clips", {"request": {"name": "refused", **SMALL}})
    until(lambda: server.read(refused).ended, "the refusal")
    looks = {"request": {"second_look_s": 1}}
    for _ in range(2):
        janitor = server.start("tidy_runs", looks)
        until(lambda: server.read(janitor).ended, "the janitor")  # noqa: B023
        assert server.read(janitor).state == "COMPLETED"
    assert [x["id"] for x in coordinators(server, "paused")] == [run.id]
    assert [x["id"] for x in coordinators(server, "refused")] == [refused.id]
    assert batch.state() == "paused"
    assert batch.change(only_from=("paused",), state="running")  # resumed: now it may go on
    until(lambda: batch.state() == "finished", "the rest")
    assert all(intact(batch, item) for item, _ in batch.items())


@pytest.mark.parametrize("who", ["shard", "worker", "coordinator"])
def test_whoever_is_asked_to_end_leaves_a_batch_that_is_finished_all_the_same(running, who):
    folder, server = running
    name = f"asked-{who}"
    run = server.start("generate_clips", asked(name, 24, shard_minutes=0.005))
    batch = batch_of(folder, name)
    until(lambda: batch.exists() and len(batch.outcomes()) >= 2, "the first items")
    asked_to_end, engine = found(
        lambda: [run.id] if who == "coordinator" else shard_runs(server, name)
    )
    process = engine.parent() if who == "worker" else engine
    stood = {address for address, said in batch.outcomes().items() if said["state"] == "made"}
    process.terminate()
    assert psutil.wait_procs([process, engine], timeout=PATIENCE_S)[1] == []
    until(lambda: batch.state() == "finished" and over(server, name), "the batch")
    all_once(batch, 24)
    assert stood <= set(batch.outcomes())
    until(lambda: server.read(Run(asked_to_end, "", "", "")).ended, "its books")
    assert server.read(Run(asked_to_end, "", "", "")).state in ("CRASHED", "COMPLETED")
    if who == "coordinator":
        assert [x["state_type"] for x in coordinators(server, name)] == ["CRASHED", "COMPLETED"]
    else:
        assert [x["state_type"] for x in coordinators(server, name)] == ["COMPLETED"]
    until(lambda: not shard_runs(server, name), "the shards")
    clip = server.start("text_to_video", {"request": {"prompt": "a red circle", **SMALL}})
    until(lambda: server.read(clip).ended, "a clip on a GPU that is free")
    assert server.read(clip).state == "COMPLETED"
