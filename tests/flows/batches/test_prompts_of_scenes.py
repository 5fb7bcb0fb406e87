"""Batches of a model that knows only scenes: prompts are read before anything starts."""

import json

import pytest

from core.refusal import Refusal
from flows.batches.item import Item
from flows.batches.items import items_of
from flows.commands.command_line import main
from flows.requests.batch_requests import ClipBatchRequest

SMALL = {"num_frames": 2, "height": 32, "width": 32, "steps": 1}


def asked(model, *prompts, **more):
    return ClipBatchRequest(name="a", prompts="\n".join(prompts), model=model, **SMALL, **more)


def test_prompts_that_cannot_be_shown_are_named_by_row(world_model):
    rows = ["a red circle", "a cat runs on the beach", "five stars", "a blue heart"]
    with pytest.raises(Refusal) as refusal:
        items_of(asked(world_model, *rows))
    lines = str(refusal.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["prompts:2", "prompts:3", "prompts:4"]
    assert "not understood: cat runs on, beach" in lines[0]
    assert "one to three things, not 'five'" in lines[1]
    assert "there is no shape 'heart'" in lines[2]


def test_strict_refuses_words_that_are_not_understood(world_model):
    with pytest.raises(Refusal, match=r"prompts:2: .*not understood: cat"):
        items_of(asked(world_model, "a ring", "a star and a cat", strict=True))


def test_any_prompt_is_taken_where_the_model_does_not_say_what_it_knows(world_model):
    items, _ = items_of(asked("tiny-video", "a cat runs on the beach", "two reed circels"))
    assert [item.request.prompt for item in items] == [
        "a cat runs on the beach",
        "two reed circels",
    ]
    assert [item.facts for item in items] == [{}, {}]


def test_an_item_is_the_corrected_prompt_and_keeps_what_was_typed(world_model):
    rows = ["two reed circels", "two red circles", "a star and a cat"]
    items, repeated = items_of(asked(world_model, *rows))
    assert [item.request.prompt for item in items] == ["two red circles", "a star and a cat"]
    assert repeated == ["prompts:2 repeats prompts:1"]
    assert items[0].facts["prompt_as_typed"] == "two reed circels"
    assert items[1].facts == {"not_understood": ["cat"]}
    for item in items:
        assert Item.of_line(json.loads(json.dumps(item.line()))).facts == item.facts
    plain, _ = items_of(asked(world_model, "two red circles"))
    assert plain[0].address == items[0].address
    assert plain[0].line().keys() == {"item", "row", "operation", "request"}


def test_the_plan_says_how_prompts_are_read(places, world_model, capsys):
    file = places / "p.txt"
    file.write_text("two reed circles\na star and a cat\na ring\n")
    words = [f"--set={name}={value}" for name, value in {**SMALL, "model": world_model}.items()]
    assert main(["batch", "plan", str(file), *words]) == 0
    said = capsys.readouterr().out
    assert "2 prompts not drawn word for word: p.txt:1: read as reed -> red; " in said
    assert "p.txt:2: not understood: cat" in said
    assert "reads" not in said


def test_the_plan_names_every_row_that_is_not_drawn_word_for_word(places, world_model, capsys):
    file = places / "p.txt"
    file.write_text("".join(f"a star and a {word}\n" for word in ("cat", "dog", "cow", "pig")))
    words = [f"--set={name}={value}" for name, value in {**SMALL, "model": world_model}.items()]
    assert main(["batch", "plan", str(file), *words]) == 0
    said = capsys.readouterr().out
    assert "not understood: cow; ...\n" in said
    for row, word in enumerate(("cat", "dog", "cow", "pig"), 1):
        assert f"reads p.txt:{row}: not understood: {word}\n" in said


def test_accept_only_judges_a_prompt_with_other_marks_by_the_same_reading(world_model):
    items, _ = items_of(asked(world_model, "RED circle moves left!!", accept_only=True))
    assert items[0].request.prompt == "RED circle moves left!!"
    with pytest.raises(Refusal, match=r"prompts:1: .*does not know 'cat'"):
        items_of(asked(world_model, "a red circle and a cat", accept_only=True))


def test_a_clip_that_shows_what_was_asked_is_not_rejected_for_a_mark():
    from video.engines.own import to_frames
    from video.files.clip import Clip
    from video.operations.table import OPERATIONS
    from video.request import VideoRequest
    from video.world.rendering import render
    from video.world.scenes import Scene, SceneObject

    thing = SceneObject("circle", "red", "large", "left", "normal", ((32.0, 32.0),), 11.0, 1.3)
    frames = to_frames(render([Scene("black", (thing,))]))
    clip = Clip(frames.numpy(), 8.0)
    judge = OPERATIONS["text_to_video"].judge
    verdict = judge(VideoRequest(prompt="RED circle moves left!!"), clip)
    assert verdict["shows"] == {"count": True, "color": True, "shape": True, "motion": True}
