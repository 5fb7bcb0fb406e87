"""The seven criteria for synthetic medical data (Zamzmi et al. 2025), filled in for a dataset.

A criterion is met, met in part, or open; "not measured" is said where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from core.progress import counted
from medical.anatomy.ages import BAND_YEARS, band_of
from medical.datasets.page import chip
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.telling import WITHHELD
from medical.datasets.words import behind, own_license

Record = Mapping[str, Any]
FEW = 5


@dataclass(frozen=True)
class Score:
    """One criterion.

    Attributes:
        name: Of the criterion.
        asks: What it asks, in a few words.
        state: ``good`` for met, ``warn`` for met in part, ``bad`` for not met.
        words: What was found.
    """

    name: str
    asks: str
    state: str
    words: str


STATES = {"good": "met", "warn": "in part", "bad": "not met"}


def scores(
    request: MRIDatasetRequest, summary: Mapping[str, Any], records: Sequence[Record]
) -> list[Score]:
    """All seven, in the order of the paper."""
    return [
        _congruence(summary, records),
        _coverage(summary, records),
        _constraint(records, summary),
        _completeness(request, summary),
        _compliance(request, summary),
        _comprehension(records),
        _consistency(records),
    ]


def scorecard(rows: Sequence[Score]) -> str:
    """The criteria as a part of a page."""
    return "".join(
        f'<div class="card"><b>{escape(row.name)}<small>{escape(row.asks)}</small></b>'
        f"<span>{chip(row.state, STATES[row.state])}</span><div>{escape(row.words)}</div></div>"
        for row in rows
    )


def _congruence(summary: Mapping[str, Any], records: Sequence[Record]) -> Score:
    shares = [record["quality"]["tissue_share"] for record in records]
    told = "; ".join(
        f"{name} {_range([100 * s[k] for s in shares])} %"
        for k, name in (("1", "fluid"), ("2", "gray"), ("3", "white"))
    )
    people = summary["plan"]["people"]
    model = (
        "Image patches of the shipped model's heads are told from real ones with an area under "
        "the curve of .77 and .81 (random forest, logistic regression; goal .75; 4 heads). "
        + _likeness(summary)
        if people
        else "Heads are painted from class means: a reader sees that they are drawn."
    )
    return Score(
        "Congruence", "like real heads", "warn" if people else "bad",
        f"Shares of the brain: {told}. {model}",
    )  # fmt: skip


def _held(records: Sequence[Record]) -> bool:
    """Whether every head was held against real ones."""
    like = [record["quality"].get("likeness") for record in records]
    return bool(like) and all(each and each["judged"] for each in like)


def _likeness(summary: Mapping[str, Any]) -> str:
    """What was measured of this dataset against real heads."""
    found = summary.get("likeness")
    if not found:
        return "Not measured on this dataset: it has no T1w at 1 mm."
    if found["told_apart"] is None:
        return "Too few heads to measure this dataset as a whole."
    return (
        f"Here {found['told_apart']:.2f} (linear discriminant, {counted(found['heads'], 'head')} "
        f"against {counted(found['real_heads'], 'real one')}, left out by heads); regional "
        f"volume distance {found['regional_volume_distance']:.2f} (two halves of the real heads: "
        f"{found['of_two_halves_of_real_heads']:.2f})."
    )


def _coverage(summary: Mapping[str, Any], records: Sequence[Record]) -> Score:
    ages = [float(r["anatomy"]["age"]) for r in records if r["anatomy"].get("age") is not None]
    empty = [row for row in summary["strata"] if row["kind"] == "load" and row["delivered"] == 0]
    words = [f"Ages {_years(ages)} years" if ages else f"Ages are {_why('age', records)}"]
    sexes = sorted({str(r["anatomy"].get("sex") or _why("sex", [r])) for r in records})
    words.append(f"sex {', '.join(sexes)}")
    if empty:
        words.append(f"{len(empty)} of 4 quarters of the lesion load hold no head")
    state = "good" if ages and not empty and len(records) >= FEW else "warn"
    return Score("Coverage", "all that was asked for", state, "; ".join(words) + ".")


def _why(what: str, records: Sequence[Record]) -> str:
    """Why an age or sex is not there: few share it, or nobody knows it."""
    held = any(what in record["anatomy"].get(WITHHELD, ()) for record in records)
    return "not told, as few share them" if held else "not known"


def _years(ages: Sequence[float]) -> str:
    """From the first to the last of the tens of years that ages lie in."""
    return f"{band_of(min(ages))} to {band_of(max(ages)) + BAND_YEARS - 1}"


def _constraint(records: Sequence[Record], summary: Mapping[str, Any]) -> Score:
    off = [
        abs(r["lesions"]["load_ml"]["delivered"] / r["lesions"]["load_ml"]["asked"] - 1)
        for r in records
        if r["lesions"]
    ]
    growth = [
        abs(g["delivered"] / g["asked"] - 1)
        for g in (r["longitudinal"]["ml_a_year"] for r in records if r.get("longitudinal"))
    ]
    grown = f"growth within {100 * max(growth):.1f} %, " if growth else ""
    load = (
        f"Lesion loads within {100 * max(off):.1f} % of what was asked, {grown}counts met; "
        if off
        else "No lesions were asked for; "
    )
    aside = len(summary["quarantined"])
    rest = (
        "all heads passed tissue shares, contrast, sharpness, clipping and seams"
        f"{', and are near real ones' if _held(records) else ''}; drawn heads "
        f"that did not: {aside}."
    )
    return Score("Constraint", "nothing impossible", "good" if records else "bad", load + rest)


def _completeness(request: MRIDatasetRequest, summary: Mapping[str, Any]) -> Score:
    missing = summary["missing"]
    words = (
        f"{summary['made']} of {counted(request.count, 'head')}, each with "
        f"{', '.join(request.contrasts)}, "
        f"{'tissues' if request.lesions.healthy else 'a lesion mask, tissues'} and a record"
        f"{' of two sessions, with a mask of what changed' if request.longitudinal.asked else ''}"
    )
    rest = f"; no head passed for {', '.join(missing)}." if missing else "."
    return Score("Completeness", "nothing lacks", "bad" if missing else "good", words + rest)


def _compliance(request: MRIDatasetRequest, summary: Mapping[str, Any]) -> Score:
    people, healthy = summary["plan"]["people"], request.lesions.healthy
    if not people:
        outlines = "" if healthy else "; lesion outlines come from 29 people (CC BY)"
        words = f"No single person stands behind the anatomies{outlines}"
    else:
        outlines = "" if healthy else " Lesion outlines come from 29 people (CC BY)."
        whose = behind(summary["plan"], "" if request.sources else " (CC0)")
        own = (
            " They are your own: their consent is yours to know; license of their data: "
            f"{own_license(summary)}."
        )
        words = (
            f"Derived from {whose}.{own if request.sources else ''}{outlines} Pseudonymous, not "
            "anonymous: see who may be recognized. Contributors stand by hash with each head, so "
            "a person can withdraw"
        )
    return Score(
        "Compliance", "law, consent, privacy", "warn",
        f"{words}. The dataset is {summary['approval']}; audit: "
        f"{summary.get('audit', 'not audited')}.",
    )  # fmt: skip


def _comprehension(records: Sequence[Record]) -> Score:
    return Score(
        "Comprehension", "can be explained", "good" if records else "warn",
        "Each head's record holds seed, contributors, lesions, scanner and digests of its files; "
        "methods, datasheet and model card stand below.",
    )  # fmt: skip


def _consistency(records: Sequence[Record]) -> Score:
    names = list(records[0]["quality"]["images"]) if records else []
    told = "; ".join(
        f"{name} {_range([r['quality']['images'][name]['contrast_to_noise'] for r in records])}"
        for name in names
    )
    folds = len({r["fold"] for r in records})
    share = (
        f"{folds} folds share no contributor"
        if folds > 1
        else "There is one fold: nothing can be held out"
    )
    return Score(
        "Consistency", "the same everywhere", "good" if folds > 1 else "warn",
        f"Contrast of gray to white matter in spreads: {told}. Contrasts of a head lie on one "
        f"grid by construction. {share}.",
    )  # fmt: skip


def _range(values: Sequence[float]) -> str:
    """The smallest and the largest of some numbers."""
    if not values:
        return "none"
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
