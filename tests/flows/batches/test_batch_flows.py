"""Batches on the real stack: a coordinator, shards on two workers, and a cancellation."""

from pathlib import Path

import psutil
import pytest
from clips import asked
from waiting import until

from core.storage.journal import read_lines
from flows.batches.ledger import Batch, intact
from flows.stack.api import Run, Server

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.survival]

PLACES = {"LAMINA_GPUS": "2"}


def batch_of(folder: Path, name: str) -> Batch:
    return Batch(folder / "outputs" / "default" / "batches" / name)


def ended(server: Server, run: Run) -> Run:
    until(lambda: server.read(run).ended, run.flow)
    return server.read(run)


def outcomes(batch: Batch) -> list[dict]:
    return [x for path in (batch.root / "shards").glob("*.jsonl") for x in read_lines(path)]


def shards(batch: Batch) -> list[psutil.Process]:
    """The processes that hold a shard's lock."""
    wanted = {str(path) for path in (batch.root / "shards").glob("*.lock")}
    found = []
    for process in psutil.process_iter():
        try:
            if wanted & {file.path for file in process.open_files()}:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def announced(server: Server, name: str) -> list[dict]:
    """The events for what a batch made, up to 50."""
    resource = {"id_prefix": [f"lamina://default/batches/{name}/"]}
    event = {"name": ["prefect.asset.materialization.succeeded"]}
    wanted = {"filter": {"resource": resource, "event": event}, "limit": 50}
    return server._answer("/events/filter", wanted)["events"]


def test_a_batch_whose_shard_is_killed_is_whole_in_the_morning(running):
    folder, server = running
    run = server.start("generate_clips", asked("killed", 24, shard_minutes=0.01))
    batch = batch_of(folder, "killed")
    until(lambda: batch.exists() and len(outcomes(batch)) >= 2, "the first items")
    for process in shards(batch)[:1]:
        process.kill()
    assert ended(server, run).state == "COMPLETED"
    assert batch.read()["state"] == "finished"
    lines = outcomes(batch)
    assert len(lines) == len({x["item"] for x in lines}) == 24
    assert all(intact(batch, item) for item, _ in batch.items())
    pages = server.artifacts(run, "markdown")
    assert any("data:image/webp;base64" in page["data"] for page in pages)
    assert all(len(page["data"]) < 200_000 for page in pages)
    assert all("](/gallery/p/default/batches/killed/)" in page["data"] for page in pages)
    tag = {"flow_runs": {"tags": {"all_": ["batch:default/killed"]}}}
    for shard in server._answer("/flow_runs/filter", tag):
        if shard["state_type"] == "COMPLETED":
            (link,) = server.artifacts(Run(shard["id"], "", "", ""), "markdown")
            assert "](/gallery/p/default/batches/killed/)" in link["data"]
    until(lambda: len(announced(server, "killed")) >= 24, "the news")
    told = {
        event["resource"]["prefect.resource.id"]: event for event in announced(server, "killed")
    }
    places = {f"lamina://default/batches/killed/{x['item']}/video": x for x in lines}
    assert told.keys() == places.keys()
    for place, event in told.items():
        assert event["payload"]["sha256"] == places[place]["files"]["video"]["sha256"]
        assert f"prefect.flow-run.{run.id}" in {x["prefect.resource.id"] for x in event["related"]}
    (batch.root / "announced.json").unlink()  # all is sent again, and the server knows it
    again = server.start("generate_clips", asked("killed", 24, shard_minutes=0.01))
    assert ended(server, again).state == "COMPLETED"
    assert (batch.root / "announced.json").exists()
    marker = server.start("generate_clips", asked("marker", 1))
    assert ended(server, marker).state == "COMPLETED"
    until(lambda: announced(server, "marker"), "what is sent after it")
    assert len(announced(server, "killed")) == 24


def test_a_cancelled_batch_frees_its_workers_and_keeps_what_is_made(running):
    folder, server = running
    run = server.start("generate_clips", asked("cancelled", 39, shard_minutes=0.01))
    batch = batch_of(folder, "cancelled")
    until(lambda: batch.exists() and len(outcomes(batch)) >= 2, "the first items")
    state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    server._answer(f"/flow_runs/{run.id}/set_state", state)
    assert ended(server, run).state == "CANCELLED"
    until(lambda: batch.read()["state"] == "cancelled" and not shards(batch), "the shards")
    made = [x["item"] for x in outcomes(batch)]
    assert 2 <= len(made) == len(set(made))
    again = server.start("generate_clips", asked("cancelled", 39, shard_minutes=0.01))
    assert ended(server, again).state == "COMPLETED"
    assert sorted(x["item"] for x in outcomes(batch)) == sorted(
        item.address for item, _ in batch.items()
    )
