"""When a batch stops because its last draws brought nothing."""

import pytest
from clips import SMALL

from core.operations.operation import NotAsAskedError
from core.storage.journal import append_line, now, read_lines
from flows.batches.coordinator import coordinate
from flows.batches.counts import Tally
from flows.batches.items import items_of
from flows.batches.ledger import Batch, intact
from flows.batches.plan import ends_early
from flows.batches.quality import Quality
from flows.batches.shard import run_shard
from flows.batches.start import plan_batch, start_batch
from flows.commands.command_line import main
from flows.requests.batch_requests import BatchLimits, ClipBatchRequest
from flows.settings.settings import read_settings

COLORS = ("red", "blue", "green", "yellow")


def outcome(item, state, score=None, **more):
    line = {"item": item, "state": state, "time": now(), "attempt": 1, "error": "", "files": {}}
    line |= {"seconds": 0.1, "sample_s": 0.1, **more}
    return line if score is None else {**line, "score": score}


def drawn(*draws):
    quality = Quality()
    for item, state, score in draws:
        quality.take(outcome(item, state, score))
    return quality


def test_only_what_is_kept_and_better_than_before_adds():
    quality = drawn(
        ("a", "made", 1.0), ("b", "rejected", 0.8), ("b", "made", 0.9), ("b", "made", 1.0),
        ("a", "made", 0.5),
    )  # fmt: skip
    assert list(quality.gains) == pytest.approx([1.0, 0.0, 0.9, 0.1, 0.0])


def test_what_nobody_judged_is_no_draw():
    quality = drawn(("a", "made", None), ("b", "failed", None))
    assert list(quality.gains) == []


def test_a_clip_that_a_person_took_out_adds_again_when_it_is_made_anew():
    quality = drawn(("a", "made", 1.0))
    quality.take(outcome("a", "rejected", 1.0, again=True))
    quality.take(outcome("a", "made", 1.0))
    assert list(quality.gains) == [1.0, 1.0]


def test_what_was_kept_before_the_batch_was_taken_up_adds_nothing_twice():
    quality = Quality()
    quality.know(outcome("a", "made", 1.0))
    quality.take(outcome("a", "made", 1.0))
    assert list(quality.gains) == [0.0]


@pytest.mark.parametrize(
    ("kept", "draws", "gain", "reached"),
    [
        ([1, 0, 0, 0], 4, 0.25, False),  # as much as is asked is enough
        ([1, 0, 0, 0], 4, 0.26, True),
        ([1, 0, 0, 0], 3, 0.01, True),  # only the last count
        ([0, 0, 0, 0], 5, 1.0, False),  # too few draws yet
        ([0, 0, 0, 0], 0, 1.0, False),  # never asked
        ([0, 0, 0, 1], 2, 0.5, False),
    ],
)
def test_a_plateau_is_exactly_where_the_last_draws_added_too_little(kept, draws, gain, reached):
    lines = [(str(n), "made" if k else "rejected", float(k)) for n, k in enumerate(kept)]
    assert bool(drawn(*lines).plateau(draws, gain)) == reached


def test_a_plateau_says_its_numbers():
    assert drawn(("a", "made", 1.0), ("b", "rejected", 0.5)).plateau(2, 0.75) == (
        "the quality no longer rises: the last 2 draws added 0.5 each, less than 0.75"
    )


def test_a_single_draw_is_one_draw():
    assert "the last 1 draw added 0 each" in drawn(("a", "rejected", 0.5)).plateau(1, 0.5)


def request(count, **fields):
    prompts = "\n".join(f"a {COLORS[n % 4]} circle moves {'left' * (n > 3) or 'right'}"
                        for n in range(count))  # fmt: skip
    limits = BatchLimits(retry_delay_s=0.0, reserve_gb=0.0, shard_minutes=0.001, shards_at_once=1)
    return ClipBatchRequest(name="night", prompts=prompts, limits=limits, **SMALL, **fields)


def test_a_tally_reads_the_scores_of_its_shards(places):
    asked = request(2, accept_only=True, plateau_draws=2)
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True)
    start_batch(batch, asked, plan_batch(batch, asked, items_of(asked)))
    tally, (first, second) = Tally(batch, 4), (item.address for item, _ in batch.items())
    tally.begin({first, second})
    append_line(batch.shard_file(0), outcome(first, "rejected", 0.5))
    tally.update()
    assert tally.spent(asked, 0.0) == ""
    append_line(batch.shard_file(0), outcome(second, "rejected", 0.8))
    tally.update()
    assert tally.spent(asked, 0.0).startswith("the quality no longer rises: the last 2 draws")
    again = Tally(batch, 4)
    again.skip()
    again.begin({first, second})
    assert again.spent(asked, 0.0) == ""  # taken up again, it draws as many times more


class Inside:
    """Runs each shard at once in this process."""

    look_every_s = 0.01

    def offers(self, settings):
        return []

    def start(self, asked, key):
        run_shard(read_settings(), asked, lambda done, total, note="": None)
        return key

    def look(self, run):
        return "ended"

    def end(self, run):
        pass


@pytest.mark.usefixtures("encoder_read_once")
def test_a_model_that_learned_nothing_is_stopped_with_the_reason_and_goes_on_when_asked(places):
    asked = request(8, accept_only=True, draws=3, plateau_draws=5)
    told = lambda done, total, note="": None  # noqa: E731
    ended = coordinate(read_settings(), "default", asked, Inside(), told)
    batch = Batch.named(read_settings(), "default", "night")
    assert (ended["state"], batch.state()) == ("stopped", "stopped")
    assert ended["reason"] == batch.read()["reason"] == (
        "the quality no longer rises: the last 5 draws added 0 each, less than 0.05"
    )  # fmt: skip
    lines = [x for path in batch.shard_files() for x in read_lines(path)]
    assert len(lines) == 6  # two items of three draws each: a shard is seen through
    assert {x["state"] for x in lines} == {"rejected"}
    assert all(0 <= x["score"] < 1 for x in lines)
    assert ended["missing"] == 6
    patient = asked.model_copy(update={"plateau_draws": 0})
    ended = coordinate(read_settings(), "default", patient, Inside(), told)
    assert (ended["state"], ended["rejected"], ended["missing"]) == ("finished", 8, 0)


@pytest.mark.usefixtures("encoder_read_once")
def test_a_batch_draws_until_so_many_clips_are_accepted(places, monkeypatch):
    def judge(self, request, drawn):
        if "green" in request.prompt or "yellow" in request.prompt:
            raise NotAsAskedError("not as asked: color", 0.5)
        return {"shows": {"color": True}}

    monkeypatch.setattr("video.operations.text_to_video.TextToVideo.judge", judge)
    asked = request(8, accept_only=True, draws=2)
    enough = asked.limits.model_copy(update={"items": 4})
    asked = asked.model_copy(update={"limits": enough})
    ended = coordinate(read_settings(), "default", asked, Inside(), lambda *_, **__: None)
    assert (ended["state"], ended["reason"]) == ("stopped", "enough items are made")
    assert (ended["made"], ended["rejected"], ended["missing"]) == (4, 2, 2)
    batch = Batch.named(read_settings(), "default", "night")
    states = [x["state"] for path in batch.shard_files() for x in read_lines(path)]
    assert sorted(states) == ["made"] * 4 + ["rejected"] * 4  # what is rejected counts for nothing
    assert sum(intact(batch, item) is not None for item, _ in batch.items()) == 4


def test_quality_is_known_only_where_clips_are_judged(places):
    with pytest.raises(ValueError, match=r"plateau_draws=5: .*; turn accept_only on, or leave"):
        items_of(request(2, plateau_draws=5))


def test_a_plan_says_when_a_batch_ends_early(places, capsys):
    assert ends_early(request(2)) == []
    limits = BatchLimits(deadline_minutes=90, gpu_minutes=0.5, items=1)
    asked = request(2, accept_only=True, plateau_draws=20).model_copy(update={"limits": limits})
    (line,) = ends_early(asked)
    assert line == (
        "stops early 90 min after the start; after 0.5 min of sampling; at 1 item made; "
        "when the last 20 draws added less than 0.05 each"
    )
    (places / "p.txt").write_text("a red circle moves left\n")
    words = ["batch", "plan", str(places / "p.txt"), "--set", "model=tiny-video"]
    words += [
        "--set",
        "accept_only=yes",
        "--set",
        "plateau_draws=7",
        "--set",
        "limits.reserve_gb=0",
    ]
    assert main(words) == 0
    assert "stops early when the last 7 draws added less than 0.05 each" in capsys.readouterr().out
