"""What a batch does when its disk is full, or its folder goes away and comes back."""

import errno
import os
import time
from pathlib import Path

import pytest
from clips import SMALL, prompts_of

from core.storage.journal import read_lines
from flows.batches import coordinator as coordinator_module
from flows.batches import shard as shard_module
from flows.batches.coordinator import Coordinator, coordinate
from flows.batches.items import items_of
from flows.batches.ledger import Batch, intact
from flows.batches.makers import Maker
from flows.batches.start import plan_batch, start_batch
from flows.pages.failures import FULL, advice
from flows.requests.batch_requests import BatchLimits, ClipBatchRequest, ShardRequest
from flows.settings.settings import read_settings

DEADLINE_S = 60.0


pytestmark = pytest.mark.usefixtures("encoder_read_once")


def request(count):
    prompts = "\n".join(prompts_of(count))
    limits = BatchLimits(reserve_gb=0.0, retry_delay_s=0.0)
    return ClipBatchRequest(name="night", prompts=prompts, limits=limits, **SMALL)


def planned(count):
    asked = request(count)
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True)
    start_batch(batch, asked, plan_batch(batch, asked, items_of(asked)))
    return batch


def run(batch):
    asked = ShardRequest(batch="night", shard=0)
    return shard_module.run_shard(read_settings(), asked, lambda done, total, note="": None)


def made(batch):
    return [x["item"] for x in read_lines(batch.shard_file(0)) if x["state"] == "made"]


def once_and_whole(batch, count):
    assert len(made(batch)) == len(set(made(batch))) == count
    assert sum(intact(batch, item) is not None for item, _ in batch.items()) == count


def fill(disk, leave):
    """Take all room of a disk but so much."""
    stat = os.statvfs(disk)
    (disk / "filler").write_bytes(b"\0" * (stat.f_bavail * stat.f_frsize - leave))


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_ends_the_shard_with_a_sentence_and_nothing_half_written(
    disk_of, monkeypatch, foreseen
):
    small_disk = disk_of(1)
    batch = planned(4)
    if not foreseen:  # somebody else fills the disk after the check
        monkeypatch.setattr(shard_module, "check_room", lambda *_: None)
    fill(small_disk, leave=12_000)
    ended = r"without disk or device .* is started again for what"
    with pytest.raises(OSError, match=ended) as caught:
        run(batch)
    assert advice(caught.value) == FULL
    assert not list(batch.results.glob(".part-*"))
    records = {path.stem for path in batch.results.glob("*.json")}
    assert all(intact(batch, item) for item, _ in batch.items() if item.stem in records)
    assert not [x for x in read_lines(batch.shard_file(0)) if x["state"] == "failed"]
    (small_disk / "filler").unlink()
    assert run(batch).left == 0
    once_and_whole(batch, 4)


class Away:
    """Takes the outputs away at one moment, and brings them back at another."""

    def __init__(self, outputs):
        self.outputs, self.elsewhere = outputs, outputs.with_name("elsewhere")

    def go(self):
        self.outputs.rename(self.elsewhere)

    def come(self):
        self.elsewhere.rename(self.outputs)


def test_a_shard_whose_folder_goes_away_says_so_and_goes_on_when_it_is_back(places, monkeypatch):
    batch, away = planned(4), Away(places / "outputs")
    sample, sampled, deadline = Maker.sample, [], time.monotonic() + DEADLINE_S

    def sample_and_go(self, job):
        while sampled and away.outputs.exists():
            assert time.monotonic() < deadline
            if made(batch):
                away.go()
            time.sleep(0.01)
        sampled.append(job)
        return sample(self, job)

    monkeypatch.setattr(Maker, "sample", sample_and_go)
    with pytest.raises(RuntimeError, match=r"night is gone: .* when the folder is back"):
        run(batch)
    monkeypatch.setattr(Maker, "sample", sample)
    assert not away.outputs.exists()
    away.come()
    assert run(batch).left == 0
    once_and_whole(batch, 4)


def test_a_shard_that_starts_while_the_folder_is_away_is_no_refusal(places):
    batch, away = planned(2), Away(places / "outputs")
    away.go()
    with pytest.raises(RuntimeError, match=r"night is gone: .* when the folder is back"):
        run(batch)
    assert not away.outputs.exists()
    away.come()
    assert run(batch).left == 0


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
def test_a_folder_that_does_not_answer_is_away(places, monkeypatch, number):
    batch = planned(1)

    def stale(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stale)
        patch.setattr(Path, "read_text", stale)
        assert not batch.exists()
        with pytest.raises(RuntimeError, match="night is gone"):
            run(batch)
    assert batch.exists()


class Leaving:
    """Hands whose first shard sees the folder go away; it is back a little later, or never."""

    look_every_s = 0.05

    def __init__(self, away, away_s):
        self.away, self.away_s, self.asked, self.back = away, away_s, 0, 0.0

    def offers(self, settings):
        return []

    def start(self, asked, key):
        self.asked += 1
        if self.asked == 1:
            self.away.go()
            self.back = time.monotonic() + self.away_s
        else:
            shard_module.run_shard(read_settings(), asked, lambda done, total, note="": None)
        return f"run-{self.asked}"

    def look(self, run):
        if run == "run-1" and time.monotonic() < self.back:
            return "running"
        return "ended"

    def end(self, run):
        raise AssertionError(run)


class Returning(Leaving):
    """The folder comes back while the coordinator sleeps."""

    @property
    def look_every_s(self):
        if self.back and time.monotonic() > self.back and not self.away.outputs.exists():
            self.away.come()
        return 0.05


def test_a_coordinator_waits_for_a_folder_that_is_away(places):
    hands = Returning(Away(places / "outputs"), away_s=0.5)
    ended = coordinate(read_settings(), "default", request(3), hands, lambda *news: None)
    assert (ended["state"], ended["made"], hands.asked) == ("finished", 3, 2)


def test_a_coordinator_waits_for_a_folder_that_goes_before_its_first_look(places, monkeypatch):
    hands, run = Returning(Away(places / "outputs"), away_s=0.0), Coordinator.run
    hands.asked = 1  # every shard sees the folder

    def go_and_run(self):
        hands.away.go()
        hands.back = time.monotonic()
        return run(self)

    monkeypatch.setattr(Coordinator, "run", go_and_run)
    ended = coordinate(read_settings(), "default", request(2), hands, lambda *news: None)
    assert (ended["state"], ended["made"]) == ("finished", 2)


def test_a_coordinator_gives_up_on_a_folder_that_stays_away(places, monkeypatch):
    monkeypatch.setattr(coordinator_module, "STORE_S", 0.3)
    hands = Leaving(Away(places / "outputs"), away_s=60.0)
    with pytest.raises(OSError, match=r"night is away: .*, for .* bring it back and start"):
        coordinate(read_settings(), "default", request(3), hands, lambda *news: None)
