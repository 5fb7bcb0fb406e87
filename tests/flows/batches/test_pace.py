"""With a deadline, items are drawn in as many steps as there is time for, between two bounds."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from flows.batches.hours import no_more
from flows.batches.items import items_of
from flows.batches.makers import Job
from flows.batches.pace import Pace, least_share, usual_steps
from flows.batches.plan import make_plan
from flows.batches.shard import run_shard
from flows.batches.start import open_batch, start_batch
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.settings.environment import adopt
from flows.settings.settings import read_settings

SMALL = {"model": "tiny-video", "num_frames": 4, "height": 32, "width": 32}
PROMPTS = "a red circle\na blue square\na green star\na white ring"


def asked(**limits):
    told = {"name": "tonight", "prompts": PROMPTS, "steps": 20, **SMALL}
    return ClipBatchRequest.model_validate({**told, "limits": limits})


class Stub:
    """A batch of four items, of which some are made."""

    def __init__(self, seconds_per_item, in_s, made=()):
        end = datetime.now(UTC) + timedelta(seconds=in_s)
        self.said = {"items": 4, "ends": end.isoformat(), "seconds_per_item": seconds_per_item}
        self.made = {str(n): {"state": "made", **one} for n, one in enumerate(made)}

    def read(self):
        return self.said

    def outcomes(self):
        return self.made


def chosen(batch, least=2, at_once=1):
    request = asked(until="07:00", least_steps=least, shards_at_once=at_once)
    job = Job(items_of(request)[0][0])
    Pace(batch, request).fit(job)
    return job


def test_a_batch_that_has_time_takes_all_steps(places):
    job = chosen(Stub(20.0, in_s=1000))
    assert (job.steps, job.request.steps) == (0, 20)


@pytest.mark.parametrize(
    ("in_s", "steps"),
    [
        (46.0, 10),  # 40 s for four items of a second a step
        (4.5, 2),  # no fewer than is allowed
        (-5.0, 2),
    ],
)
def test_steps_are_what_the_time_leaves_and_no_fewer_than_allowed(places, in_s, steps):
    job = chosen(Stub(20.0, in_s=in_s))
    assert job.request.steps == job.steps == steps


def test_what_was_made_tells_how_long_a_step_takes(places):
    made = [{"seconds": 5.0, "steps": 10}, {"seconds": 10.0}]  # half a second a step
    assert chosen(Stub(400.0, in_s=11.9, made=made)).steps == 10
    assert chosen(Stub(400.0, in_s=11.9, made=made), at_once=2).steps == 0


def test_it_learns_from_each_item_that_is_drawn(places, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("flows.batches.pace.time.monotonic", lambda: clock.now)
    request = asked(until="07:00", least_steps=1, shards_at_once=1)
    batch = Stub(20.0, in_s=46.0)
    pace, (first, second, *_) = Pace(batch, request), items_of(request)[0]
    pace.fit(job := Job(first))
    assert job.steps == 10
    clock.now += 40.0
    pace.took(job)  # four seconds a step, so the next has to take fewer
    pace._steps_s = pace._steps_s[-1:]
    pace.fit(job := Job(second))
    assert job.steps == 2


def test_least_steps_want_a_deadline(places):
    with pytest.raises(ValueError, match="least_steps=2 without a deadline"):
        asked(least_steps=2)
    assert "least_steps" not in asked().model_dump()["limits"]


def test_nothing_is_left_out_that_could_be_ready_in_the_fewest_steps(places):
    request = asked(until="07:00", least_steps=5)
    items, _ = items_of(request)
    share = least_share(make_plan(items, []).items, request)
    assert (usual_steps(items[0]), share) == (20, {"least_share": 0.25})
    batch = Stub(20.0, in_s=10.0)
    assert no_more(batch)
    batch.said |= share
    assert not no_more(batch)


def test_a_shard_that_is_late_draws_in_fewer_steps_and_its_records_say_so(places):
    adopt(settings := read_settings())
    request = asked(deadline_minutes=600, least_steps=2)
    items, _ = items_of(request)
    batch = open_batch(settings, "default", request)
    start_batch(batch, request, make_plan(items, []))
    begun = datetime.now(UTC) - timedelta(minutes=599.99)
    batch.change(started=begun.isoformat(), seconds_per_item=60.0)
    report = run_shard(settings, ShardRequest(batch="tonight", shard=0), lambda *_, **__: None)
    assert report.plain()["made"] == 4
    records = [json.loads(path.read_text()) for path in batch.results.glob("*.json")]
    steps = sorted(record["request"]["steps"] for record in records)
    assert 2 <= steps[0] <= steps[-1] < 20  # half a second is left, and who is quick has some over
    assert sorted(record["extra"]["steps_for_the_deadline"] for record in records) == steps
    assert sorted(one["steps"] for one in batch.outcomes().values()) == steps
    assert sorted(record["extra"]["item"] for record in records) == sorted(
        item.address for item in items
    )
