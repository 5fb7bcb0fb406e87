import json

import numpy as np
import pytest

from core.operations.operation import NotAsAskedError
from core.storage.journal import append_line, now, read_lines
from flows.batches.approval import Answer, Question, ask, decide, sheet_path
from flows.batches.items import items_of
from flows.batches.ledger import Batch, files_of, intact, unfinished
from flows.batches.start import plan_batch, start_batch
from flows.requests.batch_requests import ClipBatchRequest
from flows.settings.settings import read_settings
from video.files.clip import Clip, write_mp4

PROMPTS = ["a red circle moves left", "a blue square", "a green triangle", "two red circles"]


@pytest.fixture
def batch(places):
    """Three clips that were made and one that was not, in a batch that has ended."""
    from core.records import write_record

    request = ClipBatchRequest(
        name="b", prompts="\n".join(PROMPTS), num_frames=4, height=32, width=32, model="tiny-video"
    )
    found = Batch.named(read_settings(), "p", "b")
    found.root.mkdir(parents=True)
    start_batch(found, request, plan_batch(found, request, items_of(request)))
    for item, shard in found.items()[:3]:
        path = found.results / f"{item.stem}.mp4"
        write_mp4(Clip(np.zeros((4, 32, 32, 3), dtype=np.uint8), 8.0), path, metadata={})
        asked = item.request.model_dump(mode="json")
        record = write_record(
            path.with_suffix(".json"), task="x", request=asked, outputs={"video": path},
            model={}, seeds=0, timings={},
        )  # fmt: skip
        line = {"item": item.address, "state": "made", "seconds": 1.0, "attempt": 1, "error": ""}
        files = files_of(found, {"video": path, "record": record})
        append_line(found.shard_file(shard), line | {"files": files, "time": now()})
    found.change(state="finished")
    return found


def answer(decision="accept", rejected=(), *, again=False):
    return Answer(decision, "Ann", "too dark", list(rejected), again)


def states(batch):
    return sorted(outcome["state"] for outcome in batch.outcomes().values())


def test_the_question_is_asked_once_and_its_numbers_stay(batch):
    first = ask(batch, "run")
    assert first.titles == PROMPTS[:3]
    picture = sheet_path(batch, "run").read_text()
    assert picture.startswith("data:image/webp;base64,")
    assert len(picture) < 200_000
    stamp = sheet_path(batch, "run").stat().st_mtime_ns
    decide(batch, "other", first, answer(rejected=first.items[:1]))
    assert ask(batch, "run") == first
    assert sheet_path(batch, "run").stat().st_mtime_ns == stamp
    assert ask(batch, "later").titles == PROMPTS[1:3]


def test_a_batch_under_way_or_empty_is_not_judged(batch):
    batch.change(state="running")
    with pytest.raises(ValueError, match=r"b is running: .* wait"):
        ask(batch, "run")
    batch.change(state="finished")
    question = ask(batch, "run")
    decide(batch, "run", question, answer("reject"))
    with pytest.raises(ValueError, match="b holds no result"):
        ask(batch, "next")


def test_items_are_named_by_number_range_or_address():
    question = Question("", [f"{n:016x}" for n in range(16, 22)], ["x"] * 6)
    items = question.items
    assert question.named("2, 4-5 2") == [items[1], items[3], items[4]]
    assert question.named(items[5]) == [items[5]]
    assert question.named("") == []
    for wrong in ("0", "7", "3-2", "5-9", "abcdef", "x"):
        with pytest.raises(ValueError, match=f"rejected={wrong}: .* 1 to 6"):
            question.named(wrong)


def test_a_sheet_shows_results_spread_over_all():
    question = Question("", ["0"] * 1000, [""] * 1000)
    assert len(question.shown) == 24
    assert question.shown[0] == 1
    assert question.shown[-1] > 950
    assert len(set(question.shown)) == 24


def test_accepted_items_stay_and_rejected_ones_leave_the_results(batch):
    question = ask(batch, "run")
    second = question.items[1]
    said = decide(batch, "run", question, answer(rejected=[second]))
    assert json.loads((batch.root / "approval.json").read_text()) == said
    assert (said["decision"], said["by"], said["note"]) == ("accept", "Ann", "too dark")
    assert said["accepted"].keys() == {question.items[0], question.items[2]}
    assert said["rejected"] == {second: PROMPTS[1]}
    item = next(item for item, _ in batch.items() if item.address == second)
    assert intact(batch, item) is None
    outcome = batch.outcomes()[second]
    assert outcome["error"] == "rejected by Ann: too dark"
    assert all((batch.root / file["path"]).is_file() for file in outcome["files"].values())
    assert states(batch) == ["made", "made", "rejected"]
    assert not unfinished(outcome, draws=9)
    lines = (batch.root / "shards" / "approval.jsonl").read_bytes()
    assert decide(batch, "run", question, answer(rejected=[second])) == said
    assert (batch.root / "shards" / "approval.jsonl").read_bytes() == lines


def test_a_decision_that_a_crash_cut_short_is_finished_and_nothing_is_done_twice(batch):
    question = ask(batch, "run")
    decide(batch, "run", question, answer("reject"))
    (batch.root / "approval.json").unlink()
    said = decide(batch, "run", question, answer("reject"))
    assert len(said["rejected"]) == 3
    assert said["accepted"] == {}
    assert len(list(read_lines(batch.root / "shards" / "approval.jsonl"))) == 3


def test_rejected_clips_are_drawn_again_from_another_seed_if_asked_for(batch, monkeypatch):
    from flows.batches import shard as shard_module
    from flows.requests.batch_requests import ShardRequest

    question = ask(batch, "run")
    decide(batch, "run", question, answer(rejected=question.items[:1], again=True))
    request = batch.request()
    plan = plan_batch(batch, request, items_of(request))
    assert (plan.missing, plan.standing, plan.settled) == (2, 2, 0)
    start_batch(batch, request, plan)
    drawn = []

    class Seen:
        def __init__(self, device, *, judge, at_hand, shown):
            pass

        def load(self, model):
            pass

        def prepare(self, job):
            drawn.append((job.item.address, job.draw))
            raise NotAsAskedError("seen")

        sample = finish = prepare

    monkeypatch.setattr(shard_module, "Maker", Seen)
    shard_request = ShardRequest(project="p", batch="b", shard=0)
    shard_module.run_shard(read_settings(), shard_request, lambda *_: None)
    assert (question.items[0], 2) in drawn
    assert len(drawn) == 2
