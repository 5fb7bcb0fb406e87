"""A dataset from its request: planned, made head by head, resumable, the same bytes every time.

Everything stands under one folder: ``bids``, ``nnunet``, ``quarantine``, ``report.html``, a record
for each head in ``volumes`` and one for the whole, ``dataset.json``, written last.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.records import sha256_file
from core.refusal import Refusal
from medical.audit.keys import write_key
from medical.datasets.approval import status
from medical.datasets.audited import audit_verdict
from medical.datasets.likeness import set_likeness
from medical.datasets.own_people import OwnHeads, own_heads
from medical.datasets.people import shipped_heads
from medical.datasets.plan import Planned, check_sources, make_plan, plain
from medical.datasets.publishing import UNKEPT, Ground, publish, record_path
from medical.datasets.report import write_report
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.series import check_series
from medical.datasets.standing import REQUEST
from medical.datasets.strata import strata
from medical.datasets.subject import PAGES
from medical.datasets.tables import write_tables
from medical.datasets.tracing import settled
from medical.datasets.volumes import (
    DrawnVolume,
    digests,
    draw_volume,
    judge,
)
from medical.datasets.words import OWN_LICENSE
from medical.datasets.writing import write_images
from medical.files.bids import DERIVATIVE, write_json
from medical.lesions.atlas import lesion_atlas

ATTEMPTS = 5
RECORD = "dataset.json"
OnVolume = Callable[[int, int], None]


@dataclass(frozen=True)
class Maker(Ground):
    """All that making a dataset needs, from its request."""

    @classmethod
    def of(cls, request: MRIDatasetRequest, out: Path | None = None) -> Maker:
        """Plan a request.

        Raises:
            Refusal: Nobody's data can serve it, or another dataset stands in ``out``.
        """
        maker = cls.planned(request)
        heads = maker.heads
        if out is not None:
            claim(maker, out, write=False)
        if isinstance(heads, OwnHeads):
            heads.map_people()
        return maker

    @classmethod
    def planned(cls, request: MRIDatasetRequest) -> Maker:
        """Plan a request, its own people not mapped yet.

        Raises:
            Refusal: Nobody's data can serve it.
        """
        check_series(request)
        check_sources(request.sources)
        heads = own_heads(request.sources) if request.sources else shipped_heads()
        atlas = lesion_atlas()
        return cls(request, make_plan(request, heads, atlas), heads, atlas)


@dataclass(frozen=True)
class Dataset:
    """A dataset as it stands.

    Attributes:
        folder: Where.
        made: Heads that passed.
        missing: Subjects for which no head passed.
    """

    folder: Path
    made: int
    missing: tuple[str, ...]


def make_dataset(
    maker: Maker, out: Path, on_volume: OnVolume = lambda done, total: None
) -> Dataset:
    """Make what is missing of a dataset.

    Args:
        maker: Request and plan.
        out: Its folder; made where it lacks.
        on_volume: Told after each head how many of how many stand.

    Raises:
        Refusal: Another dataset stands there.
    """
    claim(maker, out, write=not maker.plan.pending)
    whole = _complete(maker, out)
    maker = maker if whole else settled(maker, out)
    claim(maker, out)
    if whole:
        return Dataset(out, maker.request.count, ())
    _clear(out)
    records, missing = [], []
    for done, planned in enumerate(maker.plan.volumes, start=1):
        record = _standing(planned, out) or _make(maker, planned, out)
        if record is None:
            missing.append(planned.subject)
        else:
            records.append(record)
        on_volume(done, len(maker.plan.volumes))
    summary = _summary(maker, records, missing, out)
    finish(maker.request, summary, records, out, maker.heads.card)
    return Dataset(out, len(records), tuple(missing))


def finish(
    request: MRIDatasetRequest,
    summary: dict[str, Any],
    records: list[dict[str, Any]],
    out: Path,
    card: str,
) -> None:
    """Write tables, report and, last, the record."""
    write_tables(request, records, out, summary=summary)
    write_report(request, summary, records, out, card)
    write_json(out / RECORD, {**summary, "files": _common(request, out)})


def claim(maker: Maker, out: Path, *, write: bool = True) -> None:
    """Write the request into the folder, or find the same there.

    Args:
        maker: Request and plan.
        out: The folder.
        write: Whether to write it where nothing stands.

    Raises:
        Refusal: The folder holds something else.
    """
    told = maker.request.model_dump_json(exclude=maker.request.as_before)
    asked = json.loads(told) | {"key": maker.plan.key}
    path, heads = out / REQUEST, maker.heads
    if isinstance(heads, OwnHeads):
        asked["sources"] = f"people of your own, {heads.digest[:16]}"
        if write:
            write_key(heads.key, out)
    if path.is_file():
        standing = _request_in(path)
        if changed := [k for k in asked if asked[k] != standing.get(k)]:
            raise Refusal(
                f"{out} holds the dataset of another request ({', '.join(changed)} differ): a "
                "dataset is never changed; choose another folder."
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refusal(
            f"{out} stands already and is no dataset of this kind: a dataset gets a folder of "
            "its own; choose a new one."
        )
    if write:
        write_json(path, asked)


def _request_in(path: Path) -> dict[str, Any]:
    try:
        return dict[str, Any](json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise Refusal(
            f"{path} is cut short or no request: it says what stands in its folder; bring it "
            "back from a copy, or choose another folder."
        ) from error


def _complete(maker: Maker, out: Path) -> bool:
    path = out / RECORD
    if not path.is_file():
        return False
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        missing, files = summary["missing"], summary["files"]
    except (ValueError, KeyError, TypeError):  # cut short, or emptied: written again
        return False
    whole = all(_standing(planned, out) for planned in maker.plan.volumes)
    return whole and not missing and files == _common(maker.request, out)


def left_to_draw(maker: Maker, out: Path) -> int:
    """How many heads do not stand as they were written, so are to be drawn."""
    return sum(_standing(planned, out) is None for planned in maker.plan.volumes)


def _clear(out: Path) -> None:
    """Remove what a process that was killed left half-written."""
    for part in [*out.rglob(".part-*")]:
        part.unlink(missing_ok=True)
    shutil.rmtree(out / UNKEPT, ignore_errors=True)


def _standing(planned: Planned, out: Path) -> dict[str, Any] | None:
    """The record of a head all of whose files stand as they were written; None for no such."""
    path = record_path(planned, out)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        files = dict[str, str](record["files"])
    except (ValueError, KeyError, TypeError):  # cut short, or emptied: drawn again
        return None
    places = [out / name for name in files]
    if not all(place.is_file() for place in places):
        return None
    whole = all(_digest(place) == files[str(place.relative_to(out))] for place in places)
    return record if whole else None


def _digest(file: Path) -> str:
    """SHA-256 of a file, read once as long as it is not written again."""
    about = file.stat()
    return _read_digest(file, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _read_digest(file: Path, *_: int) -> str:
    return sha256_file(file)


def _make(maker: Maker, planned: Planned, out: Path) -> dict[str, Any] | None:
    """Draw a head until one passes; its record, or None."""
    for attempt in range(ATTEMPTS):
        place = out / "quarantine" / f"{planned.subject}_attempt-{attempt + 1}"
        if (place / "reasons.json").is_file():
            continue
        drawn, reasons = _drawn(maker, planned, attempt)
        if not reasons and drawn is not None:
            return publish(maker, planned, drawn, out)
        if drawn is not None:
            write_images(drawn, planned.subject, place)
        facts = drawn.facts if drawn is not None else {"subject": planned.subject}
        write_json(place / "reasons.json", {"reasons": reasons, **facts})
    return None


def _drawn(maker: Maker, planned: Planned, attempt: int) -> tuple[DrawnVolume | None, list[str]]:
    try:
        drawn = draw_volume(maker.request, maker.plan, planned, attempt, maker.heads, maker.atlas)
    except Refusal as error:  # this anatomy has no room; another may
        return None, [str(error)]
    return drawn, judge(drawn, planned)


def _summary(
    maker: Maker, records: list[dict[str, Any]], missing: list[str], out: Path
) -> dict[str, Any]:
    heads = maker.heads
    own = {OWN_LICENSE: heads.license} if isinstance(heads, OwnHeads) else {}
    return {
        "name": maker.request.name,
        **own,
        "version": version("lamina"),
        "approval": status(out),
        "audit": audit_verdict(out),
        "drawn_from": heads.words,
        "plan": plain(maker.plan),
        "made": len(records),
        "missing": missing,
        "strata": strata(maker.request, records, maker.plan.told),
        "likeness": set_likeness(records),
        "quarantined": sorted(path.name for path in (out / "quarantine").glob("*/")),
    }


def _common(request: MRIDatasetRequest, out: Path) -> dict[str, str]:
    """Digests of the files that belong to no single head."""
    files = [out / "report.html", *sorted((out / PAGES).glob("sub-*.html"))]
    if "bids" in request.formats:
        root = out / "bids"
        files += [path for path in sorted(root.iterdir()) if path.is_file()]
        files += [path for path in sorted((root / DERIVATIVE).iterdir()) if path.is_file()]
    if "nnunet" in request.formats:
        folder = out / "nnunet" / request.nnunet_name
        files += [path for path in sorted(folder.iterdir()) if path.is_file()]
    return digests([path for path in files if path.is_file()], out)
