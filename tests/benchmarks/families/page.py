"""The families' page: protocol, curves, cost, pictures, and what is said of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

from tests.benchmarks.arms.arm import Domain
from tests.benchmarks.arms.cells import table
from tests.benchmarks.arms.data import Data
from tests.benchmarks.families import plots
from tests.benchmarks.families.arm import ARMS, REFERENCE
from tests.benchmarks.families.measures import (
    AXES,
    NEAR_DB,
    NEAR_SHARE,
    Result,
    beside,
    best,
    calibration,
    drawn_beside,
    enough,
    errors_db,
    gain,
    score,
    share,
)
from tests.benchmarks.families.scores import EVALUATIONS, GUIDANCE, PATCHES, SAMPLES, Pictures
from tests.benchmarks.families.shipped import shipped
from tests.benchmarks.intervals import wilson

FOLDER = "pictures/families"
Arms = Mapping[str, Result]
DRAWN = 0.25
"""Share of shapes that are right above which things are drawn; one in six is by chance."""
AGAIN = "flow_matching_again"
HEAD = """# Families

What each family of `core.families` is worth on clips and on heads, from the same seeds, batches
and arithmetic. Written by `make families`; do not edit. All numbers are in `families.json`.

**Small on purpose**: each arm is a network of less than a million weights, taught by the
arithmetic of **{clips} steps of flow matching on clips and {taught} on heads**{short}.
That tells which family learns faster at first, and how few evaluations each needs; it does not
tell where any of them ends. One seed each. Research software; **not a medical device and not
for diagnosis**.

## How it is measured

- **Equal arithmetic**: a pass through the network counts one, its gradient two; a step of flow
  matching takes three. Families that ask the network more often a step take fewer steps. The
  count is the same on every machine; milliseconds are processor time of one thread, the median
  of the steps, and longer where the machine has other work to do.
- **Same beginning**: first weights, batches and their order, and the noise of all judgments
  follow from the same seeds. Muon, rate 0.003; batches of 16 clips or 8 patches; bfloat16; the
  average of the weights is judged. {heads} heads are trained on.
- **Same last layer**: it predicts the sample, as that of the shipped models, because noise does
  not pass through their wide cells; what the family asks for (noise, v, F) is computed from it
  exactly, as `lamina train --family` does. `ddpm_own_answer` has the network's answer,
  (z - x) / t, be the noise instead.
- **Same walk**: the family's usual sampler down the levels that the product walks; a step of
  Heun's counts two evaluations, the last one. Clips are guided by {guidance:g}, which doubles
  what an evaluation costs and is not counted.
- **Clips**: the share of {prompts} held-out prompts of single things whose color the oracle
  finds right (shape and motion in the table).
- **Heads**: {patches} held-out patches of 16 x 32 x 32 voxels of heads that training never saw,
  4 mm slices; the mean of {samples} samples, in dB of signal over error beyond
  back-projection, which scores 0. Calibration is the error that the spread of the samples
  predicts over the actual one: 1 is right, below 1 is too sure. What an arm draws is compared by
  the evaluations that are best for it on the other half of the patches; its best number itself
  is the best of the curve, on the same patches.
- **Estimate**: signal over error of the predicted data on 48 held-out clips or patches, mean over
  the levels 0.9, 0.75, 0.5 and 0.25, in dB. A consistency model answers with the end of a path
  at every level, which is no mean, and scores low here. Intervals are 95 % over these, paired
  with flow matching. {chance}
"""


def page(
    results: Arms,
    drawn: Mapping[str, Pictures],
    into: Path,
    *,
    data: Data,
    work: Mapping[Domain, int],
    usual_work: Mapping[Domain, int],
    heads: int,
) -> str:
    """The page in Markdown; pictures are written beside it.

    Args:
        results: Finished arms by domain and name.
        drawn: What they drew, as far as it is at hand.
        into: Folder of the page.
        data: What they were judged on.
        work: Of each arm of a domain.
        usual_work: What the command asks for where nobody says otherwise.
        heads: How many were trained on.
    """
    sides = {
        domain: {n.split(" ")[1]: r for n, r in results.items() if n.startswith(domain)}
        for domain in ("video", "mri")
    }
    chance = {domain: _chance(arms) for domain, arms in sides.items()}
    short = "" if work == usual_work else (
        f",\nwhere the command takes {usual_work['video']} and {usual_work['mri']} by itself"
    )  # fmt: skip
    known = [f"{abs(v):.2f} dB on {_WORD[d]}" for d, v in chance.items() if v is not None]
    parts = [
        HEAD.format(
            clips=work["video"],
            taught=work["mri"],
            short=short,
            heads=heads,
            guidance=GUIDANCE,
            prompts=data.prompts,
            patches=PATCHES,
            samples=SAMPLES,
            chance=f"Another seed of flow matching differs by {' and '.join(known)}; what is less "
            "is called no different."
            if known
            else "How much another seed would change was not measured in this run.",
        )
    ]
    for domain, arms in sides.items():
        if REFERENCE in arms:
            pictures = {n: drawn[f"{domain} {n}"] for n in arms if f"{domain} {n}" in drawn}
            parts.append(_section(domain, arms, pictures, into, chance[domain]))
    parts.append(shipped(into / "results.json"))
    return "\n".join([*parts, _runs(results)]).rstrip() + "\n"


_WORD = {"video": "clips", "mri": "heads"}


def _chance(arms: Arms) -> float | None:
    """What another seed of the reference makes of it, in dB."""
    if AGAIN not in arms or REFERENCE not in arms:
        return None
    return beside(arms[AGAIN], arms[REFERENCE], None).mean


def _section(
    domain: str, arms: Arms, drawn: Mapping[str, Pictures], into: Path, chance: float | None
) -> str:
    """A domain's verdicts, curves, costs and pictures."""
    clips, word = domain == "video", _WORD[domain]
    label = "share of clips whose color is right" if clips else "dB over back-projection"
    names = [f"{word}-{kind}.png" for kind in ("curves", "losses", "drawn")]
    folder = into / FOLDER
    plots.curves(folder / names[0], arms, label, 0.0 if clips else -6.0)
    plots.losses(folder / names[1], arms)
    if len(drawn) == len(arms):  # else the picture would lose the arms of other machines
        plots.drawn(folder / names[2], drawn, 0, clips=clips)
    low = "" if clips else " What lies below -6 dB is drawn there."
    looks = "One prompt" if clips else "What back-projection left out of one patch"
    captions = [
        f"{word.title()}: {label}, by evaluations.{low}",
        "Error of what each family teaches while it is taught, as a share of its own first value; "
        "they are not comparable between families.",
        f"{looks}, by family and number of evaluations; the same noise in every row.",
    ]
    figures = [f"![{c.split('.')[0]}]({FOLDER}/{n})\n\n*{c}*\n"
               for n, c in zip(names, captions, strict=True)]  # fmt: skip
    return "\n".join(
        [
            f"## {word.title()}\n",
            _clipped(arms) if clips else _below(arms),
            *(_verdict(name, arms, chance) for name in arms if name != AGAIN),
            "\n" + figures[0],
            _numbers(arms, clips=clips) + "\n",
            *(figures[1:] if (folder / names[2]).is_file() else figures[1:2]),
        ]
    )


def _clipped(arms: Arms) -> str:
    """How much the colors mean: whether things are drawn, and how sure the shares are."""
    shapes = max(share(r, e, "shape") for r in arms.values() for e in EVALUATIONS)
    top = max(arms.values(), key=lambda r: score(r, best(r)))
    hits = top["drawn"][str(best(top))]["color"]
    low, high = (100 * end for end in wilson(sum(hits), len(hits)))
    sure = f"{sum(hits)} of {len(hits)} is {low:.0f} to {high:.0f} % (95 %)"
    if shapes < DRAWN:
        return (
            f"By this much work no family draws things: right colors are those of blurs, and "
            f"{sure}. Which family needs how much before it draws is not told here.\n"
        )
    return f"Shares are of few clips: {sure}.\n"


def _below(arms: Arms) -> str:
    """Whether anything drawn is better than what is drawn after."""
    better = [name for name, r in arms.items() if score(r, best(r)) > 0]
    if not better:
        return "By this much work no family draws better than back-projection.\n"
    return f"Better than back-projection: {', '.join(better)}.\n"


def _verdict(name: str, arms: Arms, chance: float | None) -> str:
    """One line of what follows for an arm."""
    result, reference = arms[name], arms[REFERENCE]
    at, few, clips = best(result), enough(result), result["arm"]["domain"] == "video"
    reached = f"{100 * score(result, at):.0f} %" if clips else f"{score(result, at):+.2f} dB"
    near = f"{100 * NEAR_SHARE:g} points" if clips else f"{NEAR_DB:g} dB"
    said = f"- **{name}**: {reached} at its best, with {at} evaluation{'s'[: at > 1]}"
    if few < at:
        said += f"; {few} come{'s'[: few == 1]} within {near}"
    if name == REFERENCE:
        return f"{said}. The others are compared with it."
    estimate = beside(result, reference, chance)
    said += f". Its estimates are {estimate.word}: {estimate}"
    if not clips:
        found = drawn_beside(result, reference, None)
        said += f"; what it draws is {found.word}: {found}"
    return said + "."


def _numbers(arms: Arms, *, clips: bool) -> str:
    """Everything measured, a row an arm."""
    shown: Callable[[Result, int], str] = (
        (lambda r, e: f"{100 * share(r, e):.0f} %")
        if clips
        else (lambda r, e: f"{gain(r, e):+.2f}")
    )
    last = list(AXES[1:]) if clips else ["calibration at 8", "at 32"]
    rows = [["arm", *(str(e) for e in EVALUATIONS), *last, "estimate, dB", "ms a step",
             "GFLOP a step", "MB for gradients"]]  # fmt: skip
    for name, r in arms.items():
        more = (
            [f"{100 * max(share(r, e, axis) for e in EVALUATIONS):.0f} %" for axis in AXES[1:]]
            if clips
            else [f"{calibration(r, e):.2f}" for e in (8, 32)]
        )
        stage = list(r["stages"])[-1]
        rows.append(
            [
                f"`{name}`",
                *(shown(r, e) for e in EVALUATIONS),
                *more,
                f"{fmean(errors_db(r)):.2f}",
                f"{r['ms_per_step'][stage]:.0f}",
                f"{r['stages'][stage]['gflop']:.1f}",
                f"{r['memory_mb']:.0f}",
            ]
        )
    return table(rows)


def _runs(results: Arms) -> str:
    rows = [["arm", "steps", "thousand weights", "processor s", "seed", "commit", "finished"]]
    for name, r in results.items():
        steps = " + ".join(str(stage["steps"]) for stage in r["stages"].values())
        rows.append(
            [
                name,
                steps,
                f"{r['weights'] / 1e3:.0f}",
                f"{r['cpu_s']:.0f}",
                str(r["arm"]["seed"]),
                f"`{r['commit']}`",
                r["finished"][:16],
            ]
        )
    left = [f"{a.domain} {a.name}" for a in ARMS if f"{a.domain} {a.name}" not in results]
    missing = f"\nPlanned and not measured: {', '.join(left)}.\n" if left else ""
    return "## Every run\n\n" + table(rows) + "\n" + missing
