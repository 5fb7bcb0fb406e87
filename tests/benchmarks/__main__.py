"""Measures speed and cost and writes the page: ``python -m tests.benchmarks --only ROW``.

What the models get right is measured by ``python -m tests.benchmarks.quality``; two commits are
timed side by side by ``python -m tests.benchmarks --against COMMIT``.
"""

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tests.benchmarks import against
from tests.benchmarks.models import tiny_models
from tests.benchmarks.page import page, side_by_side, table
from tests.benchmarks.reasons import with_reasons
from tests.benchmarks.results import THREADS, keep_beside

ROWS = {
    "whole-head": "tests.benchmarks.whole_head",
    "latency": "tests.benchmarks.latency",
    "estimates": "tests.benchmarks.estimates",
    "network": "tests.benchmarks.network",
    "peers": "tests.benchmarks.peers",
    "files": "tests.benchmarks.files",
    "training": "tests.benchmarks.training_pace",
    "flow": "tests.benchmarks.flow_cost",
    "batch": "tests.benchmarks.batch_cost",
    "portable": "tests.benchmarks.portable",
    "growth": "tests.benchmarks.growth",
}
DOCS = Path(__file__).parents[2] / "docs"


def main() -> int:
    """Run the rows that were asked for; 0 unless one of them broke."""
    if any(word.partition("=")[0] == "--against" for word in sys.argv[1:]):
        return against.main(sys.argv[1:])
    chosen = _arguments()
    torch.set_num_threads(THREADS)
    size = {"quick": chosen.quick, "full": chosen.full}
    with TemporaryDirectory() as shelf:
        if chosen.tiny:
            tiny_models(Path(shelf))
        broken = [key for key in chosen.only or ROWS if not _measure(key, size, chosen.save)]
    for key in broken:
        sys.stderr.write(f"{key}: did not run; see above.\n")
    return 1 if broken else 0


def _measure(key: str, size: dict[str, bool], save: bool) -> bool:
    """Run one row, print it, and keep it; whether it ran."""
    sys.stdout.write(f"\n== {key}\n")
    sys.stdout.flush()
    load, start = os.getloadavg()[0], time.perf_counter()
    try:
        row = importlib.import_module(ROWS[key]).run(**size)
    except (ValueError, RuntimeError, AssertionError) as error:
        sys.stderr.write(f"{key}: {error}\n")
        return False
    options = {name: value for name, value in size.items() if value}
    record = row.as_record(seconds=time.perf_counter() - start, options=options, load=load)
    record = with_reasons(key, record)
    sys.stdout.write(
        f"{table(record['figures'])}\n" + "".join(f"- {n}\n" for n in record["notes"])
    )
    sys.stdout.write("".join(f"{side_by_side(each)}\n" for each in record["tables"]))
    sys.stdout.flush()
    if save:
        rows = keep_beside(DOCS / "benchmarks.json", key, record)
        (DOCS / "benchmarks.md").write_text(page(rows, list(ROWS)))
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row; repeatable")
    parser.add_argument("--quick", action="store_true", help="few samples: does it run at all?")
    parser.add_argument("--full", action="store_true", help="more turns")
    parser.add_argument("--tiny", action="store_true", help="untrained tiny models; not saved")
    parser.add_argument("--no-save", dest="save", action="store_false", help="print only")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    chosen = parser.parse_args()
    if chosen.page:
        rows = json.loads((DOCS / "benchmarks.json").read_text())
        rows = {
            key: {kind: with_reasons(key, record) for kind, record in row.items()}
            for key, row in rows.items()
        }
        (DOCS / "benchmarks.md").write_text(page(rows, list(ROWS)))
        sys.exit(0)
    chosen.save = chosen.save and not chosen.tiny
    return chosen


if __name__ == "__main__":
    sys.exit(main())
