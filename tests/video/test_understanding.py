"""Prompts as people type them: what is understood, corrected, left out and refused."""

from pathlib import Path
from random import Random

import pytest

from core.refusal import Refusal
from video.engines.served_prompts import knows_only_scenes, serve
from video.request import VideoRequest
from video.world import synonyms
from video.world.captions import caption
from video.world.prompts import Claims, ThingClaim, claims_of, lexicon, parse_caption
from video.world.spelling import distance
from video.world.understanding import VOCABULARY, check_servable, statements, understand
from video.world.world import draw_scene

ROOT = Path(__file__).parents[2]
WORLD = {"training": {"request": {"clips": ""}}}


def one(shape, color=None, motion=None, count=1, **more):
    return ThingClaim(count, shape, color, motion=motion, **more)


AS_TYPED = [
    ("RED circle!!", [one("circle", "red")]),
    ("three blue squares moving left slowly", [one("square", "blue", "left", 3, speed="slow")]),
    ("3 yellow triangles move up", [one("triangle", "yellow", "up", 3)]),
    ("Please draw me a tiny yellow star spinning", [one("star", "yellow", "spin", size="small")]),
    ("the two big boxes rise", [one("square", None, "up", 2, size="large")]),
    ("a red circle falls down", [one("circle", "red", "down")]),
    ("a red circle moves left very very slowly", [one("circle", "red", "left", speed="slow")]),
    ("a \u201cred\u201d circle (spinning)", [one("circle", "red", "spin")]),
    (
        "A red circle, a blue square, and a green star spin!",
        [
            one("circle", "red", "spin"),
            one("square", "blue", "spin"),
            one("star", "green", "spin"),
        ],
    ),
]


@pytest.mark.parametrize(("prompt", "things"), AS_TYPED)
def test_what_is_understood_whole_is_drawn_as_typed(prompt, things):
    reading = understand(prompt)
    assert (reading.prompt, reading.claims.things) == (prompt, tuple(things))
    assert reading.whole
    assert (reading.remarks(), reading.facts()) == ([], {})


CORRECTED = [
    ("two reed circels move lfet", "two red circles move left"),
    ("a gren sqaure spining", "a green square spinning"),
    ("two yelow star", "two yellow stars"),
    ("one red circles", "one red circle"),
    ("red circles move left", "two red circles move left"),
    ("a pair of orange balls bounce", "two orange balls bounce"),
    ("a red sphere flies to the left", "a red ball moves to the left"),
    ("a cyan donut jumps", "a cyan ring bounces"),
    ("a scarlet cube drops", "a red box falls"),
    ("a star spins on black", "a star spins on a black background"),
    ("a red circle doesn't move", "a red circle does not move"),
    ("the red ball is flying from left to right", "the red ball is moving to the right"),
    ("a slow green star moves up", "a green star slowly moves up"),
    ("two big quick red balls bounce", "two big red balls quickly bounce"),
    ("a blu sqare moves lef", "a blue square moves left"),
    ("🔴 moves left", "a red circle moves left"),
    ("two 🔵 move ⬅️", "two blue circles move left"),
    ("2 blue balls fly ⬅️", "2 blue balls move left"),
    ("🟥🟥 move up", "two red squares move up"),
    ("⭐➡️", "a yellow star moves right"),
]


@pytest.mark.parametrize(("prompt", "drawn"), CORRECTED)
def test_slips_and_words_of_the_same_meaning_are_corrected_and_said(prompt, drawn):
    reading = understand(prompt)
    assert reading.prompt == drawn
    assert reading.whole
    assert reading.facts()["prompt_as_typed"] == prompt
    assert all(line.startswith("read as: ") for line in reading.remarks())
    assert understand(drawn).corrections == ()
    assert understand(drawn).claims == reading.claims


def test_a_correction_names_what_was_typed_and_what_is_read():
    remarks = understand("two reed circels move left").remarks()
    assert remarks == ["read as: reed -> red", "read as: circels -> circles"]


LEFT_OUT = [
    ("a red ball falls down and bounces", ["bounces"], [one("circle", "red", "down")]),
    ("a red circle moves", ["moves"], [one("circle", "red")]),
    ("a small cat and a red circle", ["small cat"], [one("circle", "red")]),
    ("a red-blue circle", ["blue"], [one("circle", "red")]),
    ("a red and blue circle", ["red"], [one("circle", "blue")]),
    ("a big small star", ["small"], [one("star", size="large")]),
    ("a star moves left quickly slowly", ["slowly"], [one("star", None, "left", speed="fast")]),
    ("a red ball circles left", ["circles left"], [one("circle", "red")]),
    (
        "a red circle moves and a blue square moves left",
        ["moves"],
        [one("circle", "red"), one("square", "blue", "left")],
    ),
    (
        "a red circle moves left and a cat jumps",
        ["cat jumps"],
        [one("circle", "red", "left")],
    ),
    (
        "a red circle turns into a blue square",
        ["turns into"],
        [one("circle", "red"), one("square", "blue")],
    ),
    (
        "a big red circle and a small blue square swap places",
        ["swap places"],
        [one("circle", "red", size="large"), one("square", "blue", size="small")],
    ),
    (
        "the camera zooms in on a white triangle",
        ["camera zooms in on"],
        [one("triangle", "white")],
    ),
    (
        "Cinematic, ultra detailed masterpiece, 4k: a red circle",
        ["Cinematic", "ultra detailed masterpiece", "4k"],
        [one("circle", "red")],
    ),
    ("4 seconds of a red circle moving up", ["4 seconds"], [one("circle", "red", "up")]),
]


@pytest.mark.parametrize(("prompt", "missed", "things"), LEFT_OUT)
def test_what_is_not_understood_is_named_and_the_rest_is_drawn_as_typed(prompt, missed, things):
    reading = understand(prompt)
    assert [*reading.not_understood] == missed
    assert reading.claims == Claims(tuple(things))
    assert reading.prompt == prompt
    assert reading.facts() == {"not_understood": missed}
    assert reading.remarks() == [f"not understood: {', '.join(missed)}"]
    check_servable(reading, "scenes-64")
    with pytest.raises(Refusal, match=f"not understood: {missed[0]}"):
        check_servable(reading, "scenes-64", strict=True)


REFUSED = [
    ("a cat runs on the beach", "names no shape .* not understood: cat runs on, beach; "),
    ("a person waving hello", "names no shape"),
    ("a king moves left", "names no shape"),
    ("ein roter Kreis", "names no shape"),
    ("moves left", "names no shape"),
    ("!!!", "names no shape"),
    ("", "names no shape"),
    ("a circle that is not red", "negations such as 'not'"),
    ("no squares, only a green star", "negations such as 'no'"),
    ("a star without a ring", "negations such as 'without'"),
    ("a purple hexagon bouncing around the screen", "color 'purple'.*shape 'hexagon'"),
    ("a golden heart spinning", "color 'golden'.*shape 'heart'"),
    ("a small orange diamond moves right fast", "shape 'diamond'"),
    ("two hexgons", "shape 'hexagon'"),
    ("a black circle", "color 'black'"),
    ("🟣 moves left", "color 'purple'"),
    ("five green circles", "one to three things, not 'five'"),
    ("12 small stars", "one to three things, not '12'"),
    ("two circles and two squares", "one to three things, not 4"),
    ("many red circles", "one to three things, not 'many'"),
    ("a red circle on a white background", "no 'white' background, only black, gray"),
]


@pytest.mark.parametrize(("prompt", "reason"), REFUSED)
def test_what_cannot_be_shown_is_refused_by_name(prompt, reason):
    with pytest.raises(Refusal, match=reason) as refusal:
        check_servable(understand(prompt), "scenes-64")
    said = str(refusal.value)
    assert said.startswith(f"prompt {prompt!r}: ")
    assert "the model scenes-64 knows one to three things of the shapes circle, square" in said
    assert said.endswith("another model or engine for other subjects.")


def test_every_caption_is_understood_as_the_grammar_reads_it():
    dice = Random(5)
    for _ in range(300):
        scene = draw_scene(dice, count_shares=(1.0, 1.0, 1.0))
        sentence = caption(scene, dice)
        reading = understand(sentence)
        assert (reading.prompt, reading.whole) == (sentence, True)
        assert reading.claims == parse_caption(sentence)
        assert understand(sentence + "!").claims == reading.claims
    assert claims_of(scene)


def test_whatever_is_typed_is_read_and_reading_again_corrects_nothing():
    dice = Random(0)
    phrases = [" ".join(phrase) for phrase in lexicon()[0]]
    phrases += [*synonyms.SILENT, *synonyms.PICTURES, *synonyms.ARROWS, "cat", "seven", "heart"]
    for number in range(300):
        if number % 3:
            prompt = " ".join(dice.choice(phrases) for _ in range(dice.randint(1, 12)))
        else:
            blocks = ((32, 127), (128, 0x3000), (0x1F300, 0x1FA00))
            prompt = "".join(chr(dice.randrange(*dice.choice(blocks))) for _ in range(40))
        reading = understand(prompt)
        assert understand(reading.prompt).corrections == ()


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        ("", "red", 3),
        ("red", "red", 0),
        ("lfet", "left", 1),
        ("circel", "circle", 1),
        ("a", "b", 1),
    ],
)
def test_letters_missing_added_changed_or_swapped_are_counted(one, other, gap):
    assert distance(one, other) == distance(other, one) == gap


def test_the_form_names_every_word_of_the_vocabulary():
    said = VideoRequest.model_fields["prompt"].description or ""
    kinds = VOCABULARY.keys() - {"places", "motions"}
    words = {word for kind in kinds for word in VOCABULARY[kind]} - {"one", "two"}
    words |= {word.split()[0] for word in VOCABULARY["motions"]}
    assert [word for word in words if word not in said] == []


def test_card_and_documentation_list_the_vocabulary():
    rows = [f"| {kind} | {', '.join(words)} |\n" for kind, words in VOCABULARY.items()]
    for page in ("docs/prompts.md", "video/weights/scenes-64/CARD.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [row for row in rows if row not in text] == []


def test_claims_are_said_in_words():
    claims = understand("a red star above a ring on a gray background").claims
    assert statements(claims) == [
        "understood: count 1, shape star, color red",
        "understood: count 1, shape ring",
        "understood: the first is above the second",
        "understood: background gray",
    ]


@pytest.mark.parametrize(
    ("record", "only"),
    [
        (WORLD, True),
        ({"training": {"data": "the procedural world of video/world, drawn"}}, True),
        ({"training": {"request": {"clips": "my-clips"}}}, False),
        ({"training": {"data": "films"}}, False),
        ({}, False),
    ],
)
def test_a_record_says_whether_a_model_knows_only_scenes(record, only):
    assert knows_only_scenes(record) is only


def test_the_shipped_model_knows_only_scenes():
    from core.models.checkpoints import find_model, read_record

    assert knows_only_scenes(read_record(find_model("scenes-64", "video")))


def test_a_model_of_own_clips_takes_any_prompt_as_typed():
    request = VideoRequest(prompt="no reed cat")
    served = serve(request, {"training": {"request": {"clips": "my-clips"}}}, strict=True)
    assert (served.request, served.facts, served.remarks) == (request, {}, ())


def test_a_model_of_the_world_is_asked_the_corrected_prompt():
    served = serve(VideoRequest(prompt="two reed circels and a cat", seed=3), WORLD)
    assert served.request == VideoRequest(prompt="two red circles and a cat", seed=3)
    assert served.facts == {
        "prompt_as_typed": "two reed circels and a cat",
        "read_as": ["reed -> red", "circels -> circles"],
        "not_understood": ["cat"],
    }
    with pytest.raises(Refusal, match="negations"):
        serve(VideoRequest(prompt="no circle"), WORLD)


@pytest.mark.parametrize("mark", ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad"])
def test_a_mark_inside_a_word_that_nobody_sees_is_ignored(mark):
    found = understand(f"two re{mark}d cir{mark}cles move left")
    assert found.whole
    assert found.claims == understand("two red circles move left").claims


@pytest.mark.parametrize("number", ["3.5", "0.5", "2.0", "1,5"])
def test_a_broken_number_of_things_is_refused_whole(number):
    found = understand(f"{number} circles move left")
    assert found.refused == (f"there are one to three things, not {number!r}",)
