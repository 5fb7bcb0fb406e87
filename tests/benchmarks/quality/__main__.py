"""Measures what the models get right and writes the page and the cards: ``make results``.

Every case is kept, so that a run that was cut goes on where it was: give the same command again.
"""

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path

import torch

from core.records import atomic_path
from tests.benchmarks.page import table as figures_as_table
from tests.benchmarks.quality.cases import ROOT, DataMissingError, Setting, weights_digest
from tests.benchmarks.quality.page import EDITION, page
from tests.benchmarks.quality.weight_cards import renew
from tests.benchmarks.reasons import with_reasons
from tests.benchmarks.results import THREADS, keep

ROWS = {
    "factors": "mri_rows",
    "ways": "mri_rows",
    "evaluations": "evaluation_rows",
    "calibration": "spread_rows",
    "detail": "spread_rows",
    "axes": "mri_rows",
    "profile": "mri_rows",
    "widths": "untold_rows",
    "elsewhere": "untold_rows",
    "cells": "cell_rows",
    "others": "other_rows",
    "thick": "other_rows",
    "errors": "trust_rows",
    "extremes": "trust_rows",
    "before": "trust_rows",
    "one": "video_rows",
    "several": "video_rows",
    "layouts": "layout_row",
    "sheets": "video_pictures",
    "steps": "video_rows",
    "nearest": "nearest_row",
}
KINDS = {"one": "video", "several": "video", "steps": "video", "nearest": "video",
         "sheets": "video", "layouts": "video"}  # fmt: skip


def main() -> int:
    """Run the rows that were asked for and write the page; 0 unless one of them broke."""
    chosen = _arguments()
    torch.set_num_threads(THREADS)
    setting = Setting(into=chosen.into, quick=chosen.quick)
    if chosen.fresh:
        setting.forget()
    rows = [] if chosen.page else chosen.only or list(ROWS)
    broken = [key for key in rows if not _measure(key, setting)]
    if not rows:
        _write_page(setting)
    for key in broken:
        sys.stderr.write(f"{key}: did not run; see above.\n")
    return 1 if broken else 0


def _measure(key: str, setting: Setting) -> bool:
    """Run one row, print it, and keep it; whether it ran."""
    sys.stdout.write(f"\n== {key}\n")
    sys.stdout.flush()
    setting.seconds, setting.fresh, setting.measured = 0.0, 0, set()
    load, start = os.getloadavg()[0], time.perf_counter()
    try:
        module = importlib.import_module(f"tests.benchmarks.quality.{ROWS[key]}")
        row = getattr(module, key)(setting)
    except DataMissingError as error:
        sys.stderr.write(f"{key} is left out: {error}\n")
        return True
    except (ValueError, RuntimeError, AssertionError) as error:
        sys.stderr.write(f"{key}: {error}\n")
        return False
    options = {"quick": True} if setting.quick else {}
    record = row.as_record(seconds=setting.seconds, options=options, load=load)
    kind = KINDS.get(key, "mri")
    record = with_reasons(key, record)
    days = sorted({min(setting.measured), max(setting.measured)})
    record |= {"measured": " to ".join(days)}  # kept cases may be older than this run
    record |= {"kind": kind, "weights": weights_digest(kind)}
    if kind == "mri":
        record["edition"] = EDITION
    sys.stdout.write(
        f"\n{figures_as_table(record['figures'])}\n{time.perf_counter() - start:.0f} s now, "
        f"{setting.fresh} cases measured anew; all its cases took {setting.seconds:.0f} s.\n"
    )
    sys.stdout.flush()
    keep(setting.into / "results.json", key, record)
    _write_page(setting)
    return True


def _write_page(setting: Setting) -> None:
    kept = setting.into / "results.json"
    if not kept.is_file():
        sys.stderr.write(f"{kept} is not there: a page is made of it; measure a row first.\n")
        return
    rows = {k: with_reasons(k, row) for k, row in json.loads(kept.read_text()).items()}
    with atomic_path(setting.into / "results.md", overwrite=True) as temporary:
        temporary.write_text(page(rows, list(ROWS)))
    if setting.into.resolve() == ROOT / "docs":
        renew(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.quality", description=__doc__
    )
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row; repeatable")
    parser.add_argument("--quick", action="store_true", help="few, small cases: how does it look?")
    parser.add_argument("--fresh", action="store_true", help="throw kept cases away first")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    parser.add_argument(
        "--into",
        type=Path,
        help="folder of page, JSON, pictures: docs, with --quick .lamina/results/docs",
    )
    chosen = parser.parse_args()
    if chosen.into is None:
        chosen.into = ROOT / ".lamina" / "results" / "docs" if chosen.quick else ROOT / "docs"
    return chosen


if __name__ == "__main__":
    sys.exit(main())
