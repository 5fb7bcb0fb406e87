"""The report of a dataset: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from medical.datasets.request import MRIDatasetRequest
from medical.files.bids import write_text

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2rem .6rem;"
    "text-align:right}th{background:#eee}"
)


def write_report(
    request: MRIDatasetRequest,
    summary: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    out: Path,
) -> Path:
    """Write ``report.html``; its path."""
    rows = [_row(record) for record in records]
    said = "".join(f"<li>{escape(words)}</li>" for words in summary["plan"]["said"])
    body = [
        f"<h1>{escape(request.name)}</h1>",
        f"<p><strong>{summary['approval']}</strong>. {summary['made']} heads of "
        f"{request.count} asked, {', '.join(request.contrasts)}. Drawn from "
        f"{escape(summary['drawn_from'])}. No image shows a person. For research, not for "
        "diagnosis.</p>",
        f"<ul>{said}</ul>" if said else "",
        "<h2>Asked and delivered</h2>",
        _table(("head", "fold", "ml asked", "ml", "lesions asked", "lesions"), rows),
        "<h2>Strata</h2>",
        _table(("stratum", "", "asked", "delivered", "people"), _strata(summary["strata"])),
        "<h2>Quarantine</h2>",
        f"<p>{len(summary['quarantined'])} volumes were drawn and set aside.</p>",
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>'
        f"{escape(request.name)}</title><style>{STYLE}</style></head><body>"
        f"{''.join(body)}</body></html>\n"
    )
    return write_text(out / "report.html", page)


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    lesions = record["lesions"]
    if lesions is None:
        return record["subject"], str(record["fold"]), "0", "0", "0", "0"
    load, count = lesions["load_ml"], lesions["count"]
    return (
        record["subject"],
        str(record["fold"]),
        f"{load['asked']:.2f}",
        f"{load['delivered']:.2f}",
        str(count["asked"]),
        str(count["delivered"]),
    )


def _strata(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    names = ("kind", "value", "asked", "delivered", "people")
    return [tuple(str(row[name]) for name in names) for row in rows]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><tr>{cells}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
