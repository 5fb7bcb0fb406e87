"""Scenes to sentences: a caption is drawn from the grammar, with paraphrases and omissions.

What a caption leaves out is free; what it says is true of the scene. `video.world.prompts` reads
the same grammar back.
"""

from dataclasses import dataclass
from random import Random

from video.world import wording
from video.world.scenes import Scene, SceneObject
from video.world.wording import inflect, plural

ARTICLE_AN = ("orange", "object")
COUNT_WORDS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Stated:
    """What a caption says of a scene; True means said."""

    colors: bool = True
    shapes: bool = True
    sizes: bool = True
    motions: bool = True
    speeds: bool = True
    background: bool = True
    place: bool = True


def draw_stated(dice: Random) -> Stated:
    """What a training caption says: shape, color and motion nearly always, the rest by halves."""
    return Stated(
        colors=dice.random() < 0.95,
        shapes=dice.random() < 0.96,
        sizes=dice.random() < 0.5,
        motions=dice.random() < 0.95,
        speeds=dice.random() < 0.5,
        background=dice.random() < 0.5,
        place=dice.random() < 0.75,
    )


def caption(scene: Scene, dice: Random, stated: Stated | None = None) -> str:
    """A sentence about a scene, such as `a red ball drifts to the left on a gray background`."""
    said = draw_stated(dice) if stated is None else stated
    sentence = _body(scene, dice, said)
    if not said.background:
        return sentence
    word = dice.choice(("background", "background", "backdrop"))
    prefix = dice.choice(("on", "on", "against"))
    ground = f"{prefix} a {dice.choice(wording.GROUNDS[scene.background])} {word}"
    return f"{ground}, {sentence}" if dice.random() < 0.2 else f"{sentence} {ground}"


def _body(scene: Scene, dice: Random, said: Stated) -> str:
    """The sentence without its background."""
    things = scene.objects
    nouns = [_noun(thing, dice, said) for thing in things]
    if len(things) == 1:
        verb = _verb(things[0], dice, said, _form(things[0].count > 1, dice))
        return f"{nouns[0]} {verb}".strip()
    place = scene.place(0, 1) if len(things) == 2 and said.place else None
    if place:
        relation = dice.choice(wording.RELATIONS[place])
        return f"{nouns[0]} {relation} {nouns[1]}{_after_place(things, dice, said)}"
    if not said.motions:
        return _listed(nouns)
    if _alike(things):
        return f"{_listed(nouns)} {_verb(things[0], dice, said, 'plural')}"
    form = "participle" if dice.random() < 0.25 else ""
    parts = [
        f"{noun} {_verb(thing, dice, said, form or _number(thing))}"
        for noun, thing in zip(nouns, things, strict=True)
    ]
    if len(parts) == 2 and dice.random() < 0.4:
        return " while ".join(parts)
    return _listed(parts)


def _after_place(things: tuple[SceneObject, ...], dice: Random, said: Stated) -> str:
    """The motions of two things whose relative place was just said."""
    if not said.motions:
        return ""
    if _alike(things):
        form = dice.choice(("plural", "participle"))
        return f", both {_verb(things[0], dice, said, form)}"
    if not said.colors:
        return ""
    parts = [f"the {thing.color} one {_verb(thing, dice, said, 'singular')}" for thing in things]
    return f", {parts[0]} and {parts[1]}"


def _noun(thing: SceneObject, dice: Random, said: Stated) -> str:
    """Such as `a small red circle` or `two blue stars`."""
    words = []
    if said.sizes and thing.motion not in ("grow", "shrink"):
        words.append(dice.choice(wording.ADJECTIVES[thing.size]))
    if said.colors:
        words.append(dice.choice(wording.HUES[thing.color]))
    noun = dice.choice(wording.NOUNS[thing.shape if said.shapes else ""])
    words.append(plural(noun) if thing.count > 1 else noun)
    number = COUNT_WORDS.get(thing.count) or ("an" if words[0] in ARTICLE_AN else "a")
    return " ".join((number, *words))


def _verb(thing: SceneObject, dice: Random, said: Stated, form: str) -> str:
    """Such as `moves left slowly` or `quickly spinning`; empty where motion is left out."""
    if not said.motions:
        return ""
    deeds = wording.DEEDS.get(thing.motion, ())
    ways = wording.WAYS.get(thing.motion, ())
    pace = ""
    if said.speeds and thing.speed:
        pace = dice.choice(wording.PACES[thing.speed])
    if ways and (not deeds or dice.random() < 0.7):
        verb, way = inflect(dice.choice(wording.TRAVEL), form), dice.choice(ways)
        if pace.endswith("ly") and dice.random() < 0.3:
            return f"{verb} {pace} {way}"
        phrase = f"{verb} {way}"
    else:
        phrase = inflect(dice.choice(deeds), form)
    if pace.endswith("ly") and dice.random() < 0.3:
        return f"{pace} {phrase}"
    return f"{phrase} {pace}".strip()


def _form(many: bool, dice: Random) -> str:
    """A verb form for a lone subject: finite three times in four."""
    if dice.random() < 0.25:
        return "participle"
    return "plural" if many else "singular"


def _number(thing: SceneObject) -> str:
    return "plural" if thing.count > 1 else "singular"


def _alike(things: tuple[SceneObject, ...]) -> bool:
    return len({(thing.motion, thing.speed) for thing in things}) == 1


def _listed(parts: list[str]) -> str:
    """`a and b`, or `a, b and c`."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
