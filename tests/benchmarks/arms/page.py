"""The page of the experiments: protocol, tables, pictures, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.arms import cells, sections
from tests.benchmarks.arms.arm import ARMS
from tests.benchmarks.arms.measures import Noise, Results, gains, levels, noise
from tests.benchmarks.arms.verdicts import TOP

HEAD = """# Experiments

What the shared core is worth, what sampling costs and buys beside plain regression, and short
ablations of the settings that the models were trained with. Written by `make experiments`; do
not edit. All numbers are in `experiments.json`.

**Small on purpose**: every arm is a network of about {million:.1f} million weights trained for
{minutes:g} minutes of one processor core, arms of two domains for as long on each, and those
called twice for twice that. Such runs tell which of two settings learns faster at
first; they do not tell where either ends. Research software; **not a medical device and not for
diagnosis**.

## How it is measured

- **Equal time** is processor time (`time.process_time`, one torch thread, bfloat16, data
  making included): a step of each kind of network is timed first, and each arm takes as many
  steps as its time allows. Other load on the machine then changes nothing but the seconds that
  those steps took, which the last table tells. Steps were timed on an AMD EPYC, and arms of other
  machines take as many. The learning rate rises over {warmup} steps to
  {rate:g}, stays, and falls over the last 30 %; Muon; the average of the weights is judged.
- **One trunk**: two levels of {fine} and {coarse} channels, one block a level each way,
  attention to all places, to the text and along depth at the coarse level. A clip of
  16 x 64 x 64 enters in cells of 4 x 8 x 8, a patch of {patch} voxels in cells of 2 x 2 x 2. A
  domain keeps to itself its first and last layer and a learned vector that is read in place of a
  prompt.
- **What differs from the shipped models**, so that minutes teach something: one MRI task alone
  (4 mm slices along the file's third axis, no variation of intensities, no flips), patches of
  {patch} instead of 32 x 48 x 48, small networks, MRI levels nearer to pure noise (level mean 2
  instead of 0.5), and a noisy sample enters the network as (1 - t) z / ((1 - t)^2 + t^2), the
  best guess that knows its level alone: at t = 1, where it is noise and nothing else, as 0.
  The arms `mri-whole` and `mri-level-mean-0.5` take the last two back.
- **Score**: signal over error of the predicted clip, or of what back-projection left out of a
  patch (4 mm slices along the file's third axis), in dB, where predicting nothing scores 0: the
  mean over the noise levels {levels}, on {items} held-out clips or patches, the same noise for
  all arms. It does not depend on how levels are drawn or errors weighed. Intervals of
  differences are 95 % over clips, or over the heads that the patches are of, paired (Student's
  t).
- **Video** besides: what the oracle finds right in {prompts} held-out prompts of single things,
  8 Euler steps at guidance 3 (Wilson intervals).
- **MRI** besides: gain in PSNR over back-projection, 4 mm to the head's own grid, in the
  foreground of the middle {box} voxels of {heads} validation heads, by the protocol of
  [results](results.md), in one step from pure noise unless said otherwise. Intervals: 95 % over
  heads, of the first seed.
- **Chance**: within arms of several seeds one run deviates by {noise_video} on clips,
  {noise_mri} on patches ({noise_top} at t = 1 alone) and {noise_gain} in the gain on heads. A
  difference of two arms is called better or worse where its interval leaves out 0 **and** it is
  more than such deviations make of two arms 19 times in 20 (Student's t, as few degrees of
  freedom as there are, and as many seeds); else it is inside the noise. With few repeated runs
  that margin is wide (12.7 deviations and more by one degree of freedom, 4.3 by two): what is
  called so may still be real.
"""


def page(results: Results, into: Path, *, facts: Mapping[str, object]) -> str:
    """The page in Markdown; pictures are written beside it.

    Args:
        results: Finished arms by name.
        into: Folder of the page.
        facts: For the protocol.
    """
    spread = {
        "video": noise(results, "video", levels("video")),
        "mri": noise(results, "mri", levels("mri")),
        "gain": noise(results, "mri", gains()),
        "top": noise(results, "mri", TOP),
    }
    head = HEAD.format(
        million=results["mri-48"]["weights"] / 1e6,
        noise_video=_deviation(spread["video"]),
        noise_mri=_deviation(spread["mri"]),
        noise_gain=_deviation(spread["gain"]),
        noise_top=_deviation(spread["top"]),
        **facts,
    )
    parts = [
        head,
        sections.shared_core(results, into, spread),
        sections.regression(results, into, spread),
        sections.ablations(results, spread),
        sections.averages(results),
        _log(results),
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _deviation(noise: Noise | None) -> str:
    if noise is None:
        return "an unknown number of dB"
    many = "degree of freedom" if noise.freedom == 1 else "degrees of freedom"
    return f"{noise.deviation:.3f} dB ({noise.freedom} {many})"


def _log(results: Results) -> str:
    rows = [
        ["arm", "steps", "processor s", "million weights", "heads", "seed", "commit", "finished"]
    ]
    for name, result in results.items():
        arm = result["arm"]
        steps = " + ".join(str(n) for n in result["steps"].values())
        rows.append(
            [
                f"`{name}`",
                steps,
                f"{result['cpu_s']:.0f}",
                f"{result['weights'] / 1e6:.2f}",
                str(arm["heads"] or ""),
                str(arm["seed"]),
                f"`{result['commit']}`",
                result["finished"][:16],
            ]
        )
    missing = [arm.name for arm in ARMS if arm.name not in results]
    left = ""
    if missing:
        left = "\nPlanned and not measured: " + ", ".join(f"`{n}`" for n in missing) + ".\n"
    return "## Every run\n\n" + cells.table(rows) + "\n" + left
