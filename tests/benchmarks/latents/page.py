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
NEAR_AUC = 0.02
"""Of two areas that are called equal."""


def page(found: Mapping[str, Any]) -> str:
    """The page as Markdown.

    Args:
        found: What ``__main__`` measured; arms that were not trained yet lack.
    """
    heads = {name: each for name, each in found["arms"].items() if "drawn" in each}
    lines = [_head(found), "## Verdict", "", *_verdict(found, heads), ""]
    lines += ["## Whole heads", "", *_table(heads), "", *_reference(found), ""]
    lines += ["![drawn heads](pictures/latents/heads.png)", "", _caption(heads), ""]
    lines += ["## Reconstruction", "", *_reconstruction(found), ""]
    return "\n".join(lines)


def _head(found: Mapping[str, Any]) -> str:
    return f"""# Latents

Whether an autoencoder's latents are worth it: whole heads of 160 x 192 x 160 mm at 2 mm drawn
from noise, in latents and in voxels, after equal processor time of training. Written by
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
  features' means, in spreads of the real ones, the mean over features; it still tells arms apart
  where the area says 1 for all.
- **Seconds** are processor time of one volume from noise to voxels, one thread, bfloat16, median;
  {SAMPLER}, levels evenly spaced.
"""


def _verdict(found: Mapping[str, Any], heads: Mapping[str, Any]) -> list[str]:
    if len(heads) < 2:
        return ["Not measured yet."]
    ours, theirs = heads["latents"]["drawn"], heads["cells of 2"]["drawn"]
    faster = [theirs[s]["seconds"] / ours[s]["seconds"] for s in ours if s in theirs]
    best = {name: _best(each["drawn"]) for name, each in heads.items()}
    floor = found["rebuilt"]["auc"]
    saturated = all(each["drawn"][best[name]]["auc"] > 0.98 for name, each in heads.items())
    auc, other = ours[best["latents"]]["auc"], theirs[best["cells of 2"]]["auc"]
    words = [
        f"A volume in latents takes {1 / max(faster):.2f} to {1 / min(faster):.2f} of the time of "
        f"one in cells of 2 at the same steps, that is {min(faster):.1f} to "
        f"{max(faster):.1f} times as fast, at an area of {auc:.3f} against {other:.3f} at the "
        "best steps of each.",
    ]
    if saturated:
        words.append(
            "**But every arm is told from real heads nearly always, so equal areas say little**: "
            f"what decides is the distance, {_least(heads['latents']):.2f} in latents and "
            + ", ".join(
                f"{_least(each):.2f} in {n}" for n, each in heads.items() if n != "latents"
            )
            + "."
        )
    elif auc - other < NEAR_AUC and min(faster) >= 2:
        words.append("**Twice as fast at equal area: reached.**")
    else:
        words.append("**Twice as fast at equal area: not reached.**")
    words.append(
        f"Heads that only went through the autoencoder and back are told from real ones with "
        f"{floor:.3f} (distance {found['rebuilt']['distance']:.2f}): no network on its latents "
        "can do better than that, however long it learns. Its weights are not shipped."
    )
    return [" ".join(words)]


def _best(drawn: Mapping[str, Any]) -> str:
    return min(drawn, key=lambda s: (round(drawn[s]["auc"], 2), drawn[s]["distance"]))


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
            f"takes {1000 * clips['decode_s']:.0f} ms of processor time. Pixels stay the default "
            "of clips.",
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
