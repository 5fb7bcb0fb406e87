"""Hosts whose clocks are ten minutes off: nothing that compares their times may notice."""

import os
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from prefect.client.schemas.objects import StateType

from core.storage.journal import append_line, now
from flows.batches.item import Item
from flows.batches.ledger import Batch
from flows.batches.start import reopen
from flows.machines import hosts as hosts_module
from flows.machines import sweeper as sweeper_module
from flows.machines.hosts import beat, beats
from flows.stack import server_clock as server_clock_module
from video.request import VideoRequest

OFF = [timedelta(minutes=10), timedelta(minutes=-10)]


def outcome(state, when, **more):
    return {"item": "0" * 16, "state": state, "time": when, "attempt": 1, "error": "", **more}


@pytest.fixture
def batch(tmp_path):
    (tmp_path / "shards").mkdir()
    return Batch(tmp_path)


@pytest.mark.parametrize("off", OFF)
def test_what_a_host_writes_comes_after_what_it_read(off):
    elsewhere = (datetime.now(UTC) + off).isoformat(timespec="milliseconds")
    assert now(elsewhere) > elsewhere
    assert abs(datetime.fromisoformat(now()) - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize("off", OFF)
def test_the_later_line_of_a_file_counts_whatever_the_hosts_clocks_said(batch, off):
    there = (datetime.now(UTC) + off).isoformat(timespec="milliseconds")
    append_line(batch.shard_file(0), outcome("failed", there))
    append_line(batch.shard_file(0), outcome("made", now()))
    assert batch.outcomes()["0" * 16]["state"] == "made"


def test_a_person_on_a_slow_clock_reopens_what_a_fast_host_refused(batch):
    fast = (datetime.now(UTC) + OFF[0]).isoformat(timespec="milliseconds")
    append_line(batch.shard_file(0), outcome("failed", fast, error="ValueError: no"))
    assert reopen(batch) == 1
    assert batch.outcomes()["0" * 16]["error"].startswith("asked again")
    append_line(batch.shard_file(1), outcome("made", now(batch.outcomes()["0" * 16]["time"])))
    assert batch.outcomes()["0" * 16]["state"] == "made"


def test_a_shard_on_a_slow_clock_follows_what_a_fast_host_wrote(batch, monkeypatch):
    from flows.batches import shard as shard_module

    fast = (datetime.now(UTC) + OFF[0]).isoformat(timespec="milliseconds")
    append_line(batch.shard_file(0), outcome("failed", fast, error="RuntimeError: cable"))
    item = Item("0" * 16, "p:1", VideoRequest(prompt="a red circle"))
    monkeypatch.setattr(Batch, "items", lambda self, shard=None: [(item, 3)])
    monkeypatch.setattr(
        Batch,
        "request",
        lambda self: SimpleNamespace(
            most_draws=1,
            limits=SimpleNamespace(least_steps=0),
        ),
    )
    asked = shard_module.ShardRequest(batch="night", shard=3)
    settings = SimpleNamespace(device="cpu", quotas={}, outputs=batch.root)
    shard = shard_module._Shard(settings, batch, asked, lambda done, total, note="": None)
    (job,) = shard.ledger.missing()
    shard.ledger.note(job, "made")
    assert batch.outcomes()["0" * 16]["state"] == "made"


@pytest.mark.parametrize("off", OFF)
def test_the_age_of_a_beat_is_told_by_the_folders_clock_alone(tmp_path, monkeypatch, off):
    clock = SimpleNamespace(time=lambda: time.time() + off.total_seconds())
    monkeypatch.setattr(hosts_module, "time", clock)
    beat(tmp_path, "gpu-far-0", set(), {})
    beat(tmp_path, "gpu-old-0", set(), {})
    stamp = time.time() - 300
    os.utime(tmp_path / "gpu-old-0.json", (stamp, stamp))
    assert beats(tmp_path)["gpu-far-0"].fresh
    assert beats(tmp_path)["gpu-old-0"].age_s == pytest.approx(300, abs=2)


class Answers:
    """A server whose clock is off."""

    def __init__(self, off):
        self.now = datetime.now(UTC) + off

    def request(self, method, path, **_):
        headers = {"date": format_datetime(self.now, usegmt=True)}
        return SimpleNamespace(headers=headers)


@pytest.mark.parametrize("off", OFF)
def test_the_age_of_a_state_is_told_by_the_servers_clock(off):
    server = Answers(off)
    state = SimpleNamespace(timestamp=server.now - timedelta(seconds=5), is_final=lambda: True)
    run = SimpleNamespace(state=state, state_type=StateType.PENDING)
    told = server_clock_module.server_time(server)
    assert sweeper_module.state_age_s(run, told) == pytest.approx(5, abs=1.1)
    assert not sweeper_module._settled(run, told)
    assert not sweeper_module._ended_long_ago(run, told)


def test_a_shard_that_beats_is_alive_whatever_its_hosts_clock_says(tmp_path):
    from flows.batches.coordinator import Attempt, Coordinator

    batch = Batch(tmp_path)
    (tmp_path / "shards").mkdir()
    lock = batch.shard_file(0).with_suffix(".lock")
    lock.touch()
    coordinator = Coordinator(batch, None, None, None, None)
    attempt = Attempt("run", 1, (0.0, time.monotonic()))
    for off in OFF:
        stamp = time.time() + off.total_seconds()
        os.utime(lock, (stamp, stamp))
        attempt.beat = attempt.beat[0], time.monotonic() - 1000
        assert not coordinator._silent(0, attempt)
    attempt.beat = attempt.beat[0], time.monotonic() - 1000
    assert coordinator._silent(0, attempt)
