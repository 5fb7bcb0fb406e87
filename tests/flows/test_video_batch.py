import json

import pytest

from flows import video_batch
from flows._requests import VideoBatchRequest
from flows.video_batch import clip_path, generate, prepare
from video.clip import read_metadata

PROMPTS = """
# tonight
two red circles move left
a blue square stays   # the easy one

two red circles move left
"""


@pytest.fixture
def batch(places):
    path = places / "prompts.txt"
    path.write_text(PROMPTS)
    return VideoBatchRequest(prompt_file=str(path), num_frames=2, steps=1, model="tiny-video")


@pytest.fixture
def meter(monkeypatch):
    steps = []

    class Meter:
        def __init__(self, key):
            pass

        def __call__(self, done, total, note=""):
            steps.append((done, total))

    monkeypatch.setattr(video_batch, "ArtifactMeter", Meter)
    return steps


def test_a_prompt_is_a_line_without_its_comment(batch):
    prompts = [request.prompt for request in prepare.fn(batch)]
    assert prompts == [
        "two red circles move left",
        "a blue square stays",
        "two red circles move left",
    ]


def test_what_stands_is_skipped_and_what_is_missing_is_made(batch, places, meter):
    requests = prepare.fn(batch)[:2]
    folder = places / "batch"
    folder.mkdir()
    assert generate.fn(requests, folder) == 2
    assert meter == [(1, 2), (2, 2)]
    first, second = (clip_path(request, folder) for request in requests)
    assert read_metadata(second)["prompt"] == "a blue square stays"
    stamp = first.stat().st_mtime_ns
    second.with_suffix(".json").unlink()  # as if the night had ended there
    assert generate.fn(requests, folder) == 1
    assert first.stat().st_mtime_ns == stamp
    assert json.loads(second.with_suffix(".json").read_text())["task"] == "text_to_video"
    assert generate.fn(requests, folder) == 0


def test_a_prompt_said_twice_is_made_once(batch, places, meter):
    folder = places / "batch"
    folder.mkdir()
    twice = [prepare.fn(batch)[0]] * 2
    assert generate.fn(twice, folder) == 1


def test_another_seed_is_another_clip(batch, places):
    one = batch.request("x")
    other = batch.model_copy(update={"seed": 1}).request("x")
    assert clip_path(one, places) != clip_path(other, places)
    assert clip_path(one, places) == clip_path(batch.request("x"), places)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no such file; write"), ("\n# nothing\n", "it holds no prompt, .*; write")],
)
def test_a_batch_without_prompts_is_refused(places, content, words):
    path = places / "p.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=words):
        prepare.fn(VideoBatchRequest(prompt_file=str(path)))
