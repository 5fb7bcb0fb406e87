"""Batches in processes of their own: the disk fills, the store is lost, clocks are wrong."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clips import SMALL, prompts_of
from skewed import make_clock, skew
from stores import BUCKET, answers, ask, free_port, rights
from waiting import PATIENCE_S, until

from core.storage.journal import read_lines
from flows.batches.ledger import Batch, intact
from flows.settings.settings import read_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ITEMS = 12
LIMITS = {"retry_delay_s": 0.5, "reserve_gb": 0.0, "tries": 20, "deadline_minutes": 600}


def batch() -> Batch:
    """As it stands on this host, whatever the store says."""
    return Batch(read_settings().outputs / "default" / "batches" / "night")


def outcomes() -> list[dict]:
    return [line for path in batch().root.glob("shards/*.jsonl") for line in read_lines(path)]


def once_and_whole() -> None:
    made = [x["item"] for x in outcomes() if x["state"] == "made" and x["sample_s"]]
    assert len(made) == len(set(made)) == ITEMS
    assert all(intact(batch(), item) for item, _ in batch().items())
    assert not list(batch().results.glob(".part-*"))


@contextmanager
def night(log: Path, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """``lamina batch run`` on this host, with its shards in processes of their own."""
    rows = prompts_of(ITEMS)
    Path("prompts.txt").write_text("\n".join(rows))
    fields = {**SMALL, **{f"limits.{name}": value for name, value in LIMITS.items()}}
    words = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
    command = ["batch", "run", "prompts.txt", "--name", "night", "--here", *words]
    with (
        log.open("ab") as file,
        subprocess.Popen(
            [sys.executable, "-m", "flows.commands.command_line", *command],
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        ) as process,
    ):
        try:
            yield process
        finally:
            end_group(process)


def end_group(process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def begun(process, log: Path, count: int) -> None:
    until(lambda: len(outcomes()) >= count or process.poll() is not None, "the first items")
    assert process.poll() is None, log.read_text()


def ended(process, log: Path) -> None:
    assert process.wait(PATIENCE_S) == 0, log.read_text()


def test_a_disk_that_is_full_for_a_while_costs_a_batch_nothing(disk_of, places):
    small_disk = disk_of(4)
    log = places / "night.log"
    with night(log) as process:
        begun(process, log, 2)
        facts = os.statvfs(small_disk)
        with (small_disk / "filler").open("wb") as file:
            file.write(b"\0" * (facts.f_bavail * facts.f_frsize - 8000))
        until(lambda: "without disk or device" in log.read_text(), "the shard's sentence")
        assert process.poll() is None
        assert not [x for x in outcomes() if x["state"] == "failed"]
        (small_disk / "filler").unlink()
        ended(process, log)
    assert batch().state() == "finished"
    once_and_whole()


@contextmanager
def objects(port: int, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """An S3 server that forgets all when it is killed."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("ab") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            until(lambda: answers(port) or process.poll() is not None, "the S3 server")
            ask(port, f"/{BUCKET}", "PUT")
            yield process
        finally:
            process.kill()


def test_a_store_that_is_killed_and_comes_back_empty_costs_a_batch_nothing(places):
    for module in ("moto", "flask_cors", "s3fs"):
        pytest.importorskip(module, reason=f"{module} is missing: install the extra `dev`")
    port, log = free_port(), places / "night.log"
    store = {**rights(port), "LAMINA_STORE": f"s3://{BUCKET}/results"}
    with objects(port, places / "store.log") as server, night(log, **store) as process:
        begun(process, log, 3)
        server.kill()
        server.wait()
        stood = len(outcomes())
        with objects(port, places / "store.log"):
            process.wait(PATIENCE_S)  # it may end or say that it lost its lease
            assert len(outcomes()) >= stood
            for _ in range(2):  # the same command, until all is there
                with night(log, **store) as again:
                    again.wait(PATIENCE_S)
            assert again.returncode == 0, log.read_text()
            once_and_whole()
            listing = ask(port, f"/{BUCKET}?list-type=2&prefix=results/", "GET").decode()
            assert listing.count(".mp4</Key>") == ITEMS


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory):
    """A library that puts the clock of a process wrong."""
    return make_clock(tmp_path_factory.mktemp("clock"))


def test_hosts_whose_clocks_are_hours_apart_make_a_batch_one_after_the_other(places, wrong_clock):
    log = places / "night.log"

    with night(log, **skew(wrong_clock, hours=3)) as process:
        begun(process, log, 3)
    ahead = datetime.now(UTC) + timedelta(hours=2)
    assert all(datetime.fromisoformat(x["time"]) > ahead for x in outcomes())
    with night(log, **skew(wrong_clock, hours=-3)) as process:
        ended(process, log)
    once_and_whole()
    behind = datetime.now(UTC) - timedelta(hours=2)
    assert any(datetime.fromisoformat(x["time"]) < behind for x in outcomes())
    count = len(outcomes())
    with night(log) as process:
        ended(process, log)
    assert len(outcomes()) == count
    assert batch().state() == "finished"
