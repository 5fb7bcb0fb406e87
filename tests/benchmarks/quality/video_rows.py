"""Text to video: how often clips show what the prompt says, by axis, motion and steps."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.benchmarks.intervals import wilson
from tests.benchmarks.quality import plots
from tests.benchmarks.quality.cases import Setting
from tests.benchmarks.quality.clips import (
    ONE,
    SEEN,
    STEPS,
    THREE,
    TWO,
    Outcome,
    outcomes,
)
from tests.benchmarks.results import Figure, Row, Table
from video.world.scenes import MOTIONS

TARGETS = {"count": 0.95, "color": 0.95, "shape": 0.95, "size": 0.95, "motion": 0.92,
           "speed": 0.92}  # fmt: skip
SHOWN = (*TARGETS, "place", "binding", "background", "everything")
SIDE_BY_SIDE = ("motion", "speed", "shape")
BINDING = 0.90
STUCK = 0.002
CURVE = (1, 2, 4, 8, 16, 32)
CURVE_PROMPTS = 200

PROTOCOL = (
    "Prompts are captions of scenes drawn from the procedural world (seed 1), sampled with the "
    "request's defaults (4 steps) at 16 frames of 64 x 64; the noise of prompt i comes from "
    "(seed 1, i). The oracle (`video/oracle/oracle.py`) reads the frames, before the codec, "
    "without knowing the prompt; a prompt counts on an axis only if it states it. "
    "Intervals: Wilson."
)
HELD_OUT = (
    "Held out are the combinations of the fixed rule in `video/world/splits.py`, one in ten."
)


def one(setting: Setting) -> Row:
    """Single objects in combinations that training never drew."""
    found, seen = outcomes(setting, ONE), outcomes(setting, SEEN)
    figures = [
        share_figure(f"held-out combinations: {axis}", verdicts(found, axis), low=low)
        for axis, low in TARGETS.items()
    ]
    stuck = [bool(outcome.frozen) or outcome.empty for outcome in found]
    figures.append(share_figure("held-out combinations: frozen or empty", stuck, high=STUCK))
    by_motion = defaultdict(list)
    for outcome in found:
        if outcome.motion is not None:
            by_motion[outcome.motion].append(outcome)
    lines = [
        [
            motion,
            *(cell(verdicts(by_motion[motion], axis)) for axis in ("motion", "speed", "shape")),
        ]
        for motion in MOTIONS
        if by_motion[motion]
    ]
    return Row(
        title="Video: one object",
        protocol=f"{PROTOCOL} {HELD_OUT} Frozen or empty: nothing changes although the prompt "
        "states a motion, or no object is seen. Everything: all that the prompt states is right.",
        figures=figures,
        tables=[
            axes_table({"held-out combinations": found, "training combinations": seen}),
            Table(columns=["motion asked for", *SIDE_BY_SIDE], lines=lines),
        ],
    )


def several(setting: Setting) -> Row:
    """Two and three objects, in combinations that training never drew."""
    found = {asked.name: outcomes(setting, asked) for asked in (TWO, THREE)}
    figures = [
        share_figure("two objects: place", verdicts(found["two objects"], "place"), low=BINDING)
    ]
    figures += [
        share_figure(f"{name}: binding", verdicts(of, "binding"), low=BINDING)
        for name, of in found.items()
    ]
    return Row(
        title="Video: two and three objects",
        protocol="As above; an axis is right only if it is right for every object. Binding: color "
        "and shape of every object, all on the right one, among prompts that name several kinds "
        "of object and state both. Place: left of, right of, above or below, which the grammar "
        "says of two objects only.",
        figures=figures,
        tables=[axes_table(found)],
    )


def steps(setting: Setting) -> Row:
    """The same prompts and noise with 1 to 32 steps."""
    found = {n: outcomes(setting, ONE, steps=n, number=CURVE_PROMPTS) for n in CURVE}
    shares = {
        axis: {n: _hits(verdicts(of, axis)) for n, of in found.items()}
        for axis in ("count", "color", "shape", "motion", "speed")
    }
    return Row(
        title="Video: number of steps",
        protocol=f"As for one object, the first {CURVE_PROMPTS} prompts.",
        tables=[axes_table({f"{n} step{'s' * (n > 1)}": of for n, of in found.items()})],
        pictures=[plots.steps(setting, shares, STEPS)],
    )


def verdicts(found: Iterable[Outcome], axis: str) -> list[bool]:
    """Verdicts on an axis, of the prompts that state it."""
    if axis == "everything":
        return [all(outcome.verdict.values()) for outcome in found]
    if axis == "binding":
        return [
            outcome.verdict["color"] and outcome.verdict["shape"]
            for outcome in found
            if outcome.kinds > 1 and {"color", "shape"} <= set(outcome.verdict)
        ]
    return [outcome.verdict[axis] for outcome in found if axis in outcome.verdict]


def axes_table(groups: dict[str, list[Outcome]]) -> Table:
    """Shares of every axis with their intervals, a line for each group."""
    axes = [axis for axis in SHOWN if any(verdicts(found, axis) for found in groups.values())]
    lines = [
        [f"{name} ({len(found)})", *(cell(verdicts(found, axis)) for axis in axes)]
        for name, found in groups.items()
    ]
    return Table(columns=["prompts", *axes], lines=lines)


def cell(hits: Sequence[bool]) -> str:
    """A share in percent with its interval and the number of prompts."""
    if not hits:
        return ""
    low, high = wilson(sum(hits), len(hits))
    return f"{100 * sum(hits) / len(hits):.0f} % ({100 * low:.0f}-{100 * high:.0f}, {len(hits)})"


def share_figure(
    name: str, hits: Sequence[bool], *, low: float | None = None, high: float | None = None
) -> Figure:
    """A share with its interval."""
    return Figure(
        name=name,
        value=sum(hits) / max(1, len(hits)),
        low=low,
        high=high,
        interval=wilson(sum(hits), len(hits)),
        cases=len(hits),
    )


def _hits(found: Sequence[bool]) -> tuple[int, int]:
    return sum(found), len(found)
