"""The benchmark page: every row of the JSON as a table with its protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = """# Benchmarks

Written by `make bench`; do not edit. Speed, memory and cost; what the models get right stands in
[results](results.md). Every number stands beside the protocol it was measured
under and the target the project set before measuring. A target that is not met stays, with the
distance and the reason. The numbers with all details are in `benchmarks.json`.
"""


def page(rows: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> str:
    """The page in Markdown.

    Args:
        rows: As ``results.keep`` returns them.
        order: Keys in the order of the page; rows not measured yet are left out.
    """
    present = [rows[key] for key in order if key in rows]
    parts = [HEAD, _summary(present), *map(_section, present)]
    return "\n".join(parts).rstrip() + "\n"


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| what | value | target | |", "|---|---|---|---|"]
    for figure in figures:
        value = f"{shown(figure['value'])} {figure['unit']}".strip()
        note = f" ({figure['note']})" if figure["note"] else ""
        lines.append(
            f"| {figure['name']} | {value}{note} | {wanted(figure)} | {figure['verdict']} |"
        )
    return "\n".join(lines)


def side_by_side(table: Mapping[str, Any]) -> str:
    """A row's further numbers as a Markdown table."""
    lines = [table["columns"], ["---"] * len(table["columns"]), *table["lines"]]
    return "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def shown(value: float) -> str:
    """A number with as many digits as can be trusted."""
    size = abs(value)
    if size and size < 1e-2:
        return f"{value:.1e}"
    return f"{value:.3f}" if size < 10 else f"{value:.2f}" if size < 100 else f"{value:.0f}"


def wanted(figure: Mapping[str, Any]) -> str:
    """The target with its unit; empty without one."""
    return f"{figure['target']} {figure['unit']}".strip() if figure["target"] else ""


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """All figures that have a target, in one table."""
    lines = ["| benchmark | what | value | target | |", "|---|---|---|---|---|"]
    for row in rows:
        for figure in row["figures"]:
            if figure["target"]:
                value = f"{shown(figure['value'])} {figure['unit']}".strip()
                lines.append(
                    f"| {row['title']} | {figure['name']} | {value} | "
                    f"{wanted(figure)} | {figure['verdict']} |"
                )
    return "\n".join(lines)


def measured(row: Mapping[str, Any]) -> str:
    """When, how and where a row was measured, in a sentence."""
    where = row["machine"]
    flags = ", ".join(where["flags"]) or "none of note"
    options = ", ".join(f"{name}={value}" for name, value in row["options"].items()) or "defaults"
    return (
        f"Measured {row['measured']} in {row['seconds']} s ({options}) on "
        f"{where['processor']}, {where['cores']} cores, {where['threads']} threads, {flags}; "
        f"torch {where['torch']}, Python {where['python']}; load average before the run "
        f"{where['load_before']}."
    )


def _section(row: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            f"\n## {row['title']}\n",
            f"{row['protocol']}\n",
            table(row["figures"]),
            "",
            *(f"- {note}" for note in row["notes"]),
            *(side_by_side(each) for each in row["tables"]),
            f"\n{measured(row)}",
        ]
    )
