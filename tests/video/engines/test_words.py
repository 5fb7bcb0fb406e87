"""Prompts that are too long, and words that a clip is led away from."""

import numpy as np
import pytest

from core.refusal import Refusal
from video.change_request import EditRequest
from video.engines.engine import never
from video.engines.shelf import engine_of, find_engine
from video.engines.words import count_tokens
from video.request import VideoRequest

NAME = "cogvideox"


def asked(name=NAME, **changes):
    told = {"prompt": "a cat", "engine": name, "steps": 2, "num_frames": 8}
    return VideoRequest.model_validate(told | {"height": 16, "width": 16} | changes)


def drawn(request):
    engine = engine_of(request)
    engine.check(request)
    loaded = engine.ready(engine.load("cpu"))
    settled = engine.settled(request)
    latents = loaded.denoise(settled, None, lambda *_: None, never)
    engine.forget(request)
    return loaded.decode(settled, latents)


@pytest.mark.parametrize("field", ["prompt", "negative"])
def test_what_would_be_cut_is_refused(made, field):
    folder = made(NAME)
    engine = find_engine(NAME)
    most = engine.rules.tokens
    assert most == 16
    fits = next(
        "x" * n for n in range(40, 0, -1) if count_tokens(folder / "tokenizer", "x" * n) == most
    )
    engine.check(asked(**{field: fits}))
    with pytest.raises(
        Refusal, match=f"{field}=x.*: {field} has 17 tokens, .* reads 16 .*shorten"
    ):
        engine.check(asked(**{field: fits + "x"}))


@pytest.mark.parametrize("text", ["a cat", "", "two dogs, and  a Fox!", "\ufdfa \u00e9\u4e2d"])
def test_tokens_are_those_of_the_library(made, text):
    import transformers

    folder = made(NAME) / "tokenizer"
    library = transformers.T5Tokenizer.from_pretrained(str(folder), local_files_only=True)
    assert count_tokens(folder, text) == len(library(text)["input_ids"])


def test_a_folder_without_one_file_is_counted_by_the_library(made):
    from video.engines import skeleton

    folder = made(NAME) / "tokenizer"
    count = skeleton.count_by_library(folder, "a cat")
    assert count == count_tokens(folder, "a cat")


def test_a_tokenizer_that_says_its_own_limit_is_believed(made, tmp_path):
    from video.engines.words import longest_text

    assert longest_text(made(NAME) / "tokenizer") == 512
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    assert longest_text(tmp_path) == 0


def test_a_clip_is_led_away_from_what_is_named(made):
    made(NAME)
    plain, led = drawn(asked()), drawn(asked(negative="a dog"))
    assert not np.array_equal(plain.frames, led.frames)


def test_what_would_count_for_nothing_is_refused(made):
    made(NAME)
    with pytest.raises(Refusal, match=r"negative=a dog with guidance=1: .*above 1"):
        find_engine(NAME).check(asked(negative="a dog", guidance=1.0))
    with pytest.raises(ValueError, match="negative=a dog: our own model knows no negative"):
        EditRequest.model_validate({"clip": "a.mp4", "prompt": "a star", "negative": "a dog"})


def test_an_empty_field_is_not_told(made):
    assert "negative" not in asked().model_dump()
    assert asked(negative="a dog").model_dump()["negative"] == "a dog"
    assert "negative" not in VideoRequest.model_validate({"prompt": "a star"}).model_dump()


def test_an_engine_whose_second_guidance_is_off_knows_no_negative(made):
    made("hunyuan_video")
    engine = find_engine("hunyuan_video")
    assert "negative" not in engine.abilities
    with pytest.raises(Refusal, match="negative: the engine hunyuan_video knows no negative"):
        engine.check(asked("hunyuan_video", num_frames=9, negative="a dog"))
    assert engine.rules.tokens == 256
