"""Budgets of a batch: counted from its beginning, whoever coordinates it and however often."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from clips import SMALL, prompts_of

from core.storage.journal import append_line, now
from flows.batches.coordinator import coordinate
from flows.batches.counts import sampled_s
from flows.batches.items import items_of
from flows.batches.ledger import Batch
from flows.batches.shard import run_shard
from flows.batches.start import open_batch, plan_batch, renew_budgets, reopen, start_batch
from flows.requests.batch_requests import BatchLimits, ClipBatchRequest, ShardRequest
from flows.settings.settings import read_settings

SAMPLE_S = 60.0  # what each draw takes
SPENT, PASSED = "the GPU minutes are spent", "the deadline has passed"


class Failing:
    """Every shard samples each of its items for a minute, in vain."""

    look_every_s = 0.001

    def __init__(self):
        self.minutes = 0

    def offers(self, settings):
        return []

    def start(self, asked, key):
        batch = the_batch()
        for item, _ in batch.items(asked.shard):
            self.minutes += 1
            line = {"item": item.address, "state": "failed", "files": {}, "seconds": SAMPLE_S}
            line |= {"sample_s": SAMPLE_S, "attempt": 1, "time": now(), "error": "Error: no"}
            append_line(batch.shard_file(asked.shard), line)
        return key

    def look(self, run):
        return "ended"

    def end(self, run):
        pass


def the_batch() -> Batch:
    return Batch.named(read_settings(), "default", "night")


def request(count=20, **limits) -> ClipBatchRequest:
    patience = {"retry_delay_s": 0.0, "reserve_gb": 0.0, "tries": 20, "shards_at_once": 1}
    prompts = "\n".join(prompts_of(count))
    asked = BatchLimits(**{**patience, "shard_minutes": 0.001, **limits})
    return ClipBatchRequest(name="night", prompts=prompts, limits=asked, **SMALL)


def seen_through(asked) -> tuple[dict, int]:
    """How it ended, and how many minutes were sampled meanwhile."""
    hands = Failing()
    return coordinate(read_settings(), "default", asked, hands, lambda *_: None), hands.minutes


def begun(minutes_ago: float, **fields) -> None:
    """Say that the batch was begun so long ago, and is under way."""
    then = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    the_batch().change(state="running", reason="", started=then.isoformat(), **fields)


def test_gpu_minutes_are_spent_once_whoever_coordinates(places):
    ended, minutes = seen_through(request(gpu_minutes=5))
    assert (ended["state"], ended["reason"], minutes) == ("stopped", SPENT, 5)
    begun(0)  # as if its coordinator had been killed
    ended, minutes = seen_through(request(gpu_minutes=5))
    assert (ended["state"], ended["reason"], minutes) == ("stopped", SPENT, 0)


def test_what_a_killed_coordinator_sampled_counts(places):
    seen_through(request(gpu_minutes=2))
    asked = request(gpu_minutes=6)
    begun(0, request=asked.model_dump(mode="json"))
    ended, minutes = seen_through(asked)
    assert (ended["reason"], minutes) == (SPENT, 4)


def test_what_is_asked_again_has_cost_nothing_yet(places):
    seen_through(request(count=1, gpu_minutes=1))
    batch = the_batch()
    ((item, _),) = batch.items()
    refused = {**batch.outcomes()[item.address], "error": "ValueError: no", "time": now()}
    append_line(batch.shard_file(0), refused)
    assert reopen(batch) == 1
    assert sampled_s(batch) == 2 * SAMPLE_S


def test_a_sample_that_fails_is_paid_for_too(places, monkeypatch):
    def fails(self, job):
        time.sleep(0.05)
        raise ValueError("too dark")

    monkeypatch.setattr("flows.batches.makers.Maker.sample", fails)
    asked = request(count=1)
    batch = open_batch(read_settings(), "default", asked)
    start_batch(batch, asked, plan_batch(batch, asked, items_of(asked)))
    run_shard(read_settings(), ShardRequest(batch="night", shard=0), lambda *_: None)
    assert sampled_s(batch) >= 0.05


def test_who_raises_the_budget_gets_a_new_one(places):
    assert seen_through(request(gpu_minutes=2))[1] == 2
    ended, minutes = seen_through(request(gpu_minutes=3))
    assert (ended["reason"], minutes) == (SPENT, 3)
    assert the_batch().read()["spent_s"] == 2 * SAMPLE_S
    ended, minutes = seen_through(request(count=21, gpu_minutes=3))  # a row more
    assert (ended["reason"], minutes) == (SPENT, 3)


def test_who_asks_for_more_of_a_batch_that_ended_gets_new_budgets(places):
    asked = request(gpu_minutes=2, deadline_minutes=60)
    seen_through(asked)
    begun(600)
    renew_budgets(the_batch())  # it is under way: nothing changes
    assert seen_through(asked)[1] == 0
    renew_budgets(the_batch())
    ended, minutes = seen_through(asked)
    assert (ended["reason"], minutes) == (SPENT, 2)


@pytest.mark.parametrize(("minutes_ago", "reason"), [(59, SPENT), (61, PASSED)])
def test_a_deadline_counts_from_the_beginning_of_the_batch(places, minutes_ago, reason):
    asked = request(gpu_minutes=2, deadline_minutes=60)
    seen_through(asked)
    raised = request(gpu_minutes=4, deadline_minutes=60)
    begun(minutes_ago, request=raised.model_dump(mode="json"))
    ended, minutes = seen_through(raised)
    assert (ended["state"], ended["reason"]) == ("stopped", reason)
    assert minutes == (2 if reason == SPENT else 0)


def test_a_batch_of_before_counts_from_its_creation(places):
    asked = request(gpu_minutes=2, deadline_minutes=60)
    seen_through(asked)
    batch = the_batch()
    said = batch.read() | {"state": "running", "created": "2026-01-01T00:00:00+00:00"}
    del said["started"], said["spent_s"]
    (batch.root / "batch.json").write_text(json.dumps(said))
    assert seen_through(asked)[0]["reason"] == PASSED


def test_a_clock_that_is_ahead_gives_no_negative_time(places):
    asked = request(gpu_minutes=1, deadline_minutes=60)
    seen_through(asked)
    begun(-600)
    assert seen_through(asked)[0]["reason"] == SPENT
