"""The words of the captions: every way the grammar can say a thing.

One table per attribute, shared by the writer (`video.world.captions`) and the reader
(`video.world.prompts`), so that whatever is written can be read back.
"""

from typing import Final

FORMS: Final = ("plural", "singular", "participle")
"""Of a verb: they move, it moves, moving."""
NUMBERS: Final[dict[str, int]] = {"one": 1, "a": 1, "an": 1, "two": 2, "three": 3}
NOUNS: Final[dict[str, tuple[str, ...]]] = {
    "circle": ("circle", "circle", "ball", "disc"),
    "square": ("square", "square", "box", "block"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross", "cross", "plus sign"),
    "ring": ("ring", "ring", "hoop"),
    "": ("shape", "object"),
}
"""Nouns of each shape; the empty name stands for a shape left open."""
ADJECTIVES: Final[dict[str, tuple[str, ...]]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "medium-sized"),
    "large": ("large", "big", "huge"),
}
HUES: Final[dict[str, tuple[str, ...]]] = {
    name: (name,)
    for name in ("red", "green", "blue", "yellow", "magenta", "cyan", "white", "orange")
}
GROUNDS: Final[dict[str, tuple[str, ...]]] = {
    "black": ("black",),
    "gray": ("gray", "grey"),
    "navy": ("navy", "dark blue"),
    "dark green": ("dark green",),
}
TRAVEL: Final = ("move", "move", "drift", "slide", "glide", "travel", "go", "float")
"""Verbs that need a way to go."""
WAYS: Final[dict[str, tuple[str, ...]]] = {
    "left": ("left", "to the left", "toward the left", "leftward"),
    "right": ("right", "to the right", "toward the right", "rightward"),
    "up": ("up", "upward", "upwards", "toward the top"),
    "down": ("down", "downward", "downwards", "toward the bottom"),
    "up left": ("up and left", "diagonally up and to the left", "toward the upper left"),
    "up right": ("up and right", "diagonally up and to the right", "toward the upper right"),
    "down left": ("down and left", "diagonally down and to the left", "toward the lower left"),
    "down right": ("down and right", "diagonally down and to the right", "toward the lower right"),
    "orbit": ("in a circle", "around in a circle", "along a circular path"),
}
"""Ways to go; a way is said after a verb of `TRAVEL`."""
DEEDS: Final[dict[str, tuple[str, ...]]] = {
    "up": ("rise", "climb"),
    "down": ("fall", "sink"),
    "bounce": ("bounce", "bounce up and down", "hop up and down"),
    "orbit": ("orbit", "loop around"),
    "spin": ("spin", "rotate", "spin in place", "turn in place"),
    "grow": ("grow", "get bigger", "expand", "grow larger"),
    "shrink": ("shrink", "get smaller", "contract"),
    "stay": ("stay still", "stand still", "stay in place", "do not move", "remain motionless"),
}
"""Verb phrases that say the whole motion; the first word is the verb."""
PACES: Final[dict[str, tuple[str, ...]]] = {
    "slow": ("slowly", "slowly", "at a slow pace"),
    "normal": ("at a normal speed", "steadily"),
    "fast": ("quickly", "fast", "rapidly", "at high speed"),
}
RELATIONS: Final[dict[str, tuple[str, ...]]] = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
IRREGULAR: Final[dict[str, tuple[str, str]]] = {
    "move": ("moves", "moving"),
    "slide": ("slides", "sliding"),
    "glide": ("glides", "gliding"),
    "go": ("goes", "going"),
    "rise": ("rises", "rising"),
    "bounce": ("bounces", "bouncing"),
    "hop": ("hops", "hopping"),
    "spin": ("spins", "spinning"),
    "rotate": ("rotates", "rotating"),
    "get": ("gets", "getting"),
    "do": ("does", "doing"),
}
"""Verbs whose (singular, participle) are not made by adding s and ing."""


def plural(noun: str) -> str:
    """More than one of a noun."""
    return noun + ("es" if noun.endswith(("x", "ss")) else "s")


def inflect(phrase: str, form: str) -> str:
    """A verb phrase in a form: `plural` (move), `singular` (moves) or `participle` (moving).

    `do not move` has the participle `not moving`.
    """
    if form == "plural":
        return phrase
    if phrase == "do not move" and form == "participle":
        return "not moving"
    verb, _, rest = phrase.partition(" ")
    singular, participle = IRREGULAR.get(verb, (verb + "s", verb + "ing"))
    return f"{singular if form == 'singular' else participle} {rest}".strip()
