"""The results page: every target first, then every row with its protocol and pictures."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.models.checkpoints import find_model, read_record
from medical.request import SuperResolutionRequest
from tests.benchmarks.page import measured, shown, wanted
from tests.benchmarks.quality.cases import SHIPPED

HEAD = """# Results

What the shipped models get right, and where they fail. Written by `make results`; do not edit.
Every number stands beside its protocol, the number of its cases and its 95 % interval (Wilson's
for shares, Student's t over heads for means) and, where one was set before measuring, its target.
What misses its target is named so. Unless said otherwise, prompts and heads are such that
training never saw. All numbers are in `results.json`; speed and memory stand in
[benchmarks](benchmarks.md).

Research software; **not a medical device and not for diagnosis**.
"""
QUICK = (
    "**A quick run**: few prompts, or two heads cut to a small box. It shows what the page is "
    "like; its numbers say little.\n"
)
CREDITS = (
    (
        "OpenNeuro [ds002748](https://openneuro.org/datasets/ds002748) v1.0.5 (doi "
        "10.1155/2021/8846097): 60 heads, T1-weighted, skull-stripped",
        "training (50 heads), validation (10)",
        "CC0",
    ),
    (
        "Multiple sclerosis, T1, T2 and FLAIR: two people in MNI space, and thick slices of three "
        "as acquired; Lesjak et al. 2017, University of Ljubljana",
        "evaluation alone; pictures of the first two, and of the inside of the others",
        "CC BY",
    ),
    (
        "MNI152, ICBM 2009a nonlinear symmetric, bundled by nilearn; Fonov et al. 2011, McGill",
        "evaluation, demo",
        "free with its notice",
    ),
    (
        "Colin27 (`ch2` of Debian's `mricron-data`); Holmes et al. 1998, McGill",
        "evaluation alone",
        "BSD-3-Clause, as packaged there",
    ),
    (
        "The procedural world of `video/world/world.py`",
        "training, evaluation",
        "Apache-2.0, this code",
    ),
)
PICTURES = "pictures/results"
EDITION: int = SuperResolutionRequest.model_fields["edition"].default
UNTOLD = 3  # edition of the rows of heads that say none


def page(rows: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> str:
    """The page in Markdown.

    Args:
        rows: As ``results.keep`` returns them.
        order: Keys in the order of the page; rows not measured yet are left out.
    """
    present = [rows[key] for key in order if key in rows]
    records = {kind: read_record(find_model(name, kind)) for kind, name in SHIPPED.items()}
    parts = [
        HEAD,
        _targets(present),
        _weights(records),
        _credits(),
        *(_section(row, records) for row in present),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _targets(rows: Sequence[Mapping[str, Any]]) -> str:
    """All figures that have a target; first how many are met."""
    judged = [(row, figure) for row in rows for figure in row["figures"] if figure["target"]]
    missed = sum("missed" in figure["verdict"] for _, figure in judged)
    lines = [
        f"## Targets\n\n{len(judged) - missed} of {len(judged)} are met, {missed} missed.\n",
        "| row | what | value | 95 % interval | cases | target | |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {_title(row)} | {_line(figure)}" for row, figure in judged]
    return "\n".join(lines) + "\n"


def _weights(records: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "## Weights\n",
        "| model | job | million weights | file, MB | SHA-256 of the weights | license |",
        "|---|---|---|---|---|---|",
    ]
    for kind, record in records.items():
        file = find_model(SHIPPED[kind], kind) / "weights.safetensors"
        lines.append(
            f"| `{SHIPPED[kind]}` | {kind} | {record['parameters'] / 1e6:.1f} | "
            f"{file.stat().st_size / 1e6:.1f} | `{record['sha256'][file.name]}` | "
            f"{record['license']} |"
        )
    return "\n".join(lines) + "\n"


def _credits() -> str:
    lines = ["## Data\n", "| data | used for | license |", "|---|---|---|", *map(_cells, CREDITS)]
    return "\n".join(lines) + "\n"


def _section(row: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [f"## {_title(row)}\n", f"{row['protocol']}\n"]
    if row["options"].get("quick"):
        parts.append(QUICK)
    if row["weights"] != records[row["kind"]]["sha256"]["weights.safetensors"]:
        parts.append(f"**Measured with other weights** (`{row['weights'][:12]}`).\n")
    edition = row.get("edition", UNTOLD)
    if row["kind"] == "mri" and edition != EDITION:
        parts.append(
            f"**Measured by `edition: {edition}`**; edition {EDITION} is the default now.\n"
        )
    if row["figures"]:
        parts += [
            "| what | value | 95 % interval | cases | target | |",
            "|---|---|---|---|---|---|",
            *(f"| {_line(figure)}" for figure in row["figures"]),
            "",
        ]
    for table in row["tables"]:
        parts += [_cells(table["columns"]), _cells(["---"] * len(table["columns"]))]
        parts += [*map(_cells, table["lines"]), ""]
    for picture in row["pictures"]:
        parts.append(f"![{picture['caption'].partition('.')[0]}]({PICTURES}/{picture['name']})\n")
        parts.append(f"*{picture['caption']}*\n")
    parts += [f"- {note}" for note in row["notes"]]
    return "\n".join([*parts, "", f"<sub>{measured(row)}</sub>\n"])


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['title']} (quick)" if row["options"].get("quick") else row["title"]


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(figure: Mapping[str, Any]) -> str:
    value = f"{shown(figure['value'])} {figure['unit']}".strip()
    value += f" ({figure['note']})" if figure["note"] else ""
    interval = figure["interval"]
    between = f"{shown(interval[0])} to {shown(interval[1])}" if interval else ""
    cells = (figure["name"], value, between, str(figure["cases"] or ""), wanted(figure))
    return f"{' | '.join(cells)} | {_verdict(figure)} |"


def _verdict(figure: Mapping[str, Any]) -> str:
    """The verdict on the value; a target that lies inside the interval is not met for sure."""
    low, high = figure["interval"] or (figure["value"], figure["value"])
    least = -math.inf if figure["low"] is None else figure["low"]
    most = math.inf if figure["high"] is None else figure["high"]
    if figure["verdict"] == "met" and (low < least or high > most):
        return "met, but not all of the interval is"
    return figure["verdict"]
