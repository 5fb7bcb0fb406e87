"""Sections of the page of the experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from tests.benchmarks.arms import cells, plots, verdicts
from tests.benchmarks.arms.arm import ARMS
from tests.benchmarks.arms.cells import PICTURES
from tests.benchmarks.arms.measures import (
    BASE,
    Result,
    difference,
    gains,
    hits,
    levels,
    noise,
    similarity,
)
from tests.benchmarks.arms.scores import AXES, WAYS
from tests.benchmarks.quality.detail import CENTERS

REFERENCE = {"video": "video", "mri": "mri-48"}
HEADS = (1, 5, 20, 48)
BAND = (0.125, 0.25)
CAPTIONS = {
    "heads.png": "Gain by the number of heads. Bars: 95 % over heads, not over runs.",
    "mri-curves.png": "Held-out patches, restored from pure noise in one step, while training.",
    "video-curves.png": "Held-out clips, predicted from noise level 0.75, while training.",
    "detail.png": "Detail along the slice axis. Dashed: the truth's own power. Dotted: the "
    "Nyquist frequency of the slices.",
}
OTHERS = {
    arm.name
    for arm in ARMS
    if arm.begins_with
    or arm.units > 1
    or arm.seed
    or arm.regression
    or len(arm.forms) > 1
    or arm.name in REFERENCE.values()
    or arm.heads not in (0, 48)
}  # fmt: skip
"""Arms that are no ablation."""


Results = Mapping[str, Result]


def seeds(results: Results, domain: str) -> list[Result]:
    """The runs of the reference."""
    name = REFERENCE[domain]
    return [r for n, r in results.items() if n == name or n.startswith(f"{name}-seed")]


def shared_core(results: Results, into: Path, spread: Mapping[str, float]) -> str:
    lines = {
        "MRI alone": {n: f"mri-{n}" for n in HEADS},
        "video first": {n: f"video-then-mri-{n}" for n in HEADS},
        "both in turn": {n: f"joint-{n}" for n in HEADS},
        "MRI alone, twice the time": {n: f"mri-{n}-twice" for n in HEADS},
    }
    found = {
        name: {n: results[arm] for n, arm in arms.items() if arm in results}
        for name, arms in lines.items()
    }
    found = {name: arms for name, arms in found.items() if arms}
    plots.few_heads(into / PICTURES / "heads.png", found, gains())
    curved = ["mri-48", "video-then-mri-48", "joint-48", "mri-5", "video-then-mri-5"]
    shown = {name: results[name] for name in curved if name in results}
    plots.curves(into / PICTURES / "mri-curves.png", shown, "mri", "1.0")
    clips = ["video", "mri-48-then-video", "joint-48", "video-twice"]
    shown = {name: results[name] for name in clips if name in results}
    plots.curves(into / PICTURES / "video-curves.png", shown, "video", "0.75")
    text = [
        "## What the shared core is worth\n",
        f"{verdicts.SHARED}\n",
        "### Heads\n",
        "Gain over back-projection in dB, one step. Video first: the trunk begins with that of "
        "the video network, which has cost as much time again; so it stands beside MRI alone for "
        "twice the time. Both in turn: as much time for each domain as an arm of its own. The "
        "fewer heads are always among the more.\n",
        _few_heads_table(found, spread["mri"]),
        "",
        _picture("heads.png"),
        _picture("mri-curves.png"),
        "### Clips\n",
        _video_table(results, [n for n in clips if n in results], spread["video"]),
        "",
        _picture("video-curves.png"),
    ]
    return "\n".join(text)


def _few_heads_table(found: Mapping[str, Mapping[int, Result]], spread: float) -> str:
    alone = found["MRI alone"]
    rows = [["heads", "arm", "gain, dB", "beyond MRI alone", ""]]
    for count in HEADS:
        for name, arms in found.items():
            if count not in arms:
                continue
            gain = cells.with_interval(arms[count], gains())
            if name == "MRI alone" or count not in alone:
                rows.append([str(count), name, gain, "", ""])
                continue
            gap = difference(arms[count], alone[count], gains(), spread)
            rows.append([str(count), name, gain, str(gap), gap.verdict])
    return cells.table(rows)


def _video_table(results: Results, names: Sequence[str], spread: float) -> str:
    reference = results[REFERENCE["video"]]
    rows = [["arm", "signal over error, dB", "beyond the reference", "", *AXES]]
    for name in names:
        result = results[name]
        gap, verdict = "", "reference"
        if name != REFERENCE["video"]:
            told = difference(result, reference, levels("video"), spread)
            gap, verdict = str(told), told.verdict
        shares = [cells.share(*hits(result, axis)) for axis in AXES]
        score = f"{fmean(levels('video')(result)):.2f}"
        rows.append([f"`{name}`", score, gap, verdict, *shares])
    return cells.table(rows)


def regression(results: Results, into: Path, spread: float) -> str:
    if "regression-48" not in results:
        return ""
    flow, plain = results["mri-48"], results["regression-48"]
    ways = {f"flow, {way}": (flow, way) for way in WAYS}
    ways["plain regression"] = (plain, "one step")
    power = {BASE: cells.power(flow, BASE)}
    power |= {name: cells.power(*of) for name, of in ways.items()}
    plots.detail(into / PICTURES / "detail.png", power)
    inside = (BAND[0] <= CENTERS) & (BAND[1] > CENTERS)
    rows = [["", "gain, dB", "SSIM beyond", f"power at {BAND[0]} to {BAND[1]} cycles/mm"]]
    rows.append([BASE, "0", "0", f"{np.array(power[BASE])[inside].mean():.2f}"])
    for name, (result, way) in ways.items():
        share = np.array(power[name])[inside].mean()
        similar = fmean(similarity(way)(result))
        gain = cells.with_interval(result, gains(way))
        rows.append([name, gain, f"{similar:+.3f}", f"{share:.2f}"])
    gap = difference(plain, flow, gains(), spread)
    averaged = cells.between(plain, "one step", flow, "mean of 4")
    return "\n".join(
        [
            "## A plain regression network of the same size\n",
            f"{verdicts.REGRESSION}\n",
            "The same network, heads, batches and time; it is trained to predict the truth from "
            "the back-projection alone (no noise, squared error), and never sees noise. Power as "
            "share of the truth's along the slice axis, beyond what the slices hold.\n",
            cells.table(rows),
            "",
            f"Regression less the flow network's one step: {gap} dB, {gap.verdict}; less its mean "
            f"of 4: {averaged} dB.\n",
            _picture("detail.png"),
        ]
    )


def ablations(results: Results, spread: Mapping[str, float]) -> str:
    names = [arm.name for arm in ARMS if arm.name in results and arm.name not in OTHERS]
    clips = [n for n in names if "video" in results[n]]
    heads = [n for n in names if "mri" in results[n]]
    text = [
        "## Ablations at equal time\n",
        f"{verdicts.ABLATIONS}\n",
        "### Video\n",
        "The reference: cells of 4 x 8 x 8, widths 96 and 192, sample prediction, level mean 2, "
        "power 0, dropout 0.1, batch 16.\n",
        _video_table(results, ["video", *clips], spread["video"]),
        "\n### MRI\n",
        "The reference: 48 heads, cells of 2 x 4 x 4, widths 96 and 192, level mean 0.5, half of "
        "the draws at pure noise, power 0.25, batch 8.\n",
        _mri_table(results, ["mri-48", *heads], spread["mri"]),
    ]
    return "\n".join(text) + "\n"


def _mri_table(results: Results, names: Sequence[str], spread: float) -> str:
    reference = results[REFERENCE["mri"]]
    over_levels = noise(seeds(results, "mri"), levels("mri"))
    rows = [["arm", "gain, dB", "beyond the reference", "", "all levels, dB", ""]]
    for name in names:
        result = results[name]
        line = [f"`{name}`", cells.with_interval(result, gains()), "", "reference", "", ""]
        if name != REFERENCE["mri"]:
            gap = difference(result, reference, gains(), spread)
            other = difference(result, reference, levels("mri"), over_levels)
            line[2:] = [str(gap), gap.verdict, str(other), other.verdict]
        rows.append(line)
    return cells.table(rows)


def _picture(name: str) -> str:
    return cells.picture(name, CAPTIONS[name])
