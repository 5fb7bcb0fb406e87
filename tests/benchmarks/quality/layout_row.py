"""What comes of the layouts and what of the painting: either is replaced by the truth."""

from dataclasses import replace

from tests.benchmarks.quality.cases import SHIPPED, Setting
from tests.benchmarks.quality.clips import ONE, THREE, TWO, WAYS, Asked, Outcome, outcomes, shipped
from tests.benchmarks.quality.video_rows import axes_table
from tests.benchmarks.results import Row

PROMPTS = 200


def layouts(setting: Setting) -> Row:
    """The same prompts and noise with layouts drawn, given, painted exactly, and left out."""
    network = shipped().network
    if network.layouts is None:
        raise ValueError(
            f"{SHIPPED['video']} draws no layouts: this row is about what they are worth; leave "
            "it out."
        )
    found = {
        f"{asked.name}, {way}": _without_ground(setting, asked, way)
        for asked in (ONE, TWO, THREE)
        for way in WAYS
    }
    return Row(
        title="Video: layouts and painting",
        protocol=f"The first {PROMPTS} prompts of each set above, the same noise, 4 steps. A "
        "small network draws the layout of a prompt (place, size, turn, color and shape of each "
        "thing in each frame), up to eight times where things come too near each other; the "
        "large one paints the clip after it. Painted exactly: the "
        "world's own renderer shows what the drawn layout says, so that its errors are those of "
        "the layouts. "
        "True layouts: those of the scene that the caption was written for, so that the errors "
        "are those of the painting. Without layouts: the large network is told the prompt alone. "
        "Backgrounds, of which layouts say nothing, are not counted.",
        tables=[axes_table(found)],
    )


def _without_ground(setting: Setting, asked: Asked, way: str) -> list[Outcome]:
    found = outcomes(setting, asked, number=PROMPTS, way=way)
    return [
        replace(o, verdict={axis: hit for axis, hit in o.verdict.items() if axis != "background"})
        for o in found
    ]
