import errno
import json
import logging
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from clips import SMALL, prompts_of
from pydantic import ValidationError

from core.records import write_record
from core.refusal import Refusal
from core.storage.journal import append_line, held, now, read_lines
from flows.batches import coordinator as coordinator_module
from flows.batches import hours as hours_module
from flows.batches import ledger as manifest_module
from flows.batches import shard as shard_module
from flows.batches.coordinator import coordinate
from flows.batches.counts import Tally
from flows.batches.flow import abandon
from flows.batches.ledger import Batch, intact
from flows.batches.start import reopen
from flows.commands.command_line import main
from flows.pages.failures import FULL, advice
from flows.requests.batch_requests import NIGHTLY, BatchLimits, ClipBatchRequest
from flows.settings.settings import read_settings

DEADLINE_S = 500.0


class QuickMaker:
    """Makes items that are only a file and its record: what coordinators see of any item."""

    def __init__(self, device, *, judge, at_hand, shown):
        pass

    def load(self, model):
        pass

    def prepare(self, job):
        pass

    def sample(self, job):
        time.sleep(0.002)

    def finish(self, job, batch):
        path = batch.results / f"{job.item.stem}.mp4"
        path.write_text(job.item.request.prompt)
        record = write_record(
            path.with_suffix(".json"), task="text_to_video", request={}, outputs={"video": path},
            model={}, seeds=0, timings=job.timings, overwrite=True,
        )  # fmt: skip
        return {"video": path, "record": record}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(shard_module, "Maker", QuickMaker)


class Inside:
    """Runs each shard at once in this process; remembers what it was asked."""

    look_every_s = 0.01

    def __init__(self, trouble=None):
        self.asked, self.keys, self.ended, self.trouble = [], [], [], trouble

    def offers(self, settings):
        return []

    def start(self, asked, key):
        self.asked.append((asked.shard, asked.attempt))
        self.keys.append(key)
        if self.trouble:
            self.trouble(asked)
        shard_module.run_shard(read_settings(), asked, lambda done, total, note="": None)
        return f"run-{len(self.keys)}"

    def look(self, run):
        return "ended"

    def end(self, run):
        self.ended.append(run)


def request(count, name="night", **limits):
    prompts = prompts_of(count)
    patience = BatchLimits(**{"retry_delay_s": 0.0, "reserve_gb": 0.0, **limits})
    return ClipBatchRequest(name=name, prompts="\n".join(prompts), limits=patience, **SMALL)


def seen_through(asked, hands=None):
    meter = []
    ended = coordinate(
        read_settings(), "default", asked, hands or Inside(), lambda *news: meter.append(news)
    )
    return ended, Batch.named(read_settings(), "default", asked.name), meter


def whole(batch):
    return sum(intact(batch, item) is not None for item, _ in batch.items())


def test_a_batch_is_made_and_the_same_request_makes_nothing_more(places):
    hands = Inside()
    ended, batch, meter = seen_through(request(4), hands)
    assert (ended["state"], ended["made"], ended["missing"], whole(batch)) == ("finished", 4, 0, 4)
    assert meter[-1][:2] == (4, 4)
    again, _, _ = seen_through(request(4), idle := Inside())
    assert (again["state"], again["made"], idle.asked) == ("finished", 4, [])
    said = batch.read()
    assert (said["items"], said["kind"], said["project"]) == (4, "video", "default")
    assert said["seconds_per_item"] > 0


def test_what_killed_shards_left_half_written_is_cleared_away_when_nobody_works(places):
    _, batch, _ = seen_through(request(2))
    left = batch.results / ".part-0123456789ab.mp4"
    left.write_bytes(b"half")
    folder = batch.results / ".part-0123abcd"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(b"half")
    with held(batch.root / "plan.lock", shared=True):
        seen_through(request(2))
        assert left.exists()
    seen_through(request(2))
    assert not left.exists()
    assert not folder.exists()
    assert whole(batch) == 2


def test_a_batch_that_is_resumed_and_has_lost_its_coordinator_says_so(places, capsys):
    _, batch, _ = seen_through(request(2))
    for coordinated_elsewhere in (True, False):
        assert batch.change(state="paused")
        with held(batch.root / "batch.lock") if coordinated_elsewhere else nullcontext():
            assert main(["batch", "resume", "night", "--project", "default"]) == 0
        said = capsys.readouterr().out
        assert said.startswith("night: running, ")
        assert ("lamina batch retry night" in said) != coordinated_elsewhere


def test_changed_rows_are_made_and_the_others_are_not(places):
    _, batch, _ = seen_through(request(3))
    stamps = {path: path.stat().st_mtime_ns for path in batch.results.glob("*.mp4")}
    ended, _, _ = seen_through(request(5), hands := Inside())
    assert (ended["items"], ended["made"], whole(batch)) == (5, 5, 5)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert hands.asked == [(0, 2)]  # another try of shard 0, so another run on the server


def test_many_shards_each_with_a_key_of_its_own(places):
    hands = Inside()
    ended, batch, _ = seen_through(request(12, shard_minutes=0.003), hands)
    shards = [shard for shard, _ in hands.asked]
    assert (ended["made"], shards) == (12, list(range(batch.read()["shards"])))
    assert len(shards) > 1
    assert len(set(hands.keys)) == len(hands.keys)
    assert hands.keys[0] == f"default/night/{batch.read()['created']}/0/1"


class Fails(QuickMaker):
    times = 0

    def sample(self, job):
        if "left very very slowly" in job.item.request.prompt and Fails.times > 0:
            Fails.times -= 1
            raise RuntimeError("a cable came loose")
        return super().sample(job)


def test_what_failed_is_tried_again_within_the_budget(places, monkeypatch):
    monkeypatch.setattr(shard_module, "Maker", Fails)
    Fails.times = 2
    ended, _, _ = seen_through(request(4, tries=3), hands := Inside())
    assert (ended["state"], ended["made"]) == ("finished", 4)
    assert hands.asked == [(0, 1), (0, 2), (0, 3)]
    Fails.times = 99
    ended, batch, _ = seen_through(request(4, name="other", tries=2), hands := Inside())
    assert (ended["state"], ended["made"], ended["failed"]) == ("stopped", 3, 1)
    assert ended["reason"] == "1 item still missing, every try spent (2)"
    Fails.times = 0
    ended, _, _ = seen_through(batch.request())
    assert (ended["state"], ended["made"]) == ("finished", 4)


def test_what_was_refused_is_tried_again_only_when_reopened(places, monkeypatch):
    class Refuses(QuickMaker):
        def prepare(self, job):
            raise ValueError("no such thing")

    monkeypatch.setattr(shard_module, "Maker", Refuses)
    ended, batch, _ = seen_through(request(2))
    assert (ended["state"], ended["failed"], ended["missing"]) == ("finished", 2, 0)
    monkeypatch.setattr(shard_module, "Maker", QuickMaker)
    ended, _, _ = seen_through(request(2), idle := Inside())
    assert (idle.asked, ended["failed"]) == ([], 2)
    assert reopen(batch) == 2
    ended, _, _ = seen_through(request(2))
    assert (ended["made"], ended["failed"], whole(batch)) == (2, 0, 2)


@pytest.mark.parametrize(
    ("limits", "reason", "least"),
    [
        ({"items": 3}, "enough items are made", 3),
        ({"gpu_minutes": 1e-9}, "the GPU minutes are spent", 1),
        ({"deadline_minutes": 1e-9}, "the deadline has passed", 0),
    ],
)
def test_a_budget_ends_a_batch_and_what_is_made_is_kept(places, limits, reason, least):
    asked = request(12, shard_minutes=0.003, shards_at_once=1, **limits)
    ended, batch, _ = seen_through(asked)
    assert (ended["state"], ended["reason"]) == ("stopped", reason)
    assert least <= ended["made"] == whole(batch) < 12
    assert batch.state() == "stopped"


def test_nothing_is_begun_that_would_not_be_ready_in_time_and_the_next_night_goes_on(
    places, monkeypatch
):
    night = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
    ticking = {"now": night}

    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return ticking["now"].astimezone(zone)

    monkeypatch.setattr(hours_module, "datetime", Clock)
    asked = request(6, shard_minutes=0.003, shards_at_once=1, until="07:00 Europe/Berlin")

    def passing(_):
        if len(hands.asked) == 3:  # two shards are made by now
            ticking["now"] = night.replace(hour=5, minute=59, second=59, microsecond=990_000)

    hands = Inside(passing)
    monkeypatch.setattr(shard_module, "LOOK_EVERY_S", 0.0)
    ended, batch, _ = seen_through(asked, hands)
    assert (ended["state"], ended["reason"]) == (
        "stopped", "no more can be ready by 07:00 Europe/Berlin"
    )  # fmt: skip
    assert 0 < ended["made"] == whole(batch) < 6
    assert batch.read()["ends"] == "2026-11-29T06:00:00+00:00"
    ticking["now"] = night + timedelta(days=1)
    ended, batch, _ = seen_through(asked)
    assert (ended["state"], ended["made"], whole(batch)) == ("finished", 6, 6)
    assert batch.read()["ends"] == "2026-11-30T06:00:00+00:00"


def test_a_batch_that_was_left_at_work_keeps_its_night(places):
    asked = request(1, until="07:00")
    _, batch, _ = seen_through(asked)
    just = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    batch.change(state="running", ends=just)
    assert hours_module.end_of(batch, "07:00") == {"ends": just, "until": "07:00"}
    assert hours_module.passed(batch)
    batch.change(state="stopped")
    assert hours_module.end_of(batch, "07:00")["ends"] > datetime.now(UTC).isoformat()
    assert hours_module.end_of(batch, "") == {"ends": "", "until": ""}
    now = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)  # the night in which clocks change
    assert (
        hours_module.next_end("07:00 Europe/Berlin", now).isoformat().startswith("2026-03-29T05")
    )
    with pytest.raises(Refusal, match="no time zone Mars/Olympus"):
        hours_module.next_end("07:00 Mars/Olympus", now)
    with pytest.raises(ValidationError, match="until"):
        BatchLimits(until="7 am")
    assert "until" not in BatchLimits().model_dump()


def test_a_batch_whose_host_died_in_another_night_has_a_new_end(places):
    _, batch, _ = seen_through(request(1, until="07:00"))
    assert batch.read()["until"] == "07:00"
    now = datetime.now(UTC)
    batch.change(state="running", ends=(now - timedelta(hours=15)).isoformat())
    assert now < datetime.fromisoformat(hours_module.end_of(batch, "07:00")["ends"])
    ahead = (now + timedelta(minutes=5)).isoformat()
    batch.change(ends=ahead)
    assert hours_module.end_of(batch, "07:00")["ends"] == ahead
    other = hours_module.end_of(batch, "07:30 Etc/GMT+5")  # asked for anew
    assert (other["ends"][11:16], other["until"]) == ("12:30", "07:30 Etc/GMT+5")


def test_a_hosts_own_clock_is_that_of_the_night_found(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        evening = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)  # clocks go forward in this night
        assert hours_module.next_end("07:00", evening).hour == 5
        evening = datetime(2026, 10, 24, 21, 30, tzinfo=UTC)
        assert hours_module.next_end("07:00", evening).hour == 6
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("zone", ["America/Port-au-Prince", "Etc/GMT+5", "Etc/GMT-14", "EST5EDT"])
def test_every_zone_can_be_named(zone):
    until = BatchLimits(until=f"07:00 {zone}").until
    assert hours_module.next_end(until, datetime.now(UTC)) > datetime.now(UTC)


def test_a_cancelled_batch_ends_its_runs_and_can_be_taken_up_again(places):
    class Endless(Inside):
        def look(self, run):
            return "running" if run not in self.ended else "ended"

    def cancelling(asked):
        batch.change(state="cancelled", reason="enough")

    batch = Batch.named(read_settings(), "default", "night")
    hands = Endless(cancelling)
    ended, _, _ = seen_through(request(6, shard_minutes=0.003, shards_at_once=1), hands)
    assert (ended["state"], ended["reason"]) == ("cancelled", "enough")
    assert hands.ended == ["run-1"]
    assert ended["made"] == whole(batch) < 6
    ended, _, _ = seen_through(request(6, shard_minutes=0.003))
    assert (ended["state"], ended["made"]) == ("finished", 6)


def test_a_paused_batch_hands_out_nothing_until_it_is_resumed(places):
    class Resumer(Inside):
        look_every_s = 0.01

        def start(self, asked, key):
            batch.change(state="paused") if not self.asked else None
            self.asked.append((asked.shard, asked.attempt))
            if len(self.asked) == 1:
                self.since = time.monotonic()
                return "run-1"
            return super().start(asked, key)

        def look(self, run):
            if batch.state() == "paused" and time.monotonic() > self.since + 0.3:
                assert len(self.asked) == 1
                batch.change(state="running")
            return "ended" if len(self.asked) > 1 or batch.state() == "running" else "running"

    batch = Batch.named(read_settings(), "default", "night")
    ended, _, _ = seen_through(request(3, tries=1), Resumer())
    assert (ended["state"], ended["made"]) == ("finished", 3)


def test_a_coordinator_that_restarts_takes_up_the_runs_of_the_last(places):
    asked = request(3)
    _, batch, _ = seen_through(asked)
    (item, _), *_ = batch.items()
    (batch.results / f"{item.stem}.mp4").unlink()
    line = {"shard": 0, "try": 2, "run": "earlier", "ended": False, "time": now()}
    append_line(batch.root / "submissions.jsonl", line)

    class Earlier(Inside):
        def look(self, run):
            self.looked = run
            if run == "earlier" and not self.asked:
                self.start_shard()
            return "ended"

        def start_shard(self):
            asked = shard_module.ShardRequest(batch="night", shard=0, attempt=2)
            shard_module.run_shard(read_settings(), asked, lambda done, total, note="": None)

    ended, _, _ = seen_through(asked, hands := Earlier())
    assert (ended["state"], hands.asked, hands.looked) == ("finished", [], "earlier")
    assert whole(batch) == 3


def test_a_silent_run_is_buried_and_its_shard_started_again(places, monkeypatch):
    class Silent(Inside):
        def start(self, asked, key):
            if not self.asked:
                self.asked.append((asked.shard, asked.attempt))
                return "run-dead"
            return super().start(asked, key)

        def look(self, run):
            return "running" if run == "run-dead" and run not in self.ended else "ended"

    monkeypatch.setattr(coordinator_module, "SILENCE_S", 0.3)
    ended, _, _ = seen_through(request(2), hands := Silent())
    assert (ended["state"], ended["made"]) == ("finished", 2)
    assert (hands.ended, hands.asked) == (["run-dead"], [(0, 1), (0, 2)])


def test_another_request_of_that_name_is_refused_while_one_is_under_way(places):
    asked = request(2)
    _, batch, _ = seen_through(asked)
    with held(batch.root / "batch.lock"):
        ended, _, _ = seen_through(asked)
        assert "coordinates this very request" in ended["reason"]
        with pytest.raises(ValueError, match=r"is under way with another request.*; wait"):
            seen_through(request(3))
    still = pytest.raises(ValueError, match="shards of an earlier request are still at work")
    with held(batch.root / "plan.lock", shared=True), still:
        seen_through(request(3))
    assert seen_through(request(3))[0]["made"] == 3


def test_nothing_is_written_for_a_request_that_is_refused(places):
    bad = ClipBatchRequest(name="bad", prompts="a\nb", model="none")
    with pytest.raises(ValueError, match="prompts:1"):
        seen_through(bad)
    assert not (places / "outputs").exists()


def test_names_cannot_lead_out_of_the_outputs(places):
    for project, name in (("..", "x"), ("a/b", "x"), ("default", "../x"), ("", "x")):
        with pytest.raises(ValueError, match=r"a name has lower case letters.*; choose"):
            Batch.named(read_settings(), project, name)


def test_a_tally_reads_each_line_once_and_waits_for_whole_ones(places):
    _, batch, _ = seen_through(request(2))
    (first, _), (second, _) = batch.items()
    tally = Tally(batch)
    tally.skip()
    tally.begin({first.address, second.address})
    before = tally.sampled_s
    outcome = batch.outcomes()[first.address] | {"sample_s": 2.0}
    text = json.dumps(outcome)
    with batch.shard_file(0).open("a") as file:
        file.write(text[:20])
        file.flush()
        tally.update()
        assert len(tally.missing) == 2
        file.write(f"{text[20:]}\n")
    tally.update()
    tally.update()
    assert list(tally.missing) == [second.address]
    assert tally.sampled_s == before + 2.0


PROGRAM = """
import json, sys
from flows.requests.batch_requests import ClipBatchRequest
from flows.batches.coordinator import coordinate
from flows.settings.settings import read_settings
from flows.batches.shard_runs import Here
request = ClipBatchRequest.model_validate_json(sys.argv[1])
ended = coordinate(read_settings(), "default", request, Here(), lambda *news: None)
print(json.dumps(ended))
"""


@pytest.mark.slow
def test_one_request_submitted_several_times_at_once_makes_each_item_once(places):
    asked = request(6, shard_minutes=0.003)
    command = [sys.executable, "-c", PROGRAM, asked.model_dump_json()]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    answers = [json.loads(child.communicate(timeout=DEADLINE_S)[0]) for child in children]
    finished = [answer for answer in answers if answer["state"] == "finished"]
    assert finished
    batch = Batch.named(read_settings(), "default", "night")
    lines = [x for p in (batch.root / "shards").glob("*.jsonl") for x in read_lines(p)]
    assert sorted(x["item"] for x in lines) == sorted(item.address for item, _ in batch.items())
    assert whole(batch) == 6


@pytest.mark.slow
def test_shards_and_coordinator_killed_again_and_again_still_end_with_every_item(places):
    asked = request(20, shard_minutes=0.005, tries=20)
    command = [sys.executable, "-c", PROGRAM, asked.model_dump_json()]
    batch = Batch.named(read_settings(), "default", "night")

    def made():
        files = (batch.root / "shards").glob("*.jsonl")
        return sum(1 for path in files for _ in read_lines(path))

    for wanted in (2, 9):
        deadline = time.monotonic() + DEADLINE_S
        with subprocess.Popen(command, start_new_session=True) as child:
            try:
                while made() < wanted and child.poll() is None:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            finally:
                child.kill()  # its shards go on by themselves
    last = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE_S)
    ended = json.loads(last.stdout)
    assert (ended["state"], ended["made"], whole(batch)) == ("finished", 20, 20)
    lines = [x for p in (batch.root / "shards").glob("*.jsonl") for x in read_lines(p)]
    assert len(lines) == len({x["item"] for x in lines}) == 20


def test_a_cancelled_run_cancels_its_batch_also_where_the_form_was_left_at_its_defaults(places):
    asked = request(2, name=NIGHTLY)
    _, batch, _ = seen_through(asked)
    batch.change(state="running")
    line = {"shard": 0, "try": 9, "run": "nowhere", "ended": False, "time": now()}
    append_line(batch.root / "submissions.jsonl", line)
    abandon(None, SimpleNamespace(parameters={"request": {"prompts": "a"}}), None)
    assert (batch.state(), batch.read()["reason"]) == ("cancelled", "its run was cancelled")
    abandon(None, SimpleNamespace(parameters={"request": {"name": "unheard-of"}}), None)


def fault(number):
    return OSError(number, os.strerror(number))


def test_a_fault_that_is_not_the_stores_ends_the_coordinator_at_once(places):
    def trouble(asked):
        raise fault(errno.ENOMEM)

    with pytest.raises(OSError, match="Cannot allocate memory") as caught:
        seen_through(request(2), Inside(trouble))
    assert caught.value.errno == errno.ENOMEM


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "cannot be written: No space left"),
        (errno.EDQUOT, "cannot be written: Disk quota exceeded"),
        (errno.EIO, "is away: Input/output"),
    ],
)
def test_a_store_that_fails_is_waited_for_with_one_warning(
    places, monkeypatch, caplog, number, words
):
    failed = []

    def fail(path, value):
        failed.append(time.monotonic())
        raise fault(number)

    monkeypatch.setattr(manifest_module, "append_line", fail)
    monkeypatch.setattr(coordinator_module, "STORE_S", 0.5)
    monkeypatch.setattr(coordinator_module, "STORE_LOOK_S", 0.2)
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match=words) as caught:
        seen_through(request(2))
    assert (advice(caught.value) == FULL) == (number == errno.ENOSPC)
    assert [words in record.message for record in caplog.records].count(True) == 1
    assert 2 <= len(failed) <= 4


def test_a_store_that_goes_away_at_the_very_end_is_waited_for(places, monkeypatch):
    clear, failed = coordinator_module.clear_leftovers, []

    def stale_once(batch):
        if not failed:
            failed.append(batch)
            raise fault(errno.ESTALE)
        return clear(batch)

    monkeypatch.setattr(coordinator_module, "clear_leftovers", stale_once)
    monkeypatch.setattr(coordinator_module, "STORE_LOOK_S", 0.01)
    ended, _, _ = seen_through(request(2))
    assert (ended["state"], ended["made"], len(failed)) == ("finished", 2, 1)


def test_a_shard_whose_end_cannot_be_noted_is_not_handed_out_before_its_time(places, monkeypatch):
    noted, ends, starts = append_line, [], []

    def full_at_first(path, value):
        if value["ended"]:
            ends.append(time.monotonic())
            if len(ends) == 1:
                raise fault(errno.ENOSPC)
        noted(path, value)

    monkeypatch.setattr(manifest_module, "append_line", full_at_first)
    monkeypatch.setattr(coordinator_module, "STORE_LOOK_S", 0.01)
    monkeypatch.setattr(shard_module, "Maker", Fails)
    Fails.times = 1
    hands = Inside(lambda asked: starts.append(time.monotonic()))
    ended, batch, _ = seen_through(request(4, retry_delay_s=0.5), hands)
    assert (ended["state"], hands.asked) == ("finished", [(0, 1), (0, 2)])
    assert starts[1] - ends[0] >= 0.5
    told = [(x["try"], x["ended"]) for x in read_lines(batch.root / "submissions.jsonl")]
    assert told == [(1, False), (1, True), (2, False), (2, True)]
