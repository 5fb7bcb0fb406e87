"""Whether clips are copies: the nearest of many training clips, against that of real clips."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.seeds import generator
from tests.benchmarks.quality import plots
from tests.benchmarks.quality.cases import Arrays, Setting
from tests.benchmarks.quality.clips import ONE, SEED, SINGLE, frames_of, outcomes, prompts
from tests.benchmarks.quality.video_rows import share_figure
from tests.benchmarks.results import Figure, Row
from video.world.world import draw_batch

TRAINING, QUICK = 20_000, 1_000
BLOCK = 500
DRAWN_FROM = 1_000_000
"""Seed of the first block of training clips; the next block has the next seed."""
PERCENTILE = 1.0
TOO_NEAR = 0.01


def nearest(setting: Setting) -> Row:
    """Share of clips nearer to training than the 1st percentile of real clips."""
    found = outcomes(setting, ONE)
    training = QUICK if setting.quick else TRAINING
    case = {"nearest": training, "clips": len(found), "drawn_from": DRAWN_FROM, "seed": SEED}
    numbers = setting.find("video", case, lambda: _measure(setting, training))
    made, real = numbers["made"], numbers["real"]
    threshold = float(np.percentile(real, PERCENTILE))
    return Row(
        title="Video: are clips copies of training clips?",
        protocol=f"The {len(found)} clips of one object above; beside them the real clips of the "
        f"same held-out prompts; and {training:,} clips of single objects in the combinations "
        "that training draws, all motions equally often. "
        "Training draws without end, so these stand for it. Distance: root mean square difference "
        "of pixels in [0, 1] over all frames, each brought to 16 x 16 pixels. Too near: nearer to "
        "its nearest training clip than 99 % of the real clips are to theirs.",
        figures=[
            share_figure("too near", [value < threshold for value in made], high=TOO_NEAR),
            Figure(
                name="median distance, generated",
                value=float(np.median(made)),
                cases=len(made),
            ),
            Figure(name="median distance, real", value=float(np.median(real)), cases=len(real)),
            Figure(name="1st percentile of real", value=threshold, cases=len(real)),
        ],
        pictures=[plots.nearest(setting, made, real, threshold)],
    )


def _measure(setting: Setting, training: int) -> tuple[dict[str, Any], Arrays]:
    found = outcomes(setting, ONE)
    frames = np.stack(frames_of(setting, ONE, found))
    made = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    asked = torch.cat([_small(made), _small(prompts(ONE)[1][: len(found)])])
    best = torch.full((len(asked),), torch.inf)
    for block in range(training // BLOCK):
        clips, _, _ = draw_batch(BLOCK, generator(DRAWN_FROM + block), count_shares=SINGLE)
        best = torch.minimum(best, torch.cdist(asked, _small(clips)).amin(dim=1))
    distance = (best / asked.shape[1] ** 0.5).tolist()
    distance = [round(value, 6) for value in distance]
    return {"made": distance[: len(found)], "real": distance[len(found) :]}, {}


def _small(clips: Tensor) -> Tensor:
    """(N, 3, D, H, W) in [-1, 1] -> (N, values) in [0, 1], frames of 16 x 16."""
    number, _, depth = clips.shape[:3]
    small = F.adaptive_avg_pool3d(clips.float(), (depth, 16, 16))
    return ((small + 1) / 2).reshape(number, -1)
