"""Sections of the page of the experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from tests.benchmarks.arms import cells, plots, verdicts
from tests.benchmarks.arms.arm import ARMS
from tests.benchmarks.arms.averages import EVERY, RUNNING
from tests.benchmarks.arms.cells import PICTURES
from tests.benchmarks.arms.measures import (
    BASE,
    Difference,
    Noise,
    Result,
    Results,
    Values,
    difference,
    gains,
    hits,
    levels,
    runs,
    similarity,
)
from tests.benchmarks.arms.scores import AXES, ONE_STEP, WAYS
from tests.benchmarks.quality.detail import CENTERS

REFERENCE = {"video": "video", "mri": "mri-48"}
HEADS = (1, 5, 20, 48)
BAND = (0.125, 0.25)
PATCHES = "patches at t = 1, dB"
CAPTIONS = {
    "heads.png": "Held-out patches by the number of heads trained on, first seeds. Bars: 95 % "
    "over the heads that the patches are of; paired differences, in the table, are surer.",
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
    or arm.averages
    or arm.name in REFERENCE.values()
    or arm.heads not in (0, 48)
}  # fmt: skip
"""Arms that are no ablation."""


Spread = Mapping[str, Noise | None]
"""Deviation of one run: of video, of mri, and of the gain of heads."""


def shared_core(results: Results, into: Path, spread: Spread) -> str:
    lines = {
        "MRI alone": {n: f"mri-{n}" for n in HEADS},
        "video first": {n: f"video-then-mri-{n}" for n in HEADS},
        "both in turn": {n: f"joint-{n}" for n in HEADS},
        "MRI alone, twice the time": {n: f"mri-{n}-twice" for n in HEADS},
        "both in turn, twice the time": {n: f"joint-{n}-twice" for n in HEADS},
    }
    found = {
        name: {n: runs(results, arm) for n, arm in arms.items() if arm in results}
        for name, arms in lines.items()
    }
    found = {name: arms for name, arms in found.items() if arms}
    firsts = {name: {n: of[0] for n, of in arms.items()} for name, arms in found.items()}
    plots.few_heads(into / PICTURES / "heads.png", firsts, levels("mri"))
    curved = ["mri-48", "video-then-mri-48", "joint-48", "mri-5", "video-then-mri-5"]
    shown = {name: results[name] for name in curved if name in results}
    plots.curves(into / PICTURES / "mri-curves.png", shown, "mri", "0.75")
    clips = ["video", "mri-48-then-video", "joint-48", "video-twice", "joint-48-twice"]
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
        _few_heads_table(found, spread),
        "",
        _picture("heads.png"),
        _picture("mri-curves.png"),
        "### Clips\n",
        _video_table(results, [n for n in clips if n in results], spread["video"]),
        "",
        _picture("video-curves.png"),
    ]
    return "\n".join(text)


def _few_heads_table(found: Mapping[str, Mapping[int, list[Result]]], spread: Spread) -> str:
    alone, values = found["MRI alone"], levels("mri")
    rows = [["heads", "arm", "seeds", *["signal over error, dB", "beyond MRI alone", ""]]]
    rows[0] += ["at t = 1", "gain, dB", "beyond MRI alone", ""]
    for count in HEADS:
        for name, arms in found.items():
            if count not in arms:
                continue
            ours, theirs = arms[count], alone.get(count, [])
            row = [str(count), name, str(len(ours)), f"{_mean(ours, values):.2f}", "", ""]
            gain = cells.with_interval(ours[0], gains())
            row += [f"{_mean(ours, verdicts.TOP):.2f}", gain, "", ""]
            if name != "MRI alone" and theirs:
                told = difference(ours, theirs, values, spread["mri"])
                restored = difference(ours, theirs, gains(), spread["gain"])
                row[4:6], row[8:] = _cells(told), _cells(restored)
            rows.append(row)
    return cells.table(rows)


def _cells(told: Difference) -> list[str]:
    return [str(told), told.verdict]


def _mean(runs: Sequence[Result], values: Values) -> float:
    return fmean(fmean(values(run)) for run in runs)


def _video_table(results: Results, names: Sequence[str], spread: Noise | None) -> str:
    reference = runs(results, REFERENCE["video"])
    rows = [["arm", "seeds", "signal over error, dB", "beyond the reference", "", *AXES]]
    for name in names:
        ours, told = runs(results, name), ["", "reference"]
        if name != REFERENCE["video"]:
            told = _cells(difference(ours, reference, levels("video"), spread))
        shares = [cells.share(*hits(ours[0], axis)) for axis in AXES]
        score = f"{_mean(ours, levels('video')):.2f}"
        rows.append([f"`{name}`", str(len(ours)), score, *told, *shares])
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
        patches = f"{fmean(verdicts.TOP(result)):.3f}" if way == ONE_STEP else ""
        rows.append([name, gain, f"{similar:+.4f}", f"{share:.2f}", patches])
    averaged = cells.between(plain, ONE_STEP, flow, "mean of 4")
    sampled = cells.between(flow, "one sample", plain, ONE_STEP)
    shares = [np.array(power[n])[inside].mean() for n in ("flow, one sample", "plain regression")]
    return "\n".join(
        [
            "## A plain regression network of the same size\n",
            f"{verdicts.regression(results, spread)}\n",
            "The same network, heads, batches and time; it is trained to predict the truth from "
            "the back-projection alone (no noise, squared error), and never sees noise. Power as "
            "share of the truth's along the slice axis, beyond what the slices hold. The table is "
            "of the first seed of each, the sentence above of the mean of all seeds there are.\n",
            cells.table(rows),
            "",
            f"Regression less the flow network's mean of 4: {averaged} dB on heads. What "
            "sampling buys at equal time is detail: one sample has "
            f"{shares[0]:.2f} of the truth's power in that band and regression {shares[1]:.2f}; "
            f"its PSNR on heads differs by {sampled} dB from that of regression.\n",
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
        "is better here is a hint, no more. The shipped video model's last training took one of "
        "them, power 0.5, and two that lie near arms and are none: a level of cells of two frames "
        "in front, and level mean 1.5. All three stand inside the noise here.\n",
    ]
    about = {
        "video": "cells of 4 x 8 x 8, sample prediction, level mean 2, power 0, dropout 0.1, "
        "batch 16",
        "mri": "48 heads, cells of 2 x 2 x 2, level mean 2, half of the draws at pure noise, "
        "power 0.25, batch 8",
    }
    for domain, title in (("video", "Video"), ("mri", "MRI")):
        reference, arms = REFERENCE[domain], [n for n in names if domain in results[n]]
        of, against = levels(domain), runs(results, reference)
        judged = {n: difference(runs(results, n), against, of, spread[domain]) for n in arms}
        told = f"The reference: {about[domain]}. Beside it, {verdicts.ablations(judged)}"
        if domain == "mri" and judged:
            of, chance = gains(), spread["gain"]
            judged = {n: difference(runs(results, n), against, of, chance) for n in arms}
            told += f" In the gain on heads, {verdicts.ablations(judged)}"
        text += [
            f"### {title}\n",
            f"{told}\n",
            _video_table(results, [reference, *arms], spread["video"])
            if domain == "video"
            else _mri_table(results, [reference, *arms], spread),
            "",
        ]
    return "\n".join(text)


def _mri_table(results: Results, names: Sequence[str], spread: Spread) -> str:
    reference, values = runs(results, REFERENCE["mri"]), levels("mri")
    rows = [["arm", "seeds", "signal over error, dB", "beyond the reference", ""]]
    rows[0] += ["at t = 1", "gain, dB", "beyond the reference", ""]
    for name in names:
        ours, told, restored = runs(results, name), ["", "reference"], ["", ""]
        if name != REFERENCE["mri"]:
            told = _cells(difference(ours, reference, values, spread["mri"]))
            restored = _cells(difference(ours, reference, gains(), spread["gain"]))
        score, top = f"{_mean(ours, values):.2f}", f"{_mean(ours, verdicts.TOP):.2f}"
        gain = cells.with_interval(ours[0], gains())
        rows.append([f"`{name}`", str(len(ours)), score, *told, top, gain, *restored])
    return cells.table(rows)


def averages(results: Results) -> str:
    """What averages of other widths would have been worth."""
    judged = verdicts.averages(results)
    if not judged:
        return ""
    rows = [["judged on", "average", "dB", "beyond the running average"]]
    for what, differences in judged.items():
        arm, domain, values = verdicts.AVERAGED[what]
        rows.append([what, RUNNING, f"{_mean([results[arm]], values):.2f}", ""])
        for name, told in differences.items():
            score = _mean([verdicts.averaged(results[arm], domain, name)], values)
            rows.append([what, name, f"{score:.2f}", str(told)])
    return "\n".join(
        [
            "## Another average of the weights\n",
            f"**{verdicts.averages_pay(judged)}**\n",
            f"The references once more, their weights kept every {EVERY} steps and at the end "
            "after each: averages of any profile are made of these afterwards and judged by "
            "signal over error on the same held-out clips and patches, and by the gain of heads "
            "restored in one step. The running average is the one that training keeps (decay "
            "0.999, after n steps at most (1 + n) / (10 + n)). The others let the weights of "
            "step s count as s^gamma and are named by their standard deviation as share of all "
            "steps (Karras et al. 2024). Intervals: 95 % over clips or heads, paired; all "
            "averages of a domain are of one run.\n",
            cells.table(rows),
            "",
        ]
    )


def _picture(name: str) -> str:
    return cells.picture(name, CAPTIONS[name])
