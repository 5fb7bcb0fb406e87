"""Trains every family on both domains by equal work and writes the page: ``make families``.

Every arm is kept when it is finished and resumed when it was cut: give the same command again.
Arms that the page holds already, by the same plan, are not trained again on another machine. A
page of another plan stands until as many arms are finished; until then the new one is written
beside the arms.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from core.records import atomic_path
from tests.benchmarks.arms.arm import Domain
from tests.benchmarks.arms.data import Data
from tests.benchmarks.families.arm import ARMS, Arm
from tests.benchmarks.families.page import page
from tests.benchmarks.families.training import Laboratory
from tests.benchmarks.quality.cases import ROOT
from tests.benchmarks.quality.heads import data_folder

WORK: dict[Domain, int] = {"video": 1200, "mri": 2400}
"""About ten minutes of one core an arm."""
PROMPTS = 40
PAGE = "families.json"


def main() -> int:
    """Train the arms that are missing, in order, and write the page after each."""
    chosen = _arguments()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    lab = laboratory(chosen)
    into = lab.state / "docs" if chosen.quick else ROOT / "docs"
    into.mkdir(parents=True, exist_ok=True)
    before = {} if chosen.anew else published(into / PAGE, lab.work)
    for arm in [] if chosen.page else ARMS:
        done = lab.result(arm) or name(arm) in before
        if (not chosen.only or arm.name in chosen.only) and not done:
            began = datetime.now(UTC)
            lab.run(arm)
            sys.stdout.write(f"{began:%H:%M:%S} {arm.domain} {arm.name}\n")
            sys.stdout.flush()
            write_page(lab, place(lab, into, before), before)
    return 0 if write_page(lab, place(lab, into, before), before) else 1


def place(lab: Laboratory, into: Path, before: Mapping[str, Any]) -> Path:
    """Folder of the page: that of a page which holds more arms of another plan is left alone."""
    held = json.loads((into / PAGE).read_text())["arms"] if (into / PAGE).is_file() else {}
    finished = {name(arm) for arm in ARMS if lab.result(arm)} | set(before)
    if len(finished) >= len(held):
        return into
    beside = lab.state / "docs"
    beside.mkdir(parents=True, exist_ok=True)
    return beside


def name(arm: Arm) -> str:
    """What the page calls an arm."""
    return f"{arm.domain} {arm.name}"


def published(path: Path, work: Mapping[Domain, int]) -> dict[str, Any]:
    """Results of the page by name, of arms that are planned just so."""
    arms = json.loads(path.read_text())["arms"] if path.is_file() else {}
    told = {name(arm): arm.told(work[arm.domain]) for arm in ARMS}
    return {key: result for key, result in arms.items() if result["arm"] == told.get(key)}


def write_page(lab: Laboratory, into: Path, before: Mapping[str, Any]) -> bool:
    """Write the page of the finished arms and of those before; whether there are any."""
    own = {name(arm): found for arm in ARMS if (found := lab.result(arm))}
    either = {**before, **own}
    results = {name(arm): either[name(arm)] for arm in ARMS if name(arm) in either}
    if not results:
        return False
    drawn = {name(arm): lab.pictures(arm) for arm in ARMS if name(arm) in own}
    facts = {"data": lab.data, "work": lab.work, "heads": lab.heads}
    text = page(results, drawn, into, **facts, usual_work=WORK)
    kept = {"work": lab.work, "heads": lab.heads, "arms": results}
    with atomic_path(into / PAGE, overwrite=True) as temporary:
        temporary.write_text(json.dumps(kept, separators=(",", ":")) + "\n")
    with atomic_path(into / "families.md", overwrite=True) as temporary:
        temporary.write_text(text)
    return True


def laboratory(chosen: argparse.Namespace) -> Laboratory:
    """Where and on what arms are trained."""
    home = Path(os.environ.get("LAMINA_HOME", ROOT / ".lamina")) / "families"
    heads = chosen.heads or data_folder() / "t1-heads"
    if chosen.quick:
        data = Data(heads, items=4, prompts=2, most_heads=1, scenes=32)
        return Laboratory(data, home / "quick", dict.fromkeys(WORK, 12), heads=2)
    work: dict[Domain, int] = {domain: chosen.work or usual for domain, usual in WORK.items()}
    return Laboratory(Data(heads, prompts=PROMPTS), home, work)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.families")
    parser.add_argument("--heads", type=Path, help="BIDS folder; t1-heads in LAMINA_DATA")
    parser.add_argument("--work", type=int, help="of an arm, in steps of a flow")
    parser.add_argument("--only", action="append", help="arms of this name; repeatable")
    parser.add_argument("--quick", action="store_true", help="a few steps an arm: does it run?")
    parser.add_argument("--anew", action="store_true", help="also what the page holds already")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
