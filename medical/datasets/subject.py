"""One head in a report: its pictures, and a page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import counted
from medical.datasets.page import document, paragraph, section, table
from medical.datasets.pictures import (
    MIDDLE,
    RIGHT,
    box_of,
    colored,
    cuts,
    kept,
    middle,
    shown,
    slider,
)
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.series import read_subject_series
from medical.datasets.sessions import FIRST, SECOND, sessions_of
from medical.datasets.telling import WITHHELD
from medical.datasets.writing import case_of
from medical.files import bids, nnunet
from medical.files.bids import write_text
from medical.files.nifti import read_volume

Record = Mapping[str, Any]
PLACES = (0.38, 0.5, 0.6, 0.7)
PAGES = "subjects"
SHOWN = (
    "Lesions are red, fluid blue, gray matter orange, white matter light. R is the right of the "
    "head, A its front."
)
ANATOMY = {
    "length_mm": "length of the fields of weights",
    "people": "people whose differences were mixed",
    "people_of_the_mean": "people of the mean",
    "people_in_stratum": "people who could be drawn at this age and sex",
}
Planes = list[NDArray[np.float32]]


class _Read:
    """A session of a head read back from the dataset's files."""

    def __init__(
        self, request: MRIDatasetRequest, record: Record, out: Path, *, later: bool = False
    ) -> None:
        subject, session = record["subject"], sessions_of(request)[later]
        healthy = request.lesions.healthy
        if not {"bids", "nnunet"} & set(request.formats):
            self.images, self.tissues, self.lesions = read_subject_series(
                subject, request, out, session
            )
            self.box = box_of(self.tissues)
            return
        if "bids" in request.formats:
            root = out / "bids"
            files = [root / bids.image_path(subject, c, session) for c in request.contrasts]
            labels = root / bids.tissue_path(subject, session)
            mask = root / bids.mask_path(subject, session)
        else:
            folder, case = out / "nnunet" / request.nnunet_name, case_of(subject)
            count = len(request.contrasts)
            first = count if later else 0
            files = [folder / nnunet.image_name(case, first + k) for k in range(count)]
            labels = mask = folder / nnunet.label_name(case)
        self.images = {
            name: read_volume(path).data.numpy()
            for name, path in zip(request.contrasts, files, strict=True)
        }
        image = next(iter(self.images.values()))
        found = read_volume(labels).data.numpy().astype(np.uint8)
        only_mask = labels == mask and not healthy
        self.tissues = (image > 0).astype(np.uint8) * 9 if only_mask else found
        lesions = read_volume(mask).data.numpy()
        joined = only_mask and session == FIRST  # of both sessions there is one, and 2 came later
        lesions = lesions == 1 if joined else lesions > 0
        self.lesions = np.zeros_like(found) if healthy else lesions.astype(np.uint8)
        self.box = box_of(self.tissues)

    def top(self, name: str) -> float:
        """The intensity that is shown white."""
        inside = self.images[name][self.tissues > 0]
        return float(np.quantile(inside, 0.995)) if len(inside) else 1.0


def mosaic(request: MRIDatasetRequest, record: Record, out: Path) -> str:
    """The last contrast of a head, which shows lesions best, and a slider to its labels."""
    head, name = _Read(request, record, out), request.contrasts[-1]
    title = f'<h3><a href="{PAGES}/{record["subject"]}.html">{escape(record["subject"])}</a></h3>'
    changed = _before_and_after(head, name, record, out)
    changed += _first_and_second(head, _second(request, record, out), name, record)
    return title + changed + _slider(head, name, record, tissues=request.lesions.healthy)


def before_path(subject: str, contrast: str) -> str:
    """Where the picture of a head before its lesions stands in a dataset.

    Datasets drawn before pictures were turned hold ``_before.jpg``, which is shown no more.
    """
    return f"{PAGES}/{subject}_{contrast}_before-lesions.jpg"


def picture_before(
    before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.uint8]
) -> bytes:
    """The planes of ``mosaic`` before lesions, as bright as after."""
    planes: Planes = [p.astype(np.float32) for p in cuts(before, box_of(labels), PLACES)]
    return kept(shown(planes, float(np.quantile(after[labels > 0], 0.995))))


def _before_and_after(head: _Read, name: str, record: Record, out: Path) -> str:
    path = out / before_path(record["subject"], name)
    if not path.is_file():
        return ""
    planes = [p.astype(np.float32) for p in cuts(head.images[name], head.box, PLACES)]
    after = shown(planes, head.top(name))
    words = f"{record['subject']}, {name}: the same head before and after its lesions"
    return slider(path.read_bytes(), after, words, ("before lesions", "after"))


def _second(request: MRIDatasetRequest, record: Record, out: Path) -> _Read | None:
    """The second session of a head; None where there is one."""
    return _Read(request, record, out, later=True) if request.longitudinal.asked else None


def _first_and_second(head: _Read, second: _Read | None, name: str, record: Record) -> str:
    """Two sessions on each other, and what joined the lesions in red."""
    if second is None:
        return ""
    told, top = record["longitudinal"], head.top(name)
    planes = [
        [plane.astype(np.float32) for plane in cuts(each.images[name], head.box, PLACES)]
        for each in (head, second)
    ]
    change = (second.lesions > head.lesions).astype(np.uint8)
    joined, tissues = (
        [plane.astype(np.uint8) for plane in cuts(labels, head.box, PLACES)]
        for labels in (change, second.tissues)
    )
    over = colored(planes[1], tissues, joined, top, tissues=False)
    grown = told["sessions"][SECOND]["load_ml"] - told["sessions"][FIRST]["load_ml"]
    words = f"{record['subject']}, {name}: first session, and {told['years']:g} years later"
    red = f"{words}, the {grown:.2f} ml that joined lesions in red"
    return slider(shown(planes[0], top), shown(planes[1], top), words, ("first", "second")) + (
        slider(shown(planes[0], top), over, red, ("first", "second, change in red"))
    )


def write_subject(request: MRIDatasetRequest, record: Record, out: Path) -> Path:
    """Write the page of a head; its path."""
    head, subject = _Read(request, record, out), record["subject"]
    second = _second(request, record, out)
    pictures = "".join(
        f"<h3>{name}</h3>{_before_and_after(head, name, record, out)}"
        f"{_first_and_second(head, second, name, record)}"
        f"{_slider(head, name, record, tissues=True, whole=True)}"
        for name in request.contrasts
    )
    people, lesions = (_largest(record["contributors"][part]) for part in ("anatomy", "lesions"))
    parts = [
        f'<p class="note"><a href="../report.html">Back to the dataset</a></p><h1>{subject}</h1>',
        paragraph("A drawn head; no person has it. For research, not for diagnosis.", "lead"),
        section("Pictures", paragraph(SHOWN, "note") + pictures),
        section("Facts", table(("", ""), _facts(record))),
        section(
            "Who contributed",
            table(("person", "share of the anatomy"), [(p, round(float(w), 4)) for p, w in people])
            + table(
                ("person", "share of the lesions"), [(p, round(float(w), 4)) for p, w in lesions]
            ),
        ),
        section("Files", table(("file", "SHA-256"), [(f, d) for f, d in record["files"].items()])),
    ]
    return write_text(out / PAGES / f"{subject}.html", document(subject, "".join(parts)))


def _slider(head: _Read, name: str, record: Record, *, tissues: bool, whole: bool = False) -> str:
    """An image and its labels on each other."""
    image, top = head.images[name], head.top(name)

    def pick(volume: NDArray[Any]) -> Any:
        planes = cuts(volume, head.box, PLACES)
        return [*middle(volume, head.box), *planes[2:3]] if whole else planes

    planes, sides = pick(image), MIDDLE + RIGHT if whole else ""
    labels, lesions = pick(head.tissues), pick(head.lesions)
    over = colored(planes, labels, lesions, top, tissues=tissues, sides=sides)
    words = f"{record['subject']}, {name}"
    if record["lesions"]:
        load, count = record["lesions"]["load_ml"], record["lesions"]["count"]
        words += f": {load['delivered']:.1f} ml in {counted(count['delivered'], 'lesion')}"
    return slider(shown(planes, top, sides), over, words, ("image", "with labels"))


def _facts(record: Record) -> list[tuple[str, str]]:
    rows = [("seed", str(record["seed"])), ("fold", str(record["fold"]))]
    rows += _anatomy(record["anatomy"]) + _scanner(record["site"])
    if told := record.get("longitudinal"):
        rows += [
            (session, f"{each['years']:g} years, {each['load_ml']:.2f} ml of lesions")
            for session, each in told["sessions"].items()
        ]
    quality = record["quality"]
    rows.append(("brain", f"{quality['brain_ml']:g} ml"))
    names = {"1": "CSF", "2": "gray matter", "3": "white matter"}
    shares = quality["tissue_share"].items()
    return rows + [(names[k], f"{share:.1%} of the brain") for k, share in shares]


def _anatomy(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Age, sex and size, and what they were drawn from."""
    withheld = told.get(WITHHELD, ())
    hidden = {what: "not told" if what in withheld else "not known" for what in ("age", "sex")}
    rows = [
        ("age", str(told.get("age_band") or hidden["age"])),
        ("sex", str(told.get("sex") or hidden["sex"])),
    ]
    if size := told.get("size"):
        across, along, up = (f"{share:.2f}" for share in size)
        rows.append(("size", f"{across} x {along} x {up} of the usual"))
    rows += [(words, f"{told[name]:g}") for name, words in ANATOMY.items() if name in told]
    return [
        (name, f"{value} mm" if name == ANATOMY["length_mm"] else value) for name, value in rows
    ]


def _scanner(site: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which faults of a scanner were drawn."""
    faults = {name: value for name, value in site.items() if not isinstance(value, str) and value}
    if not faults:
        return [("scanner", "none of its faults")]
    ends = {"slice_mm": f" along {site.get('slice_axis', '')}"}
    return [
        (
            f"scanner: {name.removesuffix('_mm')}",
            f"{value:.3g}{' mm' * name.endswith('_mm')}{ends.get(name, '')}",
        )
        for name, value in faults.items()
    ]


def _largest(given: Mapping[str, float]) -> list[tuple[str, float]]:
    """Who contributed, most first."""
    order = sorted(given.items(), key=lambda row: -abs(row[1]))
    return [(person, round(float(weight), 4)) for person, weight in order]
