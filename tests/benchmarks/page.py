"""The benchmark page: every row of the JSON as a table with its protocol."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

HEAD = """# Benchmarks

Written by `make bench`; do not edit. Speed, memory and cost; what the models get right stands in
[results](results.md), what exported models cost and what int8 loses in
[small machines](how-to/small-machines.md). Every number stands beside the protocol it was measured
under and the target the project set before measuring. A target that is not met stays, with the
distance and the reason. Each kind of processor has a column of its own; where it is empty,
nothing was measured on that kind. The numbers with all details are in `benchmarks.json`.
"""


def page(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], order: Sequence[str]) -> str:
    """The page in Markdown.

    Args:
        rows: By key, then by kind of processor (``results.kind_of``).
        order: Keys in the order of the page; rows not measured yet are left out.
    """
    present = [rows[key] for key in order if key in rows]
    kinds = sorted({kind for row in present for kind in row})
    parts = [HEAD, _summary(present, kinds), *map(_section, present)]
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


def _summary(rows: Sequence[Mapping[str, Mapping[str, Any]]], kinds: Sequence[str]) -> str:
    """All figures that have a target, in one table with a column for each kind of processor."""
    lines = [_line("benchmark", "what", "target", *kinds), "|---" * (3 + len(kinds)) + "|"]
    for row in rows:
        title = _newest(row)["title"]
        lines += [
            _line(title, name, target, *(_cell(found.get(kind)) for kind in kinds))
            for (name, target), found in _by_figure(row).items()
            if target
        ]
    return "\n".join(lines)


def _by_figure(
    row: Mapping[str, Mapping[str, Any]],
) -> dict[tuple[str, str], dict[str, Mapping[str, Any]]]:
    """(name, target) -> kind of processor -> figure, in the order of the newest measurement."""
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for kind in sorted(row, key=lambda kind: row[kind]["measured"], reverse=True):
        for figure in row[kind]["figures"]:
            found.setdefault((figure["name"], wanted(figure)), {})[kind] = figure
    return found


def _newest(row: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return max(row.values(), key=lambda record: record["measured"])


def _cell(figure: Mapping[str, Any] | None, *, note: bool = False) -> str:
    """Value, spread and verdict of a figure; empty where it was not measured."""
    if figure is None:
        return ""
    value = f"{shown(figure['value'])} {figure['unit']}".strip()
    more = f" ({figure['note']})" if note and figure["note"] else ""
    return f"{value}{more}" + (f", {figure['verdict']}" if figure["verdict"] else "")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


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


def _section(row: Mapping[str, Mapping[str, Any]]) -> str:
    """What each kind of processor gave, side by side; what differs in words, one by one."""
    kinds = sorted(row)
    figures = [_line("what", "target", *kinds), "|---" * (2 + len(kinds)) + "|"]
    figures += [
        _line(name, target, *(_cell(found.get(kind), note=True) for kind in kinds))
        for (name, target), found in _by_figure(row).items()
    ]
    return "\n".join(
        [
            f"\n## {_newest(row)['title']}\n",
            *(f"{said}\n" for said in _each(row, lambda record: [record["protocol"]])),
            *figures,
            "",
            *(f"- {note}" for note in _each(row, lambda record: record["notes"])),
            *(f"\n{text}" for text in _each(row, _tables)),
            *(f"\n{measured(row[kind])}" for kind in kinds),
        ]
    )


def _tables(record: Mapping[str, Any]) -> list[str]:
    return ["\n" + side_by_side(each) for each in record["tables"]]


def _each(
    row: Mapping[str, Mapping[str, Any]], said: Callable[[Mapping[str, Any]], Sequence[str]]
) -> list[str]:
    """What is said for every kind of processor once; before all else, the kind it is said for."""
    found: dict[str, list[str]] = {}
    for kind in sorted(row):
        for text in said(row[kind]):
            found.setdefault(text, []).append(kind)
    alone = len(row) == 1
    return [
        text if alone or len(kinds) == len(row) else f"{', '.join(kinds)}: {text}"
        for text, kinds in found.items()
    ]
