"""Pictures of heads: the best, a typical and the worst, where it fails, and other scanners."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.quality.cases import Arrays, Setting
from tests.benchmarks.quality.heads import MEAN, SAMPLE, STEP
from tests.benchmarks.quality.panels import GRAY, Cell, Line, draw_sheet
from tests.benchmarks.quality.planes import BASE
from tests.benchmarks.results import Picture

Case = tuple[dict[str, Any], dict[str, Any]]

ERROR = ("inferno", 0.0, 0.2)
SPREAD = ("inferno", 0.0, 0.05)
COLUMNS = {
    "scan": "scan",
    BASE: "back-projection",
    MEAN: "model, mean of 4",
    "truth": "truth",
    "error": "|error|, 0 to 0.2",
    "spread": "spread, 0 to 0.05",
}
FAILURES = 3
ZOOM = 64
"""Voxels of the middle that are shown larger."""
INSIDE_MM = 72
"""Part of a real scan that is shown: brain alone."""


def ranked(setting: Setting, cases: Sequence[Case]) -> list[Picture]:
    """The heads with the largest, the middle and the smallest gain, and the worst places."""
    order = sorted(cases, key=lambda case: -_gain(case))
    chosen = {"best": order[0], "typical": order[len(order) // 2], "worst": order[-1]}
    lines = [
        _line(setting, case, "middle", f"{name}: {_gain(case):+.2f} dB")
        for name, case in chosen.items()
    ]
    draw_sheet(setting.pictures / "mri-heads.webp", list(COLUMNS.values()), lines)
    lines = []
    for place, label in {"behind": "behind", "wrong": "largest error"}.items():
        found = sorted(cases, key=lambda case: -_loss(setting, case, place))[:FAILURES]
        lines += [_line(setting, case, place, label) for case in found]
    draw_sheet(setting.pictures / "mri-failures.webp", list(COLUMNS.values()), lines, bar_mm=10.0)
    return [
        Picture(
            name="mri-heads.webp",
            caption="4 mm to 1 mm: the heads with the largest, the middle and the smallest gain. "
            "Coronal planes through the middle, intensities 0 to 1; PSNR of the whole head in the "
            "corner.",
        ),
        Picture(
            name="mri-failures.webp",
            caption="Failures: in each head the block of 16 mm was sought in which the model is "
            "farthest behind back-projection, and that in which its error is largest; these are "
            "the worst heads by either measure, 48 mm around the block.",
        ),
    ]


def by_thickness(setting: Setting, cases: Mapping[str, Sequence[Case]]) -> Picture:
    """One head at every thickness: what was scanned, what came out, and the truth."""
    middle = len(next(iter(cases.values()))) // 2
    lines = []
    for layer, label in (("scan", "scan"), (BASE, "back-projection"), (MEAN, "model")):
        cells = []
        for found in cases.values():
            arrays = setting.arrays("mri", found[middle][1])
            score = found[middle][0]["scores"].get(layer)
            cells.append(_cell(arrays, "middle", layer, score))
        truth = setting.arrays("mri", cases["4 mm"][middle][1])
        lines.append(Line(label, [*cells, _cell(truth, "middle", "truth", None)]))
    name = "mri-thickness.webp"
    draw_sheet(setting.pictures / name, [*cases, "truth"], lines)
    return Picture(
        name=name,
        caption="One validation head, scanned in slices of 2 to 6 mm and restored to 1 mm.",
    )


def others(setting: Setting, cases: Mapping[str, Case]) -> Picture:
    """A row for each kind of head that is not of the training study."""
    seen: dict[str, Case] = {}
    for name, case in cases.items():  # one of each kind: the first person
        if not name.startswith("MS") or name.startswith("MS 1"):
            seen[name] = case
    lines = [_line(setting, case, "middle", name.split(",")[0]) for name, case in seen.items()]
    lines = [
        Line(name.replace("MS 1, ", "MS, ").partition(", with")[0], line.cells)
        for name, line in zip(seen, lines, strict=True)
    ]
    file = "mri-others.webp"
    draw_sheet(setting.pictures / file, list(COLUMNS.values()), lines)
    return Picture(
        name=file,
        caption="Other scanners and contrasts, 4 mm to 1 mm: coronal planes through the middle, "
        "intensities 0 to 1.",
    )


def sampling(setting: Setting, cases: Sequence[Case]) -> Picture:
    """The middle of two heads: back-projection, the ways of sampling, and the truth."""
    layers = (BASE, STEP, SAMPLE, MEAN, "truth")
    lines = []
    for case in (cases[0], cases[len(cases) // 2]):
        arrays = setting.arrays("mri", case[1])
        whole = [_cell(arrays, "middle", layer, None) for layer in layers]
        lines.append(Line("", [replace(cell, plane=_center(cell.plane)) for cell in whole]))
    name = "mri-sampling.webp"
    draw_sheet(setting.pictures / name, layers, lines, bar_mm=10.0, cell_inches=1.8)
    return Picture(
        name=name,
        caption="What sampling buys, 4 mm to 1 mm: the middle of two heads, chosen by their place "
        "in the list. The mean is smooth where the samples disagree.",
    )


def _center(plane: NDArray[np.floating]) -> NDArray[np.floating]:
    top, left = ((length - min(length, ZOOM)) // 2 for length in plane.shape)
    return plane[top : top + ZOOM, left : left + ZOOM]


def thick_slices(setting: Setting, keys: Mapping[str, Mapping[str, Any]]) -> Picture:
    """The inside of real scans: no face, no outline of a head."""
    titles = {
        "scan": "scan, as acquired",
        "cubic": "cubic",
        MEAN: "model, mean of 4",
        "spread": "spread, 0 to 0.05",
    }
    lines = []
    for label, key in keys.items():
        arrays = setting.arrays("mri", key)
        whole = [_cell(arrays, "middle", layer, None) for layer in titles]
        lines.append(Line(label, [replace(cell, plane=_inside(cell)) for cell in whole]))
    name = "mri-thick-slices.webp"
    draw_sheet(setting.pictures / name, list(titles.values()), lines, bar_mm=10.0)
    return Picture(
        name=name,
        caption=f"Real thick slices, restored to 1 mm: {INSIDE_MM} mm of the middle coronal "
        "plane, intensities 0 to 1. There is no truth. Only the inside is shown, so that no "
        "head can be recognized.",
    )


def _inside(cell: Cell) -> NDArray[np.floating]:
    """The middle of a plane, a square in millimeters."""
    sizes = [round(INSIDE_MM / spacing) for spacing in cell.spacing_mm]
    corners = [max(0, (n - s) // 2) for n, s in zip(cell.plane.shape, sizes, strict=True)]
    (top, left), (height, width) = corners, sizes
    return cell.plane[top : top + height, left : left + width]


def _line(setting: Setting, case: Case, place: str, label: str) -> Line:
    numbers, key = case
    arrays = setting.arrays("mri", key)
    arrays[f"{place}/error"] = np.abs(
        arrays[f"{place}/{MEAN}"].astype(np.float32) - arrays[f"{place}/truth"]
    )
    whole = place == "middle"
    cells = [
        _cell(arrays, place, layer, numbers["scores"].get(layer) if whole else None)
        for layer in COLUMNS
    ]
    return Line(label, cells)


def _cell(arrays: Arrays, place: str, layer: str, score: Mapping[str, float] | None) -> Cell:
    up, right = (float(s) for s in arrays[f"{place}/spacing"])
    window = {"error": ERROR, "spread": SPREAD}.get(layer, GRAY)
    note = f"{score['psnr']:.1f} dB" if score else ""
    return Cell(arrays[f"{place}/{layer}"], (up, right), window, note)


def _gain(case: Case) -> float:
    scores = case[0]["scores"]
    return scores[MEAN]["psnr"] - scores[BASE]["psnr"]


def _loss(setting: Setting, case: Case, place: str) -> float:
    """Squared error in the middle of a window; of "behind", what back-projection has not."""
    arrays = setting.arrays("mri", case[1])
    truth = arrays[f"{place}/truth"].astype(np.float32)
    loss = np.square(arrays[f"{place}/{MEAN}"] - truth)
    if place == "behind":
        loss -= np.square(arrays[f"{place}/{BASE}"] - truth)
    third = slice(truth.shape[0] // 3, -(truth.shape[0] // 3))
    return float(loss[third, third].mean())
