"""Prompts as people type them: lists of colors, signs, other languages, colors of other things."""

import pytest

from video.world.understanding import understand

READ_AS = [
    ("red, green and blue circles", "a red circle, a green circle and a blue circle"),
    ("the red & blue circles spin", "a red circle and a blue circle spin"),
    (
        "two small red and green squares move left",
        "a small red square and a small green square move left",
    ),
    ("three red, green, and blue stars", "a red star, a green star and a blue star"),
    ("two 🔺 triangles going up", "two red triangles going up"),
    ("🔴🔴 circles move up", "two red circles move up"),
    ("❌❌ spin", "two red crosses spin"),
]


@pytest.mark.parametrize(("prompt", "read"), READ_AS)
def test_a_prompt_is_read_as_it_is_meant(prompt, read):
    reading = understand(prompt)
    assert reading.prompt == read
    assert reading.whole
    assert understand(read).prompt == read


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("four red and blue circles", "not 'four'"),
        ("red, green, blue and white circles", "not 4"),
        ("a purple glowing bouncing circle", "color 'purple'"),
        ("a circle that is golden and shiny", "color 'golden'"),
        ("a gray metallic circle", "color 'gray'"),
    ],
)
def test_what_the_world_lacks_is_still_refused(prompt, reason):
    assert reason in "; ".join(understand(prompt).refused)


def test_the_color_of_what_is_unknown_is_named_and_not_refused():
    reading = understand("golden hour, 8k: two stars drift down across a deep navy sky")
    assert reading.refused == ()
    assert reading.not_understood == ("golden hour", "8k", "across", "deep navy sky")
    assert reading.claims.things[0].shape == "star"


@pytest.mark.parametrize("prompt", ["ein großes grünes Quadrat", "красный круг", "赤い丸"])
def test_words_of_other_languages_are_not_taken_for_slips(prompt):
    assert understand(prompt).corrections == ()


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("three red and blue circles", ("red",)),
        ("two red, green and blue circles", ("red", "green")),
        ("a red, green and blue squares", ("red", "green")),
        ("three very red and blue circles", ("red",)),
    ],
)
def test_a_list_whose_number_is_not_that_of_its_colors_is_told(prompt, left):
    assert understand(prompt).not_understood == left
