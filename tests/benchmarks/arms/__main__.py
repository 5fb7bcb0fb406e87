"""Trains small networks at equal processor time and writes the page: ``make experiments``.

Every arm is kept when it is finished and resumed when it was cut: give the same command again.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

import torch

from tests.benchmarks.arms.arm import ARMS
from tests.benchmarks.arms.data import Data
from tests.benchmarks.arms.training import Laboratory, claimed
from tests.benchmarks.quality.cases import ROOT
from tests.benchmarks.quality.heads import data_folder

MINUTES = 2.0
QUICK_STEPS = 4


def main() -> int:
    """Train the arms that are missing, in order."""
    chosen = _arguments()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    lab = laboratory(chosen)
    arms = [arm for arm in ARMS if not chosen.only or arm.name in chosen.only]
    if not chosen.page:
        train(lab, arms)
    return 0


def train(lab: Laboratory, arms: list) -> None:
    """Train the arms that are neither finished nor at work elsewhere."""
    lab.state.mkdir(parents=True, exist_ok=True)
    if not lab.steps:
        with claimed(lab.state) as free:
            if free:
                lab.measure_costs({form for arm in arms for form in arm.forms})
    for arm in arms:
        before = next((a for a in ARMS if a.name == arm.begins_with), None)
        if lab.result(arm) or (before and not lab.result(before)):
            continue
        with claimed(lab.folder(arm)) as free:
            if free and not lab.result(arm):
                lab.run(arm)


def laboratory(chosen: argparse.Namespace) -> Laboratory:
    """Where and on what arms are trained."""
    home = Path(os.environ.get("LAMINA_HOME", ROOT / ".lamina")) / "experiments"
    heads = chosen.heads or data_folder() / "t1-heads"
    if chosen.quick:
        data = Data(heads, items=4, prompts=2, most_heads=1, box=(48, 48, 48))
        return Laboratory(data, home / "quick", 1.0, steps=QUICK_STEPS)
    return Laboratory(Data(heads), home, 60 * chosen.minutes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.arms", description=__doc__)
    parser.add_argument("--heads", type=Path, help="BIDS folder; t1-heads in LAMINA_DATA")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="processor time of a unit")
    parser.add_argument("--only", action="append", help="this arm; repeatable")
    parser.add_argument("--quick", action="store_true", help="a few steps an arm: does it run?")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
