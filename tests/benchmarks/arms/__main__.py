"""Trains small networks at equal processor time and writes the page: ``make experiments``.

Every arm is kept when it is finished and resumed when it was cut: give the same command again.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from core.records import atomic_path
from tests.benchmarks.arms.arm import ARMS, WIDTHS, Arm
from tests.benchmarks.arms.data import PATCH, Data
from tests.benchmarks.arms.measures import strangers
from tests.benchmarks.arms.page import page
from tests.benchmarks.arms.scores import LEVELS
from tests.benchmarks.arms.sections import REFERENCE
from tests.benchmarks.arms.training import LEARNING_RATE, WARMUP, Laboratory, claimed
from tests.benchmarks.quality.cases import ROOT
from tests.benchmarks.quality.heads import data_folder

MINUTES = 2.0
QUICK_STEPS = 4


def main() -> int:
    """Train the arms that are missing, in order, and write the page after each."""
    chosen = _arguments()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    lab = laboratory(chosen)
    into = lab.state / "docs" if chosen.quick else ROOT / "docs"
    into.mkdir(parents=True, exist_ok=True)
    if not chosen.page:
        train(lab, [a for a in ARMS if not chosen.only or a.name in chosen.only], into)
    return 0 if write_page(lab, into) else 1


def train(lab: Laboratory, arms: Sequence[Arm], into: Path) -> None:
    """Train the arms that are neither finished nor at work in another process."""
    lab.state.mkdir(parents=True, exist_ok=True)
    if not lab.steps:
        with claimed(lab.state) as free:
            if free:
                lab.measure_costs({form for arm in arms for form in arm.forms})
    while any(_trained(lab, arm, into) for arm in arms):
        pass  # from the first again: what had to wait for another arm may be due now


def _trained(lab: Laboratory, arm: Arm, into: Path) -> bool:
    """Train an arm if it is due and free; whether it was."""
    before = next((a for a in ARMS if a.name == arm.begins_with), None)
    if lab.result(arm) or (before and not lab.result(before)):
        return False
    with claimed(lab.folder(arm)) as free:
        if not free or lab.result(arm):
            return False
        lab.run(arm)
        write_page(lab, into)
        return True


def write_page(lab: Laboratory, into: Path) -> bool:
    """Write the page of what is finished, here or before; whether there is enough for one."""
    kept = into / "experiments.json"
    known = json.loads(kept.read_text()) if kept.is_file() else {}
    known |= {arm.name: found for arm in ARMS if (found := lab.result(arm))}
    results = {arm.name: known[arm.name] for arm in ARMS if arm.name in known}
    if not set(REFERENCE.values()) <= set(results):
        sys.stderr.write(f"no page yet: {sorted(REFERENCE.values())} must be trained first.\n")
        return False
    for name in strangers(results, REFERENCE):
        sys.stderr.write(
            f"{name} was judged on other clips or heads than {sorted(REFERENCE.values())}, by "
            f"other code or data: it is left out; remove {lab.state} to train all anew.\n"
        )
        del results[name]
    facts = {
        "minutes": lab.budget_s / 60,
        "warmup": WARMUP,
        "rate": LEARNING_RATE,
        "fine": WIDTHS[0],
        "coarse": WIDTHS[1],
        "patch": " x ".join(map(str, PATCH)),
        "box": " x ".join(map(str, lab.data.box)),
        "heads": lab.data.most_heads,
        "items": lab.data.items,
        "prompts": lab.data.prompts,
        "levels": ", ".join(map(str, LEVELS)),
    }
    with atomic_path(kept, overwrite=True) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    with atomic_path(into / "experiments.md", overwrite=True) as temporary:
        temporary.write_text(page(results, into, facts=facts))
    return True


def laboratory(chosen: argparse.Namespace) -> Laboratory:
    """Where and on what arms are trained."""
    home = Path(os.environ.get("LAMINA_HOME", ROOT / ".lamina")) / "experiments"
    heads = chosen.heads or data_folder() / "t1-heads"
    if chosen.quick:
        data = Data(heads, items=4, prompts=2, most_heads=1, box=(48, 48, 48), scenes=32)
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
