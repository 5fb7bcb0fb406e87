"""Fits the weights of ``medical.acquisition.slice_width`` on heads of training, and prints them.

``python -m tests.benchmarks.slice_widths``: each head that is not kept for validation is scanned
in random slices, 2 to 6 mm apart and 0.6 to 1.5 times as wide, with up to 3 % of noise. Heads
kept for validation are scanned alike and tell how far the fit is off. A quarter of an hour.
"""

import math
import random
import sys
from pathlib import Path

import numpy as np
import torch

from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.acquisition.noise import estimate_noise
from medical.acquisition.slice_width import detail_ratios, terms
from medical.files.volume import Volume
from medical.operations.problem import LEARNED_NOISE
from medical.training.dataset import VALIDATION_EVERY
from tests.benchmarks.quality.heads import data_folder, file_reader

SCANS = 12  # of each head
DISTANCES_MM = (2.0, 2.0, 3.0, 4.0, 4.0, 5.0)
NOISES = (0.0, 0.0, 0.01, 0.02, 0.03)
RIDGE, HUBER = 0.05, 1.5


def main() -> int:
    """Print the weights and, for heads that they were not fitted on, how far they are off."""
    torch.set_num_threads(1)
    paths = sorted((data_folder() / "t1-heads").glob("sub-*/anat/sub-*_T1w.nii.gz"))
    kept = paths[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    fitted = _samples([path for path in paths if path not in kept], seed=0)
    weights = _fit(*fitted)
    sys.stdout.write(f"WEIGHTS = {[round(float(w), 4) for w in weights]}\n")
    for name, (rows, widths) in {"fitted": fitted, "unseen": _samples(kept, seed=1)}.items():
        inside = (widths >= 0.8) & (widths <= 1.3)
        off = np.expm1((rows @ weights - np.log(widths))[inside])
        sys.stdout.write(
            f"{name}, 0.8 to 1.3 of the distance: {len(off)} scans, off by "
            f"{np.sqrt((off**2).mean()):.3f}, within a tenth {np.mean(np.abs(off) < 0.1):.2f}\n"
        )
    return 0


def _samples(paths: list[Path], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is weighed of each scan, and how wide its slices are over their distance."""
    dice, rows, widths = random.Random(seed), [], []
    for path in paths:
        head = file_reader(path)()
        for _ in range(SCANS):
            axis = dice.choice((2, 2, 2, 0, 1))
            pitch = dice.choice((*DISTANCES_MM, dice.uniform(2.0, 6.0)))
            share, noise = dice.uniform(0.6, 1.5), dice.choice(NOISES)
            row = _scanned(head, axis, pitch, share, noise, dice)
            if row:
                rows.append(row)
                widths.append(share)
    return np.array(rows), np.array(widths)


def _scanned(
    head: Volume, axis: int, pitch: float, share: float, noise: float, dice: random.Random
) -> list[float]:
    width, phase = share * pitch, dice.uniform(-0.5, 0.5) * pitch
    sampling = SliceSampling(width, pitch - width, phase_mm=phase)
    x = acquire(head, Acquisition.slices(axis, sampling)).data
    if noise:
        parts = noise * torch.randn(2, *x.shape)
        x = ((x + parts[0]).square() + parts[1].square()).sqrt()
    plane = [a for a in range(3) if a != axis]
    x = x.permute(axis, *plane).contiguous()
    found = (estimate_noise(x) or 0.0) if noise else 0.0
    left = math.sqrt(max(0.0, found**2 - LEARNED_NOISE**2))
    spacing = head.spacing_mm[plane[0]], head.spacing_mm[plane[1]]
    ratios = detail_ratios(x, pitch, spacing, left)
    return terms(ratios, pitch, axis) if ratios else []


def _fit(rows: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Ridge regression of the logarithm of the width, outliers weighed down."""
    wanted, weight = np.log(widths), np.ones(len(widths))
    ridge, fit = RIDGE * np.eye(rows.shape[1]), np.zeros(rows.shape[1])
    for _ in range(10):
        weighed = rows * weight[:, None]
        fit = np.linalg.solve(weighed.T @ rows + ridge, weighed.T @ wanted)
        off = np.abs(rows @ fit - wanted)
        limit = HUBER * 1.48 * float(np.median(off)) + 1e-9
        weight = np.minimum(1.0, limit / np.maximum(off, 1e-9))
    return fit


if __name__ == "__main__":
    sys.exit(main())
