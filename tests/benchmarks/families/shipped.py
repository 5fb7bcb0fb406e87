"""What the shipped models lose by fewer evaluations, as the page of results measured it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.benchmarks.arms.cells import table

TEXT = """## The shipped models by steps

From `results.md`, where protocols and intervals stand. Of clips (*{clips}*), the
share of prompts of which everything is right; a step takes two evaluations, with the prompt and
without, and a single step takes one:

{steps}

One step is right in {one}, the best in {best}. Of heads (*{heads}*), over {cases} of them:

{ways}

The mean of 4 samples is {gain:.2f} dB above one step.
"""
CURVE = """
One sample by its number of steps, over the middle of {cases} heads (*{title}*):

{curve}

One step is {behind:.2f} dB below the best of this curve.
"""


def shipped(results: Path) -> str:
    """The section; empty where there are no results beside the page."""
    if not results.is_file():
        return ""
    kept = json.loads(results.read_text())
    clips, heads = kept["steps"], kept["ways"]
    lines = clips["tables"][0]["lines"]
    everything = {line[0].split(" (")[0]: line[-1] for line in lines}
    best = max(everything.values(), key=_share)
    restored = {line[0]: line[1] for line in heads["tables"][0]["lines"]}
    gain = next(f for f in heads["figures"] if f["name"] == "mean of 4 over one step")
    text = TEXT.format(
        clips=clips["title"],
        heads=heads["title"],
        cases=gain["cases"],
        steps=table([["model", *everything], ["`scenes-64`", *everything.values()]]).rstrip(),
        ways=table([["PSNR, dB", *restored], ["`heads-1mm`", *restored.values()]]).rstrip(),
        one=_said(everything["1 step"]),
        best=_said(best),
        gain=gain["value"],
    )
    return text + _curve(kept["evaluations"]) if "evaluations" in kept else text


def _curve(row: dict[str, Any]) -> str:
    lines = row["tables"][0]["lines"]
    figure = row["figures"][0]
    rows = [["dB over back-projection", *(line[0] for line in lines)]]
    rows.append(["`heads-1mm`", *(line[2] for line in lines)])
    return CURVE.format(
        cases=figure["cases"],
        title=row["title"],
        curve=table(rows).rstrip(),
        behind=figure["value"],
    )


def _share(cell: str) -> float:
    return float(cell.partition(" %")[0])


def _said(cell: str) -> str:
    return f"{cell.partition(' %')[0]} %"
