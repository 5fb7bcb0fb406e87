"""Clips whose things are off the boxes that a person drew are painted once more, nearer."""

import json

import numpy as np
import pytest
from PIL import Image

from video.engines.engine import StoppedError, never
from video.engines.held_boxes import HELD, held_to_boxes, overlap, read_back
from video.engines.laid_boxes import boxed_things
from video.engines.own import sample, to_frames
from video.engines.shelf import engine_of
from video.operations.table import OPERATIONS
from video.request import VideoRequest

ROUND = {  # goes around, as straight lines between frames that are named
    "0": [19.5, 49.42, 28.92, 58.85],
    "5": [21.34, 27.07, 30.76, 36.49],
    "10": [14.09, 48.29, 23.51, 57.72],
    "15": [26.31, 29.49, 35.73, 38.91],
}
STILL = {"0": [24, 24, 40, 40]}


@pytest.fixture(scope="module")
def loaded():
    engine = engine_of(VideoRequest(prompt="a cyan square", seed=0))
    return engine.ready(engine.load("cpu"))


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))

    def request(boxes=ROUND, **changes):
        file = tmp_path / "boxes.json"
        thing = {"shape": "square", "color": "cyan", "boxes": boxes}
        file.write_text(json.dumps({"things": [thing]}))
        told = {"prompt": "a cyan square moving along a circular path", "boxes": str(file)}
        found = VideoRequest.model_validate({**told, "seed": 11, **changes})
        OPERATIONS["text_to_video"].check(found)
        return engine_of(found).settled(found)

    return request


def drawn(request, loaded, on_step=lambda *_: None, stop=never):
    prepared = loaded.engine.encode(request)
    return loaded.decode(request, loaded.denoise(request, prepared, on_step, stop))


def first_painting(request, loaded):
    """As it is without being held to anything."""
    cond = loaded.engine.encode(request)
    return to_frames(sample(request, cond, loaded.model.network, loaded.model.record)).numpy()


def least(request, frames):
    return min(read_back(boxed_things(request), frames)[0])


def stopping_after(steps):
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > steps

    return stop


def test_a_thing_that_is_off_its_boxes_is_painted_again(asked, loaded):
    request, steps = asked(), []
    before = least(request, first_painting(request, loaded))
    assert before < HELD
    clip = drawn(request, loaded, lambda *news: steps.append(news[:2]))
    assert least(request, clip.frames) >= HELD
    told = clip.facts["painted_again"]
    assert told["before"] == pytest.approx(before, abs=1e-4)
    assert told["overlap"] == pytest.approx(least(request, clip.frames), abs=1e-4)
    assert steps == [(n, request.steps) for n in range(1, request.steps + 1)]
    assert np.array_equal(drawn(request, loaded).frames, clip.frames)


def test_a_clip_whose_things_are_in_their_boxes_is_what_it_was(asked, loaded):
    request = asked(STILL, prompt="a cyan square stays")
    clip = drawn(request, loaded)
    assert np.array_equal(clip.frames, first_painting(request, loaded))
    assert "painted_again" not in clip.facts


def test_a_draft_is_painted_once_and_gone_on_from(asked, loaded):
    request = asked()
    whole = drawn(request, loaded)
    draft = drawn(request.model_copy(update={"draft_after": 2}), loaded)
    assert "painted_again" not in draft.facts
    final = drawn(request, loaded)
    assert final.facts["resumed_at_step"] == 2
    assert np.array_equal(final.frames, whole.frames)


def test_given_frames_stay_and_a_kill_while_painting_again_changes_nothing(
    asked, loaded, tmp_path
):
    picture = first_painting(asked(), loaded)[8].copy()
    picture[0, 0] = 1, 2, 3
    Image.fromarray(picture).save(tmp_path / "key.png")
    request = asked(key=[f"8={tmp_path / 'key.png'}"])
    whole = drawn(request, loaded)
    assert whole.facts["painted_again"]["overlap"] > whole.facts["painted_again"]["before"]
    assert np.array_equal(whole.frames[8], picture)
    loaded.engine.forget(request)
    with pytest.raises(StoppedError):
        drawn(request, loaded, stop=stopping_after(request.steps + 1))
    steps = []
    again = drawn(request, loaded, lambda *news: steps.append(news[0]))
    assert steps == [request.steps]
    assert np.array_equal(again.frames, whole.frames)
    loaded.engine.forget(request)


def test_another_painting_stands_only_where_it_is_nearer_and_its_count_is_right(asked, loaded):
    request = asked()
    first, empty = first_painting(request, loaded), np.zeros((16, 64, 64, 3), np.uint8)
    for other in (first, empty):
        found = held_to_boxes(request, first, lambda _: other, lambda x: x)  # noqa: B023
        assert found[0] is first
        assert found[1] == {}
    empty_first = held_to_boxes(request, empty, lambda _: first, lambda x: x)
    assert empty_first[0] is empty  # nothing tells what is off


def test_overlap_is_intersection_over_union():
    one, other = np.array([[0.0, 0.0, 2.0, 2.0]] * 2), np.array([[1.0, 0.0, 3.0, 2.0]] * 2)
    assert overlap(one, other) == pytest.approx(1 / 3)
    assert overlap(one, one) == 1
    assert overlap(one, other + 5) == 0
