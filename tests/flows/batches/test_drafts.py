"""Drafts in few steps, a person's choice of them, and the chosen at full quality."""

import csv
import json

import pytest
from tiny_engines import save_engine

from core.operations.operation import NotAsAskedError
from core.refusal import Refusal
from flows.approve_batch import rejected_by
from flows.batches.approval import Answer, ask, decide
from flows.batches.drafting import OF_STEPS
from flows.batches.drafts import drafts_in, finishing, picked, said_of_states, write_picks
from flows.batches.items import items_of
from flows.batches.plan import make_plan
from flows.batches.shard import run_shard
from flows.batches.start import open_batch, start_batch
from flows.commands.command_line import main
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.settings.settings import read_settings
from video.operations.text_to_video import TextToVideo
from video.provenance.unsigned import media_sha256

SIZE = {"num_frames": 4, "height": 32, "width": 32, "model": "tiny-video"}
PROMPTS = "a red circle moves left\na blue square"


def asked(**changes):
    told = {"name": "tonight", "prompts": PROMPTS, "steps": 8}
    return ClipBatchRequest(**SIZE | told | changes)


def drawn(request):
    items, repeated = items_of(request)
    assert repeated == []
    batch = open_batch(read_settings(), "default", request)
    start_batch(batch, request, make_plan(items, []))
    found = batch.read()
    for shard in range(found["shards"]):
        asked = ShardRequest(batch=request.name, shard=shard)
        run_shard(read_settings(), asked, lambda *_, **__: None)
    batch.change(state="finished")
    return batch


def test_drafts_have_the_seeds_of_the_clips_and_fewer_steps(places):
    drafts, _ = items_of(asked(drafts=3))
    whole, _ = items_of(asked(count=3))
    assert [item.request.draft_after for item in drafts] == [2] * 6
    assert [item.request.steps for item in drafts] == [8] * 6
    assert [item.request.seed for item in drafts] == [item.request.seed for item in whole]
    assert len({item.request.seed for item in drafts}) == 6
    assert [item.facts[OF_STEPS] for item in drafts] == [8] * 6
    assert {item.address for item in drafts}.isdisjoint(item.address for item in whole)
    few, _ = items_of(asked(drafts=1, draft_steps=3))
    assert [item.request.draft_after for item in few] == [3, 3]


def test_rows_of_one_prompt_keep_their_own_steps(places):
    rows = [{"prompt": "a red circle", "steps": steps} for steps in (8, 40)]
    (places / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = {"name": "rows", "prompt_file": str(places / "rows.jsonl"), "drafts": 1, **SIZE}
    items, _ = items_of(ClipBatchRequest(**told))
    told = [(item.request.draft_after, item.facts[OF_STEPS]) for item in items]
    assert told == [(2, 8), (10, 40)]


def test_a_draft_that_takes_no_fewer_steps_is_refused_with_its_row(places):
    with pytest.raises(
        Refusal, match=r"prompts:1 .1 of 2.: column steps: steps=1 with drafts of 1 step"
    ):
        items_of(asked(drafts=2, steps=1))
    with pytest.raises(Refusal, match="ask for more steps, or leave drafts out"):
        items_of(asked(drafts=2, draft_steps=8))


def test_an_engines_own_steps_are_those_of_what_it_drafts(places, tmp_path, monkeypatch):
    save_engine("cogvideox", tmp_path / "shelf")
    monkeypatch.setenv("LAMINA_ENGINES", str(tmp_path / "shelf"))
    request = ClipBatchRequest(
        name="e", prompts="a cat", engine="cogvideox", num_frames=8, height=16, width=16, drafts=2
    )
    items, _ = items_of(request)
    told = [(item.request.draft_after, item.facts[OF_STEPS]) for item in items]
    assert told == [(12, 50)] * 2
    batch = open_batch(read_settings(), "default", request)
    start_batch(batch, request, make_plan(items, []))
    final, _ = items_of(finishing(batch, items))
    whole, _ = items_of(request.model_copy(update={"drafts": 0, "count": 2}))
    assert [item.address for item in final] == [item.address for item in whole]


def test_the_picked_are_the_clips_that_the_batch_would_have_had(places):
    batch = drawn(asked(drafts=2))
    drafts = drafts_in(batch)
    assert len(drafts) == 4
    with pytest.raises(Refusal, match=r"no draft is picked: .* by --pick 3,5-7"):
        picked(batch)
    chosen = picked(batch, "2, 3")
    assert chosen == [drafts[2], drafts[3]]
    with pytest.raises(Refusal, match="pick=9: items are named by their numbers"):
        picked(batch, "9")
    final = finishing(batch, chosen)
    items, _ = items_of(final)
    whole, _ = items_of(asked(count=2))
    assert [item.address for item in items] == [item.address for item in whole[1:3]]
    assert said_of_states(batch, chosen) == ["2 going on from step 2 of 8, by as many threads"]
    made = drawn(final)
    records = [json.loads(path.read_text()) for path in made.results.glob("*.json")]
    assert sorted((r["request"]["seed"], r["request"]["steps"]) for r in records) == sorted(
        (item.request.seed, 8) for item in chosen
    )
    assert [record["extra"]["engine"]["resumed_at_step"] for record in records] == [2, 2]
    assert said_of_states(batch, drafts.values()) == [
        "2 going on from step 2 of 8, by as many threads",
        "2 drawn from the start: no state of it is kept on this machine",
    ]


def test_a_state_of_another_walk_is_not_gone_on_from_and_threads_are_not_told_yet(
    places, monkeypatch
):
    batch = drawn(asked(drafts=1))
    chosen = drafts_in(batch).values()
    monkeypatch.setattr("torch.get_num_threads", lambda: 77)
    assert said_of_states(batch, chosen) == ["2 going on from step 2 of 8, by as many threads"]
    monkeypatch.setattr("video.engines.own_engine.WALK", 99)
    assert said_of_states(batch, chosen) == [
        "2 drawn from the start: no state of it is kept on this machine"
    ]


def test_a_plan_counts_the_states_of_drafts_among_what_stays(places):
    def needed(**changes):
        items, _ = items_of(asked(**changes))
        return make_plan(items, []).bytes_needed

    of_state = 2 * 4 * 3 * 4 * 32 * 32  # steps, bytes, and the values of a clip
    assert needed(drafts=1) - needed() >= 2 * of_state


def test_what_goes_on_from_a_draft_has_the_bytes_of_what_was_drawn_at_once(places):
    batch = drawn(asked(drafts=2))
    made = drawn(finishing(batch, picked(batch, "2, 3")))
    whole = drawn(asked(name="whole", count=2))
    finals = {path.name: path for path in made.results.glob("*.mp4")}
    assert len(finals) == 2
    for name, path in finals.items():
        assert media_sha256(path) == media_sha256(whole.results / name)


def test_the_draft_that_was_seen_is_finished_and_no_other(
    places, world_model, monkeypatch, capsys
):
    judged, seeds = TextToVideo.judge, []

    def second(self, request, found):
        seeds.append(request.seed)
        if len(seeds) == 1:
            raise NotAsAskedError("not as asked: count", 0.5)
        return {"shows": {}}

    told = {"prompts": "a red circle moves left", "accept_only": True, "model": world_model}
    monkeypatch.setattr(TextToVideo, "judge", second)
    batch = drawn(asked(drafts=1, **told))
    (draft,) = drafts_in(batch).values()
    assert seeds[0] == draft.request.seed != seeds[1]
    chosen = picked(batch, "1")
    assert said_of_states(batch, chosen) == ["1 going on from step 2 of 8, by as many threads"]
    final = finishing(batch, chosen)
    assert final.draws == 1
    monkeypatch.setattr("flows.commands.batch._run", lambda *_: 0)
    assert main(["batch", "finish", "tonight", "--pick", "1"]) == 0
    assert f"{draft.address}  seed {seeds[1]}  a red circle" in capsys.readouterr().out
    made = drawn(final)
    assert seeds[2:] == [seeds[1]]
    (record,) = (json.loads(path.read_text()) for path in made.results.glob("*.json"))
    assert record["request"]["seed"] == seeds[1]
    assert record["extra"]["engine"]["resumed_at_step"] == 2
    monkeypatch.setattr(TextToVideo, "judge", judged)


def test_a_table_of_drafts_is_written_marked_and_read(places, capsys):
    batch, table = drawn(asked(drafts=2)), places / "picks.csv"
    command = ["batch", "finish", "tonight", "--picks", str(table)]
    assert main(command) == 0
    assert "4 drafts in" in capsys.readouterr().out
    assert main(command) == 2
    assert "no draft is picked" in capsys.readouterr().err
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["prompt"] for row in rows[::2]] == PROMPTS.splitlines()
    assert all(batch.root.joinpath(row["file"]).is_file() for row in rows)
    rows[3]["pick"] = "x"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert [item.address for item in picked(batch, table=table)] == [rows[3]["item"]]
    table.write_text("a,b\n1,2\n")
    with pytest.raises(Refusal, match="it is a table with the columns number, pick, item"):
        picked(batch, table=table)


def test_approving_a_batch_of_drafts_picks_them(places):
    batch = drawn(asked(drafts=2))
    question = ask(batch, "run")
    rejected = rejected_by(question, "", "2 4")
    assert rejected == [question.items[0], question.items[2]]
    assert rejected_by(question, "1", "") == question.items[:1]
    decide(batch, "run", question, Answer("accept", "Ann", "", rejected, again=False))
    assert [item.address for item in picked(batch)] == question.items[1::2]
    assert [item.address for item in drafts_in(batch).values()] == question.items


def test_a_number_stays_that_of_its_draft_while_others_are_made(places, monkeypatch):
    batch, known = drawn(asked(drafts=2)), {}
    whole = drafts_in(batch)
    known |= batch.outcomes()
    monkeypatch.setattr(type(batch), "outcomes", lambda self: known)
    del known[whole[2].address]
    assert list(drafts_in(batch)) == [1, 3, 4]
    assert picked(batch, "3") == [whole[3]]
    with pytest.raises(Refusal, match=rf"pick=2: this draft \({whole[2].address}\) is not made"):
        picked(batch, "2, 3")
    write_picks(batch, places / "picks.csv")
    rows = list(csv.DictReader((places / "picks.csv").read_text().splitlines()))
    assert [row["number"] for row in rows] == ["1", "3", "4"]


def test_what_is_finished_is_asked_as_its_batch_was(places, world_model):
    told = {"name": "kept", "prompts": "a reed circle moves left", "accept_only": True, "draws": 3}
    told |= SIZE | {"steps": 8, "model": world_model}
    request = ClipBatchRequest(**told, drafts=2, limits={"items": 7, "tries": 2})
    batch = open_batch(read_settings(), "default", request)
    drafts, _ = items_of(request)
    start_batch(batch, request, make_plan(drafts, []))
    final = finishing(batch, drafts[:1])
    assert (final.accept_only, final.draws, final.limits) == (True, 1, request.limits)
    assert (final.drafts, final.count, final.prompts) == (0, 1, "")
    (item,), _ = items_of(final)
    whole, _ = items_of(ClipBatchRequest(**told, count=2))
    assert item.address == whole[0].address
    assert item.facts == whole[0].facts
    assert item.facts["prompt_as_typed"] == "a reed circle moves left"


def test_a_batch_without_drafts_is_not_finished(places):
    batch = drawn(asked())
    with pytest.raises(Refusal, match=r"tonight holds no drafts: .*--drafts 4"):
        write_picks(batch, places / "picks.csv")
