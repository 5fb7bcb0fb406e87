"""The report of a dataset: one HTML file that needs no network, its first page a scorecard.

A radiologist finds pictures on the second page; whoever files it finds methods, datasheet and
model card at the end. Every head has a page of its own in ``subjects``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from core.progress import counted
from medical.datasets.audited import audited_section
from medical.datasets.page import bullets, chip, document, paragraph, section, table
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.scorecard import scorecard, scores
from medical.datasets.sessions import SECOND
from medical.datasets.subject import mosaic, write_subject
from medical.datasets.words import SOURCES, datasheet, methods, two_numbers
from medical.files.bids import write_text

Record = Mapping[str, Any]
MOST_PICTURED = 12
MORE_PEOPLE = 5


def write_report(
    request: MRIDatasetRequest,
    summary: Mapping[str, Any],
    records: Sequence[Record],
    out: Path,
    card: str = "",
) -> list[Path]:
    """Write ``report.html`` and a page for each head; their paths.

    Args:
        request: What was asked.
        summary: The dataset in numbers.
        records: Of its heads.
        out: Its folder.
        card: Of the model that heads were drawn with.
    """
    body = "".join(
        [
            _top(request, summary, records),
            section("At a glance", scorecard(scores(request, summary, records)), name="scorecard"),
            _recognized(summary),
            audited_section(out),
            _pictures(request, records, out),
            _delivered(request, summary, records),
            _quarantine(summary, out),
            _filing(request, summary, card),
        ]
    )
    pages = [write_text(out / "report.html", document(request.name, body))]
    return pages + [write_subject(request, record, out) for record in records]


def _top(request: MRIDatasetRequest, summary: Mapping[str, Any], records: Sequence[Record]) -> str:
    kind = {"approved": "good", "rejected": "bad"}.get(summary["approval"], "warn")
    what = "healthy heads" if request.lesions.healthy else "heads with multiple-sclerosis lesions"
    links = {
        "scorecard": "At a glance", "people": "Who may be recognized",
        "audit": "Memorization and linkage", "pictures": "Pictures",
        "tables": "Asked and delivered", "filing": "For filing",
    }  # fmt: skip
    nav = "".join(f'<a href="#{name}">{words}</a>' for name, words in links.items())
    return (
        f"<h1>{escape(request.name)}</h1>{chip(kind, summary['approval'])} "
        f"{chip('plain', 'synthetic')} {chip('plain', 'research, not diagnosis')}"
        + paragraph(
            f"{len(records)} {what}, {', '.join(request.contrasts)}, "
            f"{' x '.join(f'{s:g}' for s in request.spacing_mm)} mm. "
            "No image is a scan of a person.",
            "lead",
        )
        + f"<nav>{nav}</nav>"
    )


def _recognized(summary: Mapping[str, Any]) -> str:
    said = [words[:1].upper() + words[1:].rstrip(".") + "." for words in summary["plan"]["said"]]
    body = paragraph(f"Drawn from {summary['drawn_from']}. {two_numbers(summary['plan'])}")
    return section("Who may be recognized, and what lies beyond the data", body + bullets(said),
                   name="people")  # fmt: skip


def _pictures(request: MRIDatasetRequest, records: Sequence[Record], out: Path) -> str:
    step = max(1, -(-len(records) // MOST_PICTURED))
    parts = [mosaic(request, record, out) for record in records[::step]]
    words = "Every head" if step == 1 else f"Every {step}th head"
    moved = "from the image to its labels. Fluid is blue, gray matter orange, white matter light."
    if not request.lesions.healthy:
        moved = (
            "from before lesions to after, and from the image to its lesions, in red. The page "
            "behind a name shows each contrast, and tissues."
        )
    note = paragraph(f"{words}: move the sliders, {moved} R is the right of a head.", "note")
    return section("Pictures", note + "".join(parts), name="pictures")


def _delivered(
    request: MRIDatasetRequest, summary: Mapping[str, Any], records: Sequence[Record]
) -> str:
    strata = [
        (r["kind"], r["value"], r["asked"], _given(r), _behind(r)) for r in summary["strata"]
    ]
    parts = ["<h3>By stratum</h3>",
             table(("stratum", "", "asked", "delivered", "people behind it"), strata)]  # fmt: skip
    if not request.lesions.healthy:
        head = ("head", "fold", "ml asked", "ml", "lesions asked", "lesions")
        parts += ["<h3>By head</h3>", table(head, [_loads(record) for record in records])]
    if request.longitudinal.asked:
        head = ("head", "ml a year asked", "ml a year", "ml in the first session", "in the second")
        parts += ["<h3>Growth</h3>", table(head, [_grown(record) for record in records])]
    quality = [
        (r["subject"], name, float(image["white"]), float(image["contrast_to_noise"]),
         float(image["sharpness"]), float(image["seam"]), float(r["quality"]["brain_ml"]))
        for r in records for name, image in _images(r)
    ]  # fmt: skip
    head = ("head", "image", "white matter", "gray/white contrast", "sharpness", "largest seam",
            "brain (ml)")  # fmt: skip
    parts += ["<h3>Quality</h3>", table(head, quality)]
    return section("Asked and delivered", "".join(parts), name="tables")


def _given(row: Mapping[str, Any]) -> object:
    return "withheld" if row["delivered"] is None else row["delivered"]


def _behind(row: Mapping[str, Any]) -> str:
    """How many people stand behind a stratum, and whether they are few."""
    people = int(row["people"])
    if people == 0:
        return "no single person" if row["delivered"] else "nothing delivered"
    return str(people) if people >= MORE_PEOPLE else f"{people}: fewer than {MORE_PEOPLE}"


def _images(record: Record) -> list[tuple[str, Mapping[str, float]]]:
    """What was measured of each image of a head, of both sessions where there are two."""
    quality = record["quality"]
    later = quality.get("later", {}).get("images", {})
    return [*quality["images"].items(), *((f"{name}, {SECOND}", q) for name, q in later.items())]


def _grown(record: Record) -> tuple[object, ...]:
    told = record["longitudinal"]
    loads = [round(float(each["load_ml"]), 2) for each in told["sessions"].values()]
    growth = (round(float(told["ml_a_year"][key]), 3) for key in ("asked", "delivered"))
    return (record["subject"], *growth, *loads)


def _loads(record: Record) -> tuple[object, ...]:
    load, count = record["lesions"]["load_ml"], record["lesions"]["count"]
    return (
        record["subject"], record["fold"], round(float(load["asked"]), 2),
        round(float(load["delivered"]), 2), count["asked"], count["delivered"],
    )  # fmt: skip


def _quarantine(summary: Mapping[str, Any], out: Path) -> str:
    lines = []
    for name in summary["quarantined"]:
        about = json.loads((out / "quarantine" / name / "reasons.json").read_text("utf-8"))
        lines.append(f"{name}: {'; '.join(about['reasons'])}.")
    words = f"Drawn, set aside and drawn again: {counted(len(lines), 'head')}."
    return section("Quarantine", paragraph(words) + bullets(lines), name="quarantine")


def _filing(request: MRIDatasetRequest, summary: Mapping[str, Any], card: str) -> str:
    parts = [
        "<h3>Methods</h3>", paragraph(methods(request, summary)),
        "<h3>Sources</h3>", bullets(SOURCES),
        "<h3>Datasheet</h3>", table(("question", "answer"), datasheet(request, summary)),
    ]  # fmt: skip
    if card:
        words = f'<pre class="note">{escape(card)}</pre>'
        parts.append(f"<details><summary>Card of the model</summary>{words}</details>")
    return section("For filing", "".join(parts), name="filing")
