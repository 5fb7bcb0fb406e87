"""The page on latents: what was measured, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from medical.anatomy.whole_heads import MEAN, SPREAD
from tests.benchmarks.latents.arm import CLIP_MINUTES, CODER_MINUTES, HEAD_MINUTES
from tests.benchmarks.latents.measures import DRAWN, SAMPLER

SHOWN = 4
SATURATED = 0.98
"""Above such an area the measure tells no arms apart."""


def page(found: Mapping[str, Any]) -> str:
    """The page as Markdown.

    Args:
        found: What ``__main__`` measured; arms that were not trained yet lack.
    """
    heads = {name: each for name, each in found["arms"].items() if "drawn" in each}
    lines = [_head(found), "## Verdict", "", *_verdict(found, heads), ""]
    lines += ["## Limits", "", *_limits(heads), ""]
    lines += ["## Whole heads", "", *_table(heads), "", *_reference(found), ""]
    lines += ["![drawn heads](pictures/latents/heads.png)", "", _caption(heads), ""]
    lines += ["## Reconstruction", "", *_reconstruction(found), ""]
    return "\n".join(lines)


def _head(found: Mapping[str, Any]) -> str:
    return f"""# Latents

Whether an autoencoder's latents are worth it: whole heads of 160 x 192 x 160 mm at 2 mm drawn
from noise, in latents and in voxels, after about the same time of training. Written by
`python -m tests.benchmarks.latents`; do not edit. All numbers are in `latents.json`. **Small on
purpose**: {HEAD_MINUTES:g} minutes of one core an arm tell what is learned first, not where it
ends. Not a medical device.

- **Data**: {found["heads"][0]} T1-weighted heads for training and {found["heads"][1]} that no
  arm sees, every sixth by id, skull-stripped, upright on one grid of 80 x 96 x 80 voxels; left
  and right exchanged half of the time. Nothing else is told.
- **Arms**: one trunk of two levels, 64 and 128 channels, whose 1200 coarse cells all attend to
  each other. *latents*: on 20 x 24 x 20 cells of 8 numbers, {CODER_MINUTES:g} of the minutes
  spent on the autoencoder (4 x 4 x 4 voxels a cell; mean absolute error). *cells of 4*: the same
  trunk and arithmetic on cells of 4 x 4 x 4 voxels as they are. *cells of 2*: with a level of 32
  channels in front, in cells of 2 x 2 x 2.
- **Training**: flow matching, batches of 2, Muon, rate 0.002, cooldown over the last half. A step
  is timed first (`time.process_time`, one thread, bfloat16) and steps are planned to fill the
  minutes.
- **Real or not**: features of 32 patches of 24 voxels a volume
  (`medical.datasets.realism.patch_features`), tissue told by fixed intensities in all volumes
  alike, linear discriminant, whole heads left out, {DRAWN} drawn volumes against the held-out
  heads: 0.5 cannot be told, 1 always is. In brackets each half of the volumes alone. *Distance*:
  features' means, in spreads of the real ones, the mean over features; added after the first look.
- **Seconds** are processor time of one volume from noise to voxels, one thread, bfloat16, median;
  {SAMPLER}, levels evenly spaced.
"""


def _verdict(found: Mapping[str, Any], heads: Mapping[str, Any]) -> list[str]:
    if len(heads) < 2:
        return ["Not measured yet."]
    areas = [each["auc"] for arm in heads.values() for each in arm["drawn"].values()]
    floor = found["rebuilt"]
    words = [
        *(_faster(name, heads) for name in heads if name != "latents"),
        f"Every arm is told from real heads with an area of {min(areas):.3f} to {max(areas):.3f}, "
        f"and so are held-out heads that only went through the autoencoder and back "
        f"({floor['auc']:.3f}).",
    ]
    if min(*areas, floor["auc"]) > SATURATED:
        words.append(
            "**The measure is at its end, so equal areas show nothing: that latents are faster at "
            "equal quality is not shown.**"
        )
    least = ", ".join(f"{_least(each):.2f} in {name}" for name, each in heads.items())
    words += [
        f"The least distances are {least}; reconstructions have {floor['distance']:.2f}. Distance "
        "was added after the first look at the latents, so it decides nothing here.",
        "No weights are shipped.",
    ]
    return [" ".join(words)]


def _faster(name: str, heads: Mapping[str, Any]) -> str:
    ours, theirs = heads["latents"]["drawn"], heads[name]["drawn"]
    ratios = "; ".join(
        f"{theirs[s]['seconds'] / ours[s]['seconds']:.1f} times as fast with {s} steps"
        for s in ours
    )
    return f"A volume in latents beside one in {name}: {ratios}."


def _limits(heads: Mapping[str, Any]) -> list[str]:
    spent = {name: sum(arm["processor_s"].values()) for name, arm in heads.items()}
    seconds = ", ".join(f"{name} {each} s" for name, each in spent.items())
    more = " and ".join(
        f"{100 * (spent['latents'] / each - 1):.0f} % more than {name}"
        for name, each in spent.items()
        if name != "latents"
    )
    return [
        f"- **Time of training was not equal**: {HEAD_MINUTES:g} minutes an arm were planned from "
        f"a few timed steps; spent were, in processor time: {seconds}; latents had {more}.",
        "- **Changed on the way**: sampling steps and the number of volumes judged were cut, and "
        "*distance* was added, after the first look at the latents.",
        "- **Seconds a volume** were timed in a process for each arm, at different times and with "
        "other work on the machine: not paired.",
        "- **One seed** of training an arm; no arm was repeated.",
    ]


def _least(arm: Mapping[str, Any]) -> float:
    return min(each["distance"] for each in arm["drawn"].values())


def _table(heads: Mapping[str, Any]) -> list[str]:
    rows = ["| arm | weights | training steps, processor s | sampling steps | seconds a volume | "
            "real or not | distance | regions |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, arm in heads.items():
        took = "; ".join(f"{n} {c}, {arm['processor_s'][n]} s" for n, c in arm["steps"].items())
        for steps, each in arm["drawn"].items():
            halves = ", ".join(f"{h:.3f}" for h in each["halves"])
            rows.append(
                f"| {name} | {arm['weights'] / 1e6:.2f} million | {took} | {steps} | "
                f"{each['seconds']:.2f} | {each['auc']:.3f} ({halves}) | {each['distance']:.2f} | "
                f"{each['regions']:.2f} |"
            )
    return rows


def _reference(found: Mapping[str, Any]) -> list[str]:
    real, rebuilt = found["real"], found["rebuilt"]
    return [
        f"For comparison, real heads of the training against the held-out ones: "
        f"{real['auc']:.3f}, distance {real['distance']:.2f}, regions "
        f"{real['regions']:.2f}; held-out heads through the autoencoder: {rebuilt['auc']:.3f}, "
        f"{rebuilt['distance']:.2f}, {rebuilt['regions']:.2f}. Regions: "
        "distance of the shares of tissue in 18 boxes, in spreads of the held-out heads."
    ]


def _caption(heads: Mapping[str, Any]) -> str:
    rows = ["held-out heads", "the same through the autoencoder", *heads]
    return f"Middle slices from above; rows: {'; '.join(rows)} (the most steps of each)."


def _reconstruction(found: Mapping[str, Any]) -> list[str]:
    head = found["near"]
    rows = ["| held out | as few numbers as | PSNR, dB | inside the head, dB | SSIM |",
            "|---|---|---|---|---|"]  # fmt: skip
    rows.append(f"| heads at 2 mm | 1 of 8 | {head['psnr']:.1f} | "
        f"{head['psnr_of_the_head']:.1f} | "
                f"{head['ssim']:.3f} |")  # fmt: skip
    if clips := found["arms"].get("clips"):
        near = clips["near"]
        rows.append(
            f"| clips of 16 x 64 x 64 | 1 of 48 | {near['psnr']:.1f} | | {near['ssim']:.3f} |"
        )
        rows += [
            "",
            f"The autoencoder of clips had {CLIP_MINUTES:g} minute of one core; decoding a clip "
            f"takes {1000 * clips['decode_s']:.0f} ms of processor time. Drawing clips in "
            "latents and in pixels was not compared.",
        ]
    return rows


def picture(path: Path, rows: Sequence[Tensor]) -> None:
    """Middle slices of the first volumes of each row, (N, X, Y, Z) each."""
    planes = []
    for row in rows:
        cuts = [(x[:, :, x.shape[2] // 2] * SPREAD + MEAN).T.flip(0) for x in row[:SHOWN]]
        planes.append(np.concatenate([c.clamp(0, 1).numpy() for c in cuts], axis=1))
    gray = (255 * np.concatenate(planes)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(gray)
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC).save(
        path, optimize=True
    )
