"""What a batch makes is announced once, and a server that is away costs nothing."""

import json
import time

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.storage.journal import Follower, append_line
from flows.batches import events as batch_news_module
from flows.batches.events import announcing, events_of, tell
from flows.batches.ledger import Batch
from flows.pages.artifacts import announce
from flows.storage.files import FileRef

AWAY = "http://127.0.0.1:9/api"  # where nothing listens
CLIP = {"path": "results/1-a-clip.mp4", "sha256": "ab" * 32}
TIME = "2026-11-23T12:00:00.000+00:00"


@pytest.fixture
def batch(tmp_path):
    found = Batch(tmp_path / "studio" / "batches" / "night")
    (found.root / "shards").mkdir(parents=True)
    found.results.mkdir()
    return found


def line(item, state="made", roles=("video", "preview", "sheet", "record"), sha=CLIP["sha256"]):
    files = {role: {**CLIP, "sha256": sha} for role in roles} if state == "made" else {}
    return {"item": item, "state": state, "files": files, "time": TIME, "error": ""}


class Outside:
    """Takes what it is sent; away for the first few times."""

    def __init__(self, away=0):
        self.away, self.groups = away, []

    def __call__(self, events):
        if self.away:
            self.away -= 1
            raise OSError("nobody answers")
        self.groups.append(json.loads(json.dumps(events)))

    @property
    def events(self):
        return [event for group in self.groups for event in group]


def test_an_output_is_told_by_place_and_digest_and_nothing_of_the_request(batch):
    (batch.root / CLIP["path"]).write_bytes(b"clip")
    (event,) = events_of(batch, line("1234"))
    assert event["resource"] == {
        "prefect.resource.id": "lamina://studio/batches/night/1234/video",
        "prefect.resource.name": "video",
        "prefect.asset.url": "/gallery/p/studio/batches/night/",
    }
    assert event["event"] == "prefect.asset.materialization.succeeded"
    assert event["payload"] == {"sha256": CLIP["sha256"], "bytes": 4}
    assert event["occurred"] == TIME
    assert "a-clip" not in json.dumps(event)


def test_a_scan_has_an_event_for_its_volume_and_each_of_its_maps(batch):
    roles = ("result", "std", "consistency", "picture", "record")
    told = [
        event["resource"]["prefect.resource.name"]
        for event in events_of(batch, line("1", roles=roles))
    ]
    assert told == ["result", "std", "consistency", "picture"]


def test_what_was_not_made_is_not_told(batch):
    assert events_of(batch, line("1", "failed")) == events_of(batch, line("1", "rejected")) == []


def test_each_line_is_told_once_in_groups_whoever_goes_on(batch, monkeypatch):
    monkeypatch.setattr(batch_news_module, "GROUP", 3)
    outside = Outside()
    for n in range(4):
        append_line(batch.shard_file(n % 2), line(str(n)))
    assert (tell(batch, outside), tell(batch, outside)) == (4, 0)
    assert [len(group) for group in outside.groups] == [3, 1]
    append_line(batch.shard_file(2), line("4"))
    append_line(batch.shard_file(0), line("5", "failed"))
    assert (tell(batch, outside), tell(batch, outside)) == (1, 0)
    items = [event["resource"]["prefect.resource.id"].split("/")[-2] for event in outside.events]
    assert sorted(items) == ["0", "1", "2", "3", "4"]
    assert len({event["id"] for event in outside.events}) == 5


def test_what_a_server_that_was_away_did_not_hear_is_sent_later_with_the_same_identity(
    batch, monkeypatch
):
    monkeypatch.setattr(batch_news_module, "GROUP", 1)
    append_line(batch.shard_file(0), line("1"))
    append_line(batch.shard_file(0), line("2"))
    outside = Outside()

    def away_after_one(events):
        outside(events)
        outside.away = 1

    with pytest.raises(OSError, match="nobody"):
        tell(batch, away_after_one)
    outside.away = 0
    assert tell(batch, outside) == 2
    first, again, _ = outside.events
    assert first["id"] == again["id"]


def test_a_line_made_anew_is_another_event_and_a_half_written_one_waits(batch):
    outside = Outside()
    append_line(batch.shard_file(0), line("1"))
    with batch.shard_file(0).open("a") as file:
        file.write(json.dumps(line("2")))
        file.flush()
        assert tell(batch, outside) == 1
        file.write("\n")
    assert tell(batch, outside) == 1
    append_line(batch.shard_file(0), {**line("1"), "time": "2026-11-24T12:00:00.000+00:00"})
    assert tell(batch, outside) == 1
    assert len({event["id"] for event in outside.events}) == 3


def test_two_coordinators_at_once_tell_a_line_once(batch):
    append_line(batch.shard_file(0), line("1"))
    outside = Outside()

    def meanwhile(events):
        assert tell(batch, outside) == 0
        outside(events)

    assert tell(batch, meanwhile) == 1
    assert len(outside.events) == 1


def test_a_batch_that_is_not_planned_yet_has_no_news(tmp_path):
    assert tell(Batch(tmp_path / "nowhere"), Outside()) == 0


def test_a_server_that_is_away_is_mentioned_once_and_holds_nothing_up(batch, monkeypatch, caplog):
    monkeypatch.setattr(batch_news_module, "EVERY_S", 0.01)
    monkeypatch.setattr(batch_news_module, "LATER_S", 0.01)
    append_line(batch.shard_file(0), line("1"))
    with temporary_settings({PREFECT_API_URL: AWAY}):
        with announcing(batch):
            deadline = time.monotonic() + 60
            while "announced later" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        told = [x for x in caplog.records if "announced later" in x.message]
    assert len(told) == 1
    assert not (batch.root / "announced.json").exists()
    assert tell(batch, outside := Outside()) == len(outside.events) == 1


def test_what_was_made_last_is_told_when_the_batch_ends(batch, monkeypatch):
    outside = Outside()
    monkeypatch.setattr(batch_news_module, "_send", outside)
    with announcing(batch):
        append_line(batch.shard_file(0), line("1"))
    assert len(outside.events) == 1
    assert outside.events[0]["related"] == []  # there is no run here


def test_a_single_result_is_told_likewise(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("flows.pages.artifacts.emit_event", lambda **event: told.append(event))
    clip = tmp_path / "studio" / "text_to_video" / "a clip-12" / "a_clip.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"clip")
    announce({"video": FileRef.of(clip)}, tmp_path, "/gallery/p/studio/r/x")
    (event,) = told
    assert event["resource"] == {
        "prefect.resource.id": "lamina://studio/text_to_video/a%20clip-12/video",
        "prefect.resource.name": "video",
        "prefect.asset.url": "/gallery/p/studio/r/x",
    }
    assert event["payload"] == {"sha256": FileRef.of(clip).sha256, "bytes": 4}


def test_a_follower_reads_on_and_leaves_out_what_it_skips(tmp_path):
    path, follower = tmp_path / "0000.jsonl", Follower()
    append_line(path, {"n": 1})
    follower.skip(path)
    append_line(path, {"n": 2})
    with path.open("a") as file:
        file.write('{"cut sho\n[3]\n')
    append_line(path, {"n": 4})
    assert [found["n"] for found in follower.news(path)] == [2, 4]
    assert list(follower.news(path)) == []
    assert list(Follower(follower.places).news(path)) == []
