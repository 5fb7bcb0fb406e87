"""Words beside the grammar of the captions: what they mean in it, and what has no meaning there.

The model learned the words of `video.world.wording`. Here stand words that people use for the
same things, words that say nothing of a scene, and names of what the model never saw.
"""

from typing import Final

from video.world.wording import DEEDS, FORMS, GROUNDS, TRAVEL, inflect, plural


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAME_NOUNS: Final = {
    "sphere": "ball",
    "orb": "ball",
    "dot": "disc",
    "disk": "disc",
    "cube": "box",
    "donut": "ring",
    "doughnut": "ring",
    "torus": "ring",
    "plus": "plus sign",
}
SAME_VERBS: Final = {
    "fly": "move",
    "roll": "move",
    "run": "move",
    "walk": "move",
    "swim": "move",
    "shift": "move",
    "head": "move",
    "sweep": "move",
    "scroll": "move",
    "jump": "bounce",
    "hop": "bounce",
    "move up and down": "bounce",
    "drop": "fall",
    "descend": "fall",
    "ascend": "rise",
    "twirl": "spin",
    "whirl": "spin",
    "revolve": "orbit",
    "get larger": "get bigger",
    "enlarge": "grow",
    "stay": "stay still",
    "remain still": "stay still",
}
SAME_WORDS: Final = {
    "crimson": "red",
    "scarlet": "red",
    "aqua": "cyan",
    "fuchsia": "magenta",
    "giant": "huge",
    "enormous": "huge",
    "gigantic": "huge",
    "mini": "tiny",
    "medium sized": "medium",
    "leftwards": "leftward",
    "rightwards": "rightward",
    "to left": "to the left",
    "to right": "to the right",
    "towards left": "toward the left",
    "towards right": "toward the right",
    "towards the": "toward the",
    "from left to right": "to the right",
    "left to right": "to the right",
    "from right to left": "to the left",
    "right to left": "to the left",
    "from top to bottom": "down",
    "from bottom to top": "up",
    "in circles": "in a circle",
    "on the left of": "to the left of",
    "on the right of": "to the right of",
    "swiftly": "quickly",
    "speedily": "quickly",
    "a pair of": "two",
    "a couple of": "two",
    "a single": "a",
    "several": "three",
    "a few": "three",
    "don't": "do not",
    "doesn't": "does not",
}
BEFORE_GROUND: Final = (
    "",
    "on ",
    "on the ",
    "with a ",
    "over the ",
    "against the ",
    "in front of a ",
)
AFTER_GROUND: Final = (" background", " backdrop")
IRREGULAR_FORMS: Final = {
    "fly": ("flies", "flying"),
    "run": ("runs", "running"),
    "swim": ("swims", "swimming"),
    "hop": ("hops", "hopping"),
    "drop": ("drops", "dropping"),
    "whirl": ("whirls", "whirling"),
    "revolve": ("revolves", "revolving"),
    "enlarge": ("enlarges", "enlarging"),
}
EMOJI: Final = {
    **dict(
        zip("🔴🟠🟡🟢🔵⚪", ("red", "orange", "yellow", "green", "blue", "white"), strict=True)
    ),
    **dict(zip("🟣🟤⚫", ("purple", "brown", "black"), strict=True)),
}
"""Discs by their color."""
BLOCKS: Final = dict(
    zip(
        "🟥🟧🟨🟩🟦⬜🟪🟫⬛",
        ("red", "orange", "yellow", "green", "blue", "white", "purple", "brown", "black"),
        strict=True,
    )
)
PICTURES: Final = {
    **{sign: f"{color} circle" for sign, color in EMOJI.items()},
    **{sign: f"{color} square" for sign, color in BLOCKS.items()},
    "⭐": "yellow star",
    "🌟": "yellow star",
    "★": "star",
    "☆": "star",
    "🔺": "red triangle",
    "▲": "triangle",
    "■": "square",
    "●": "circle",
    "⭕": "red ring",
    "❌": "red cross",
    "✚": "cross",
    "\u2795": "cross",
    "❤": "red heart",
    "🔷": "blue diamond",
    "🔶": "orange diamond",
}
ARROWS: Final = {
    "⬅": "left",
    "←": "left",
    "➡": "right",
    "→": "right",
    "⬆": "up",
    "↑": "up",
    "⬇": "down",
    "↓": "down",
}
INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff"
"""Marks without a shape of their own, such as the one that gives a sign its colors."""

SILENT: Final = _words(
    "please show me make draw generate create animate render of is are was were be it its that "
    "which who where very with the a an then so just there here video clip animation movie scene "
    "picture image colored coloured only i want would like to see"
)
"""Words that state nothing; left out without a word."""
PACES: Final = {"slow": "slowly", "fast": "quickly", "quick": "quickly", "rapid": "rapidly"}
"""How a thing is described that moves so."""
BREAKS: Final = frozenset({"with", "then", "but", "as", "also"})
NEGATIONS: Final = _words(
    "no not none never nothing neither nor without isn't aren't doesn't don't won't cannot can't "
    "except"
)
UNKNOWN_SHAPES: Final = _words(
    "heart diamond rhombus rectangle hexagon pentagon octagon heptagon oval ellipse arrow "
    "crescent cylinder cone pyramid spiral trapezoid parallelogram polygon semicircle kite"
)
UNKNOWN_COLORS: Final = _words(
    "purple violet indigo pink brown gold golden silver beige maroon teal turquoise olive "
    "lavender lilac bronze ivory black gray grey navy rainbow multicolored multicolor"
)
"""Colors that no thing has; some of them are backgrounds."""
BEYOND: Final = _words(
    "zero four five six seven eight nine ten eleven twelve dozen dozens hundred hundreds thousand "
    "thousands many lots countless"
)


def same_phrases() -> dict[str, str]:
    """Every phrase with a meaning in the grammar, and the grammar's own words for it."""
    phrases = dict(SAME_WORDS)
    for noun, meant in SAME_NOUNS.items():
        phrases |= {noun: meant, _plural(noun): plural(meant)}
    for verb, meant in SAME_VERBS.items():
        for form in FORMS:
            phrases[_inflect(verb, form)] = inflect(meant, form)
    for hue in (hue for hues in GROUNDS.values() for hue in hues):
        said = (f"{lead}{hue}{end}" for lead in BEFORE_GROUND for end in AFTER_GROUND)
        phrases |= dict.fromkeys(said, f"on a {hue} background")
        phrases |= {
            f"on {hue}": f"on a {hue} background",
            f"on a plain {hue} background": f"on a {hue} background",
        }
    known = {inflect(deed, form) for form in FORMS for deeds in DEEDS.values() for deed in deeds}
    known |= {inflect(verb, form) for form in FORMS for verb in TRAVEL}
    return {phrase: meant for phrase, meant in phrases.items() if phrase not in known}


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def _inflect(phrase: str, form: str) -> str:
    verb, _, rest = phrase.partition(" ")
    if verb in IRREGULAR_FORMS and form != "plural":
        verb = IRREGULAR_FORMS[verb][0 if form == "singular" else 1]
        return f"{verb} {rest}".strip()
    return inflect(phrase, form)
