"""Batches on a real server with two workers: the disk fills, the results are away, files are torn.

After each: nothing is lost, nothing made twice, both GPUs are free and no run is stuck.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest
from stacks import (
    BATCH_S,
    RUN_S,
    WINDOW_S,
    Stack,
    check_all_free,
    check_all_once,
    lines,
    outcomes,
    wait,
)

from flows.batches.ledger import Batch, intact
from flows.stack.api import Run

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

ITEMS = 24  # more shards than workers


class Disk:
    """A small disk that stands under a folder, or does not."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.device, self.place = folder / "device", folder / "place"
        for path in (self.device, self.place):
            path.mkdir(parents=True)
        self.mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(self.device))
        self.come()

    def mount(self, *words: str) -> None:
        try:
            subprocess.run(["mount", *words], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this machine lets nobody mount a small disk")

    def come(self) -> None:
        self.mount("--bind", str(self.device), str(self.place))

    def go(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)

    def fill(self) -> None:
        """Take all room there is."""
        facts = os.statvfs(self.device)
        with (self.device / "filler").open("wb", buffering=0) as file:
            file.write(b"\0" * max(0, facts.f_bavail * facts.f_frsize - 4096))
            try:
                while file.write(b"\0" * 512):
                    pass
            except OSError:
                return

    def empty(self) -> None:
        (self.device / "filler").unlink()

    def end(self) -> None:
        self.go()
        subprocess.run(["umount", "--lazy", str(self.device)], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """Where the results stand."""
    disk = Disk(tmp_path_factory.mktemp("disk"), megabytes=16)
    yield disk
    disk.end()


@pytest.fixture(scope="module")
def stack(disk, tmp_path_factory, database, tiny_models):
    places = {"LAMINA_MODELS": str(tiny_models), "LAMINA_OUTPUTS": str(disk.place)}
    stack = Stack(tmp_path_factory.mktemp("outages"), {**places, **database()})
    yield stack
    stack.end()


def begun(stack: Stack, name: str, count: int = 3) -> tuple[Run, Batch]:
    """A batch of which some items are made and most are not."""
    run, batch = stack.ask_batch(name, ITEMS)
    wait(lambda: batch.exists() and len(outcomes(batch)) >= count, BATCH_S)
    return run, batch


def said(stack: Stack, name: str) -> str:
    """What the failed shards of a batch say."""
    wanted = {
        "tags": {"all_": [f"batch:default/{name}"]},
        "state": {"type": {"any_": ["FAILED"]}},
    }
    runs = stack.server._answer("/flow_runs/filter", {"flow_runs": wanted})
    return "\n".join(run["state"]["message"] for run in runs)


def seen_through(stack: Stack, run: Run, batch: Batch) -> None:
    stack.see_through(run, batch)
    assert stack.server.read(run).state == "COMPLETED", stack.server.read(run)
    check_all_once(batch, ITEMS)


@pytest.mark.usefixtures("all_free")
def test_while_the_disk_is_full_a_batch_waits_and_the_dead_are_found_all_the_same(
    stack, disk, tmp_path
):
    run, batch = begun(stack, "full")
    disk.fill()
    try:
        wait(lambda: "without disk or device" in said(stack, "full"), BATCH_S)
        killed, engine = stack.begin(tmp_path / "killed")
        worker = engine.parent()
        engine.suspend()
        worker.kill()
        engine.kill()
        wait(lambda: stack.state(killed) == "CRASHED", WINDOW_S)
        alive, _ = stack.begin(tmp_path / "alive")
        janitor = stack.server.start("tidy_runs", {"request": {"second_look_s": 1}})
        wait(lambda: stack.server.read(janitor).ended, RUN_S)
        assert stack.state(alive) == "RUNNING"
        (tmp_path / "alive" / "go").touch()
        assert not stack.server.read(run).ended
    finally:
        disk.empty()
    seen_through(stack, run, batch)
    assert not [line for line in outcomes(batch) if line["state"] == "failed"]


@pytest.mark.usefixtures("all_free")
def test_while_the_results_are_away_a_batch_waits(stack, disk):
    run, batch = begun(stack, "away")
    disk.go()
    try:
        wait(lambda: "when the folder is back" in said(stack, "away"), BATCH_S)
        assert not stack.server.read(run).ended
    finally:
        disk.come()
    seen_through(stack, run, batch)


@pytest.mark.usefixtures("all_free")
def test_what_is_torn_is_made_again_and_the_same(stack):
    run, batch = begun(stack, "torn", count=5)
    with batch.shard_file(0).open("a") as file:
        file.write('{"item": "half a li')
    (batch.results / ".part-0123.mp4").write_bytes(b"left by a crash")
    seen_through(stack, run, batch)
    before = {item.address: intact(batch, item) for item, _ in batch.items()}
    (cut, _), (gone, _), (unrecorded, _), *_ = batch.items()
    clip = batch.results / f"{cut.stem}.mp4"
    clip.write_bytes(clip.read_bytes()[:100])
    (batch.results / f"{gone.stem}.mp4").unlink()
    (batch.results / f"{unrecorded.stem}.json").write_text('{"half a rec')
    again, _ = stack.ask_batch("torn", ITEMS)
    stack.see_through(again, batch)
    assert stack.state(again) == "COMPLETED"
    after = {item.address: intact(batch, item) for item, _ in batch.items()}
    assert {x: files["video"]["sha256"] for x, files in after.items() if files} == {
        x: files["video"]["sha256"] for x, files in before.items() if files
    }
    assert len(after) == ITEMS
    made = [x["item"] for x in outcomes(batch) if x["state"] == "made" and x["sample_s"]]
    assert len(made) == ITEMS + 3


@pytest.fixture(scope="module")
def small_state(tmp_path_factory, database, tiny_models):
    """A stack whose state stands on a small disk of its own: logs, locks and SQLite's file."""
    folder = tmp_path_factory.mktemp("state")
    disk = Disk(folder / "disk", megabytes=64)
    (folder / "state").symlink_to(disk.place)
    stack = Stack(folder, {"LAMINA_MODELS": str(tiny_models), **database()})
    yield stack, disk
    stack.end()
    disk.end()


def refuses(stack: Stack) -> bool:
    """Whether the server can write nothing down."""
    try:
        stack.server._answer("/flows/", {"name": f"flow-{time.monotonic()}"})
    except RuntimeError:
        return True
    return False


def test_while_the_servers_disk_is_full_nothing_is_lost(small_state, tmp_path, pytestconfig):
    stack, disk = small_state
    single, engine = stack.begin(tmp_path / "single")
    run, batch = begun(stack, "state")
    disk.fill()
    try:
        if pytestconfig.getoption("--database") == "sqlite":
            wait(lambda: refuses(stack), WINDOW_S)
        else:  # the database stands on another disk, as it may on another host
            assert not refuses(stack)
        (tmp_path / "single" / "go").touch()
        wait(lambda: lines(tmp_path / "single" / "ends"), WINDOW_S)
        wait(lambda: not engine.is_running(), 2 * WINDOW_S)
    finally:
        disk.empty()
    seen_through(stack, run, batch)
    wait(lambda: stack.server.read(single).ended, 2 * WINDOW_S)
    check_all_free(stack, tmp_path)
