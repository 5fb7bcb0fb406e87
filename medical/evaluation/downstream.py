"""Whether drawn heads help: a small lesion segmenter trained on real, drawn and mixed data.

Arms differ in the share of patches that come from drawn heads: 0, 25, 50, 75 and 100 %. The rival
needs no model: lesions of real heads cut out and pasted into other patches of real heads, after
CarveMix (Zhang et al. 2021). Each real person is left out once, with all sessions, and is the
test. Arms of one seed share the first weights, so their differences are paired.

``python -m medical.evaluation.downstream REAL DRAWN OUT.jsonl`` goes on where it was stopped. Each
line is a finished training, and ``OUT.md`` is their table; ``read_cases`` says what folders hold.
``DRAWN`` is one dataset, or holds one for each person left out (``medical.evaluation.leave_out``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.conditioning import Conditioning
from core.networks.conditioned import ConditionedNetwork
from core.networks.unet import SpatioTemporalUNet
from core.operations.windows import windows
from core.records import atomic_path
from core.refusal import Refusal
from core.seeds import generator
from medical.evaluation.cases import PATCH, Case, people_of, read_cases
from medical.lesions.fields import depth
from medical.training.segmenter import Scoring

logger = logging.getLogger(__name__)

ARMS: dict[str, float] = {
    "real": 0.0,
    "25 % drawn": 0.25,
    "50 % drawn": 0.5,
    "75 % drawn": 0.75,
    "drawn alone": 1.0,
    "cut and paste": 0.0,
}
PASTED = "cut and paste"
PASTE_SHARE = 0.5
MOST_DRAWN = 0.5
"""Share of drawn data above which users are warned."""
OVERLAP = (8, 8, 8)
STEPS, BATCH, RATE = 150, 4, 3e-3
ON_LESION = 0.7
"""Share of patches that lie around a lesion voxel."""


Row = dict[str, Any]
DrawnFor = Mapping[str, Sequence[Case]]


def patch_of(case: Case, random: torch.Generator, *, on_lesion: bool) -> tuple[Tensor, Tensor]:
    """Image and mask of a patch, mirrored at random: (D, H, W) each."""
    size = np.array(PATCH)
    most = np.array(case.image.shape) - size
    if on_lesion and len(case.places):
        place = case.places[int(torch.randint(len(case.places), (), generator=random))]
        shift = torch.randint(PATCH[0], (3,), generator=random).numpy()
        start = np.clip(place - shift, 0, most)
    else:
        start = np.array([int(torch.randint(int(m) + 1, (), generator=random)) for m in most])
    box = tuple(slice(int(a), int(a + n)) for a, n in zip(start, size, strict=True))
    flips = [k for k in range(3) if float(torch.rand((), generator=random)) < 0.5]
    return case.image[box].flip(flips), case.mask[box].flip(flips)


def carved(
    target: tuple[Tensor, Tensor], source: tuple[Tensor, Tensor], random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The lesions of one patch, with a rim of random width, pasted into another."""
    lesions = source[1].numpy() > 0
    if not lesions.any():
        return target
    inner = depth(lesions, (1, 1, 1))
    signed = np.where(lesions, -inner, depth(~lesions, (1, 1, 1)))
    deepest, u = float(inner.max()), float(torch.rand((), generator=random))
    # CarveMix: half of the time inside the lesion, half of the time around it
    width = -0.5 * deepest * (1 - 2 * u) if u < 0.5 else deepest * (2 * u - 1)
    taken = torch.from_numpy(signed <= width)
    return (torch.where(taken, source[0], target[0]), torch.where(taken, source[1], target[1]))


def batch_of(
    arm: str, real: Sequence[Case], drawn: Sequence[Case], random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (B, 1, D, H, W) and shares (B, 2, D, H, W) of one step."""
    images, masks = list[Tensor](), list[Tensor]()

    def one(cases: Sequence[Case], on_lesion: bool) -> tuple[Tensor, Tensor]:
        case = cases[int(torch.randint(len(cases), (), generator=random))]
        return patch_of(case, random, on_lesion=on_lesion)

    for _ in range(BATCH):
        pick, near, paste = torch.rand(3, generator=random).tolist()
        found = one(drawn if pick < ARMS[arm] else real, near < ON_LESION)
        if arm == PASTED and paste < PASTE_SHARE:
            found = carved(found, one(real, on_lesion=True), random)
        gain = 0.85 + 0.3 * float(torch.rand((), generator=random))
        images.append(found[0] * gain)
        masks.append(found[1])
    mask = torch.stack(masks)[:, None]
    return torch.stack(images)[:, None], torch.cat([1 - mask, mask], 1)


def trained(
    arm: str, real: Sequence[Case], drawn: Sequence[Case], seed: int, *, steps: int = STEPS
) -> ConditionedNetwork:
    """A segmenter of lesions; first weights and draws follow from the seed, whatever the arm."""
    torch.manual_seed(seed)
    network = SpatioTemporalUNet(
        in_channels=2,
        concat_channels=1,
        block_out_channels=(16, 32, 48),
        layers_per_block=1,
        patch_size=(2, 2, 2),
        down_strides=((2, 2, 2), (2, 2, 2)),
        attention_levels=(False, False, False),
        spatial_attention_levels=(False, False, False),
    )
    scoring = Scoring()
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        random = generator(seed, step)
        images, shares = batch_of(arm, real, drawn, random)
        cond = Conditioning(concat=images)
        loss, _ = scoring.loss(network, shares, cond, scoring.draw(shares, random))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def lesions_found(network: ConditionedNetwork, case: Case) -> NDArray[np.bool_]:
    """(D, H, W) where the segmenter sees lesions in a whole head."""
    total = torch.zeros(case.image.shape)
    shape = case.image.shape
    for part in windows((shape[0], shape[1], shape[2]), PATCH, OVERLAP):
        box = case.image[part.slices][None, None]
        if bool((box > 0).any()):
            with torch.inference_mode():
                one = torch.ones(1)
                said = network(torch.zeros(1, 2, *PATCH), one, one, Conditioning(concat=box))
            total[part.slices] += part.weight(total) * said.softmax(1)[0, 1]
    return (total > 0.5).numpy()


def overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice of two masks; 1 where both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


def runs(
    real: Sequence[Case],
    drawn: DrawnFor,
    seeds: int,
    done: Sequence[Row],
    *,
    steps: int = STEPS,
) -> Iterator[Row]:
    """One result for each seed, person left out and arm that is not done yet.

    Args:
        real: Each person is left out once; Dice is the mean of the person's sessions.
        drawn: The drawn heads to train on, by the person who is left out.
        seeds: How many.
        done: Results that there are.
        steps: Of a training.
    """
    known = {(row["seed"], row["left_out"], row["arm"]) for row in done}
    for seed in range(seeds):
        for person, tests in people_of(real).items():
            told = protocol(real, drawn[person], steps)
            for arm in ARMS:
                if (seed, person, arm) in known:
                    continue
                began = time.perf_counter()
                others = [case for case in real if case.person != person]
                network = trained(arm, others, drawn[person], seed, steps=steps)
                found = [overlap(lesions_found(network, c), c.mask.numpy() > 0) for c in tests]
                yield {
                    "seed": seed,
                    "left_out": person,
                    "arm": arm,
                    "dice": round(float(np.mean(found)), 4),
                    **told,
                    "seconds": round(time.perf_counter() - began, 1),
                }


def protocol(real: Sequence[Case], drawn: Sequence[Case], steps: int) -> Row:
    """What results must share to stand in one table: steps, and digests of all cases."""
    digests = (
        hashlib.sha256("".join(c.digest for c in cases).encode()) for cases in (real, drawn)
    )
    first, second = (digest.hexdigest()[:16] for digest in digests)
    return {"steps": steps, "real": first, "drawn": second}


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the 95 % interval of Student's t; NaN bounds for fewer than two."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    from scipy.stats import t  # noqa: PLC0415  slow to import

    half = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1))
    half /= math.sqrt(len(values))
    return mean, mean - half, mean + half


def main() -> None:
    """Go on with the runs, and write the table of what there is."""
    from medical.evaluation.downstream_table import table, warning  # noqa: PLC0415  reads this module
    from medical.evaluation.leave_out import drawn_for, read_rows  # noqa: PLC0415  likewise

    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "drawn", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    real = read_cases(asked.real)
    if len(people_of(real)) < 2:
        raise Refusal(
            f"{asked.real} holds {len(people_of(real))} person: each is left out once and the "
            "others train; give two or more."
        )
    drawn = drawn_for(real, asked.drawn)
    told = {name: protocol(real, cases, asked.steps) for name, cases in drawn.items()}
    done = read_rows(asked.out, told)
    logger.info("%s", warning())
    for row in runs(real, drawn, asked.seeds, done, steps=asked.steps):
        done.append(row)
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        logger.info("%s", row)
        with atomic_path(asked.out.with_suffix(".md"), overwrite=True) as temporary:
            text = table(done, min(len(people_of(cases)) for cases in drawn.values()))
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
