"""What a caption says is true of its scene, and can be read back."""

import re
from dataclasses import fields
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video.world import wording
from video.world.captions import Stated, caption
from video.world.prompts import Claims, ThingClaim, claims_of, parse_caption
from video.world.scenes import (
    BACKGROUNDS,
    COLORS,
    MOTIONS,
    SHAPES,
    SIZES,
    SPEEDS,
    Scene,
    SceneObject,
)
from video.world.splits import SPLITS
from video.world.world import draw_scene

SILENT = Stated(
    colors=False,
    shapes=False,
    sizes=False,
    motions=False,
    speeds=False,
    background=False,
    place=False,
)


def thing(**changes) -> SceneObject:
    words = {"shape": "circle", "color": "red", "size": "small", "motion": "left", "speed": "slow"}
    return SceneObject(
        **words | {"centers": ((32.0, 32.0),), "radius": 5.5, "rate": 0.6} | changes
    )


def agrees(claims: Claims, scene: Scene) -> bool:
    """Whether every claim is true of the scene."""
    full = claims_of(scene)
    pairs = [(claims.place, full.place), (claims.background, full.background)]
    for said, true in zip(claims.things, full.things, strict=True):
        pairs += [(getattr(said, f.name), getattr(true, f.name)) for f in fields(said)]
    return all(said in (None, true) for said, true in pairs)


@settings(max_examples=150)
@given(seed=st.integers(0, 2**62), split=st.sampled_from(SPLITS))
def test_a_caption_read_back_agrees_with_its_scene(seed, split):
    dice = Random(seed)
    scene = draw_scene(dice, split=split, count_shares=(1.0, 1.0, 1.0))
    sentence = caption(scene, dice)
    assert agrees(parse_caption(sentence), scene), sentence
    assert len(sentence.split()) <= 42


@settings(max_examples=100)
@given(seed=st.integers(0, 2**62))
def test_a_full_caption_states_everything_of_a_lone_thing(seed):
    dice = Random(seed)
    scene = draw_scene(dice, count_shares=(1.0, 0.0, 0.0))
    assert parse_caption(caption(scene, dice, Stated())) == claims_of(scene)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**62))
def test_a_silent_caption_states_only_how_many(seed):
    dice = Random(seed)
    scene = draw_scene(dice, count_shares=(1.0, 1.0, 1.0))
    counts = tuple(ThingClaim(count=thing.count) for thing in scene.objects)
    assert parse_caption(caption(scene, dice, SILENT)) == Claims(things=counts)


def test_every_word_of_the_tables_is_written_and_read():
    dice = Random(0)
    scenes = [draw_scene(dice, count_shares=(1.0, 1.0, 1.0)) for _ in range(600)]
    text = " | ".join(caption(scene, dice) for scene in scenes)
    for table in (wording.ADJECTIVES, wording.HUES, wording.GROUNDS, wording.PACES):
        for words in table.values():
            for word in words:
                assert word in text


def test_the_tables_cover_the_world():
    assert set(wording.NOUNS) == {*SHAPES, ""}
    assert set(wording.HUES) == set(COLORS)
    assert set(wording.ADJECTIVES) == set(SIZES)
    assert set(wording.GROUNDS) == set(BACKGROUNDS)
    assert set(wording.PACES) == set(SPEEDS)
    assert set(wording.WAYS) | set(wording.DEEDS) == set(MOTIONS)


def test_captions_of_one_scene_differ():
    scene = Scene("gray", (thing(),))
    dice = Random(0)
    assert len({caption(scene, dice) for _ in range(60)}) > 30


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        (
            "a small red circle moves left",
            Claims((ThingClaim(1, "circle", "red", "small", "left"),)),
        ),
        ("Two red circles move left.", Claims((ThingClaim(2, "circle", "red", None, "left"),))),
        (
            "a red ball drifts to the left slowly on a gray background",
            Claims((ThingClaim(1, "circle", "red", None, "left", "slow"),), background="gray"),
        ),
        (
            "a red circle left of a blue square, both moving up",
            Claims(
                (
                    ThingClaim(1, "circle", "red", motion="up"),
                    ThingClaim(1, "square", "blue", motion="up"),
                ),
                place="left of",
            ),
        ),
        (
            "a red star above a white ring, the white one spins and the red one moves quickly up",
            Claims(
                (
                    ThingClaim(1, "star", "red", motion="up", speed="fast"),
                    ThingClaim(1, "ring", "white", motion="spin"),
                ),
                place="above",
            ),
        ),
        (
            "a clip of 3 big stars rotating",
            Claims((ThingClaim(3, "star", None, "large", "spin"),)),
        ),
        (
            "a cross and two cyan boxes fall",
            Claims(
                (
                    ThingClaim(1, "cross", motion="down"),
                    ThingClaim(2, "square", "cyan", motion="down"),
                )
            ),
        ),
        (
            "a red circle left of a blue square moves up",
            Claims(
                (ThingClaim(1, "circle", "red", motion="up"), ThingClaim(1, "square", "blue")),
                place="left of",
            ),
        ),
    ],
)
def test_prompts_are_read_as_a_reader_would(text, claims):
    assert parse_caption(text) == claims


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a purple circle", "does not know 'purple'"),
        ("two red circle", "the number 2 and its noun do not agree"),
        ("a red circle moves", "stops in the middle"),
        ("a red", "stops in the middle"),
        ("a red circle left", "needs a verb"),
        ("moves left", "a thing of its own"),
        ("a circle spins, both spin", "one thing only"),
        ("a two circles", "one number"),
        ("two circles and two squares", "one to three things"),
        ("", "one to three things"),
        ("a red circle left of", "needs a second thing"),
        ("left of a red circle", "between the first and the second"),
        ("a red circle and a blue square, the green one spins", "exactly one thing"),
    ],
)
def test_what_the_grammar_does_not_know_is_refused_in_three_parts(text, rule):
    with pytest.raises(ValueError, match=re.escape(rule)) as refusal:
        parse_caption(text)
    came, way_out = str(refusal.value).split(": ", 1)
    assert came == f"prompt {text!r}"
    assert "write such as 'two small red circles move left slowly" in way_out


@pytest.mark.parametrize(
    ("phrase", "singular", "participle"),
    [
        ("move", "moves", "moving"),
        ("get bigger", "gets bigger", "getting bigger"),
        ("do not move", "does not move", "not moving"),
        ("spin in place", "spins in place", "spinning in place"),
    ],
)
def test_verbs_are_inflected(phrase, singular, participle):
    assert wording.inflect(phrase, "plural") == phrase
    assert wording.inflect(phrase, "singular") == singular
    assert wording.inflect(phrase, "participle") == participle


def test_nouns_have_plurals():
    assert [wording.plural(noun) for noun in ("star", "box", "cross")] == [
        "stars",
        "boxes",
        "crosses",
    ]
