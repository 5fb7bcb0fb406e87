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
from tests.benchmarks.arms.scores import AXES, ONE_STEP, WAYS
from tests.benchmarks.quality.detail import CENTERS

REFERENCE = {"video": "video", "mri": "mri-48"}
HEADS = (1, 5, 20, 48)
BAND = (0.125, 0.25)
TOP = levels("mri", ["1.0"])
PATCHES = "patches at t = 1, dB"
CAPTIONS = {
    "heads.png": "Held-out patches by the number of heads trained on. Bars: 95 % over patches, "
    "not over runs.",
    "mri-curves.png": "Held-out patches, predicted from noise level 0.75, while training.",
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
Spread = Mapping[str, float | None]
"""Deviation of one run of the references: of video, of mri, and of the gain of heads."""


def seeds(results: Results, domain: str) -> list[Result]:
    """The runs of the reference."""
    name = REFERENCE[domain]
    return [r for n, r in results.items() if n == name or n.startswith(f"{name}-seed")]


def shared_core(results: Results, into: Path, spread: Spread) -> str:
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
    plots.few_heads(into / PICTURES / "heads.png", found, levels("mri"))
    curved = ["mri-48", "video-then-mri-48", "joint-48", "mri-5", "video-then-mri-5"]
    shown = {name: results[name] for name in curved if name in results}
    plots.curves(into / PICTURES / "mri-curves.png", shown, "mri", "0.75")
    clips = ["video", "mri-48-then-video", "joint-48", "video-twice"]
    shown = {name: results[name] for name in clips if name in results}
    plots.curves(into / PICTURES / "video-curves.png", shown, "video", "0.75")
    text = [
        "## What the shared core is worth\n",
        verdicts.shared(results, spread),
        "### Heads\n",
        "Signal over error in dB on held-out patches, mean over noise levels, and the gain in "
        "PSNR over back-projection of heads restored in one step. Video first: the trunk begins "
        "with "
        "that of the video network, which has cost as much time again; a fair rival is MRI alone "
        "for twice the time. Both in turn: as much time for each domain as an arm of its own. "
        "The fewer heads are always among the more.\n",
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


def _few_heads_table(found: Mapping[str, Mapping[int, Result]], spread: float | None) -> str:
    alone, values = found["MRI alone"], levels("mri")
    rows = [["heads", "arm", "signal over error, dB", "beyond MRI alone", "", "gain, dB"]]
    for count in HEADS:
        for name, arms in found.items():
            if count not in arms:
                continue
            result, gap, verdict = arms[count], "", ""
            if name != "MRI alone" and count in alone:
                told = difference(result, alone[count], values, spread)
                gap, verdict = str(told), told.verdict
            gain = cells.with_interval(result, gains())
            rows.append([str(count), name, f"{fmean(values(result)):.2f}", gap, verdict, gain])
    return cells.table(rows)


def _video_table(results: Results, names: Sequence[str], spread: float | None) -> str:
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


def regression(results: Results, into: Path, spread: Spread) -> str:
    if "regression-48" not in results:
        return ""
    flow, plain = results["mri-48"], results["regression-48"]
    ways = {f"flow, {way}": (flow, way) for way in WAYS}
    ways["plain regression"] = (plain, ONE_STEP)
    power = {BASE: cells.power(flow, BASE)}
    power |= {name: cells.power(*of) for name, of in ways.items()}
    plots.detail(into / PICTURES / "detail.png", power)
    inside = (BAND[0] <= CENTERS) & (BAND[1] > CENTERS)
    rows = [["", "gain, dB", "SSIM beyond", f"power at {BAND[0]} to {BAND[1]} cycles/mm", PATCHES]]
    rows.append([BASE, "0", "0", f"{np.array(power[BASE])[inside].mean():.2f}", "0"])
    for name, (result, way) in ways.items():
        share = np.array(power[name])[inside].mean()
        similar = fmean(similarity(way)(result))
        gain = cells.with_interval(result, gains(way))
        patches = f"{fmean(TOP(result)):.3f}" if way == ONE_STEP else ""
        rows.append([name, gain, f"{similar:+.4f}", f"{share:.2f}", patches])
    gap = difference(plain, flow, gains(), spread["gain"])
    top = difference(plain, flow, TOP, noise(seeds(results, "mri"), TOP))
    averaged = cells.between(plain, ONE_STEP, flow, "mean of 4")
    return "\n".join(
        [
            "## A plain regression network of the same size\n",
            f"{verdicts.regression(results, spread)}\n",
            "The same network, heads, batches and time; it is trained to predict the truth from "
            "the back-projection alone (no noise, squared error), and never sees noise. Power as "
            "share of the truth's along the slice axis, beyond what the slices hold.\n",
            cells.table(rows),
            "",
            f"Regression less the flow network's one step: {gap} dB on heads, {gap.verdict}; {top}"
            f" dB on patches, {top.verdict}; less its mean of 4: {averaged} dB on heads.\n",
            _picture("detail.png"),
        ]
    )


def ablations(results: Results, spread: Spread) -> str:
    """Settings that differ in one thing from the references."""
    names = [arm.name for arm in ARMS if arm.name in results and arm.name not in OTHERS]
    text = [
        "## Ablations at equal time\n",
        "Each arm differs from its reference in what its name says. Levels that no arm draws "
        "often count as much as the others in this score; the shipped settings were chosen by "
        "what the oracle finds and by the gain on heads after far longer runs, so a setting that "
        "is better here is a hint, no more.\n",
    ]
    about = {
        "video": "cells of 4 x 8 x 8, sample prediction, level mean 2, power 0, dropout 0.1, "
        "batch 16",
        "mri": "48 heads, cells of 2 x 2 x 2, level mean 2, half of the draws at pure noise, "
        "power 0.25, batch 8",
    }
    for domain, title in (("video", "Video"), ("mri", "MRI")):
        reference, arms = REFERENCE[domain], [n for n in names if domain in results[n]]
        of = levels(domain)
        judged = {n: difference(results[n], results[reference], of, spread[domain]) for n in arms}
        text += [
            f"### {title}\n",
            f"The reference: {about[domain]}. {verdicts.ablations(judged)}\n",
            _video_table(results, [reference, *arms], spread["video"])
            if domain == "video"
            else _mri_table(results, [reference, *arms], spread),
            "",
        ]
    return "\n".join(text)


def _mri_table(results: Results, names: Sequence[str], spread: Spread) -> str:
    reference, values = results[REFERENCE["mri"]], levels("mri")
    rows = [["arm", "signal over error, dB", "beyond the reference", "", "gain, dB", ""]]
    for name in names:
        result = results[name]
        gain = cells.with_interval(result, gains())
        line = [f"`{name}`", f"{fmean(values(result)):.2f}", "", "reference", gain, ""]
        if name != REFERENCE["mri"]:
            told = difference(result, reference, values, spread["mri"])
            of_gain = difference(result, reference, gains(), spread["gain"])
            line[2:] = [str(told), told.verdict, gain, of_gain.verdict]
        rows.append(line)
    return cells.table(rows)


def _picture(name: str) -> str:
    return cells.picture(name, CAPTIONS[name])
