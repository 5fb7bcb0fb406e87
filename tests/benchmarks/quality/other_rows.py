"""Other scanners and contrasts: with a truth, and as a hospital stored them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.anatomy.phantom import template_head
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.operations.baselines import foreground
from medical.operations.problem import prepare
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from tests.benchmarks.quality import mri_pictures
from tests.benchmarks.quality.cases import Arrays, DataMissingError, Setting
from tests.benchmarks.quality.heads import (
    EDITION,
    MEAN,
    SEED,
    Head,
    Scanned,
    data_folder,
    file_reader,
    find_case,
    network,
)
from tests.benchmarks.quality.mri_rows import gain_figure, score_table
from tests.benchmarks.quality.planes import ACROSS, cut, repeated
from tests.benchmarks.results import Figure, Row, Table

COLIN = Path("/usr/share/mricron/templates/ch2.nii.gz")
TEMPLATES = ("Colin27, with skull", "MNI152, without skull")
GAIN = 1.0
CONSISTENCY = 2e-3
FINE_MM = 1.0
CONTRASTS = ("T2W", "FLAIR")
SMALL = (160, 160)


def others(setting: Setting) -> Row:
    """Heads of other scanners at 4 mm."""
    heads = other_heads()
    cases = {head.name: [find_case(setting, head, Scanned())] for head in heads}
    judged = {name: GAIN if name in TEMPLATES else None for name in cases}
    missing = [name for name in TEMPLATES if name not in cases]
    return Row(
        title="MRI: other scanners, contrasts, and skulls",
        protocol="As for the validation heads, 4 mm to 1 mm along z. Colin27: the mean of 27 "
        "scans of one man on a Philips 1.5 T scanner, with skull and skin (`ch2` of Debian's "
        "`mricron-data`). MNI152: the mean of 152 heads, ICBM 2009a, without skull, as nilearn "
        "bundles it. MS: two people with multiple sclerosis (Lesjak et al., CC BY), Siemens 3 T, "
        "skull-stripped, resampled to MNI space, where T1 and T2 are softer along z than the "
        "truth of another scan would be. Single volumes: no intervals.",
        figures=[
            gain_figure(f"{name}: gain", found, judged[name]) for name, found in cases.items()
        ],
        tables=[score_table(cases)],
        pictures=[mri_pictures.others(setting, {n: found[0] for n, found in cases.items()})],
        notes=[
            "Averaged templates are smoother than any head and flatter every method.",
            "An MNI152 template with its skull was not at hand.",
            *(f"{name}: not on this machine." for name in missing),
        ],
        details={name: found[0][0]["scores"] for name, found in cases.items()},
    )


def thick(setting: Setting) -> Row:
    """Scans as acquired in thick slices: no truth, so consistency and sharpness."""
    paths = [
        path
        for contrast in CONTRASTS
        for path in sorted((data_folder() / "thick-slices").glob(f"*/study1_{contrast}.nii.gz"))
    ]
    if not paths:
        raise DataMissingError(
            "there are no thick-slice scans here: this row needs the folder thick-slices; set "
            "LAMINA_DATA to the folder that holds it."
        )
    found, lines, keys = [], [], {}
    for number, path in enumerate(paths[:: len(paths) // 2] if setting.quick else paths, 1):
        case = {"thick": f"{path.parent.name}/{path.name}", "seed": SEED, "quick": setting.quick}
        case["edition"] = EDITION
        numbers = setting.find("mri", case, lambda path=path: _restore(path, setting.quick))
        name = f"{number}: {path.name.split('_')[1].removesuffix('.nii.gz')}"
        keys[f"{name}, {numbers['pitch_mm']:.3g} mm"] = case
        found.append(numbers)
        lines.append(_line(name, numbers))
    return Row(
        title="MRI: real thick slices",
        protocol="T2-weighted and FLAIR scans of three people (Lesjak et al., CC BY), with skull, "
        "as acquired: 0.5 to 0.9 mm in plane, slices 3 to 4 mm apart; restored to 1 mm along z "
        "with the request's defaults. There is no truth. Sharpness: root mean square of "
        "differences 1 mm apart in the foreground, along z as a share of the mean of both "
        "in-plane axes (there brought to 1 mm with a Gaussian profile first).",
        figures=[
            Figure(
                name="consistency, the worst scan",
                value=max(n["consistency"] for n in found),
                high=CONSISTENCY,
                cases=len(found),
            ),
            Figure(
                name="scans with a sharpness between cubic's and the in-plane one",
                value=sum(n["cubic"] < n["restored"] < 1.0 for n in found) / len(found),
                low=1.0,
                cases=len(found),
            ),
        ],
        tables=[
            Table(
                columns=["scan", "slices", "consistency", "sharpness, cubic", "model", "in-plane"],
                lines=lines,
            )
        ],
        pictures=[mri_pictures.thick_slices(setting, keys)],
    )


def other_heads() -> list[Head]:
    """Heads of other scanners, contrasts and people, those that are on this machine."""
    heads = [Head(TEMPLATES[0], file_reader(COLIN))] if COLIN.is_file() else []
    heads.append(Head(TEMPLATES[1], template_head))
    for number, folder in enumerate(sorted((data_folder() / "ms-lesions").glob("patient*")), 1):
        for contrast in ("T1", "T2", "FLAIR"):
            heads.append(
                Head(f"MS {number}, {contrast}", file_reader(folder / f"{contrast}.nii.gz"))
            )
    return heads


def _line(name: str, numbers: dict[str, Any]) -> list[str]:
    return [
        name,
        f"{numbers['pitch_mm']:.3g} mm",
        f"{numbers['consistency']:.1e}",
        f"{numbers['cubic']:.2f}",
        f"{numbers['restored']:.2f}",
        "1.00",
    ]


def _restore(path: Path, quick: bool) -> tuple[dict[str, Any], Arrays]:
    scan = read_volume(path)
    if quick:
        data = scan.data
        for axis, size in enumerate(SMALL):
            data = data.narrow(axis, (data.shape[axis] - size) // 2, size)
        scan = scan.with_data(data.narrow(2, data.shape[2] // 3, 12).contiguous())
    request = SuperResolutionRequest(scan="in memory", seed=SEED)
    made = super_resolve(scan, request, network())
    problem = prepare(scan, request)
    interpolated = problem.to_file(problem.acquired.cubic().apply(problem.scan))
    restored = made.mean.with_data(made.scale.apply(made.mean.data))
    cubic = restored.with_data(interpolated)
    mask = foreground(restored.data)
    in_plane = (_slope(restored, 0, mask) + _slope(restored, 1, mask)) / 2
    numbers = {
        "pitch_mm": scan.spacing_mm[2],
        "consistency": made.consistency,
        "seam": made.seam,
        "cubic": _slope(cubic, 2, mask) / in_plane,
        "restored": _slope(restored, 2, mask) / in_plane,
        "ways": MEAN,
    }
    layers = {
        "scan": repeated(problem.to_file(problem.scan), mask.shape),
        "cubic": cubic.data,
        MEAN: restored.data,
        "spread": made.std.data / (made.scale.high - made.scale.low),
    }
    shape = list(mask.shape)
    planes = cut("middle", layers, shape[ACROSS] // 2, ([0, 0, 0], shape), restored.spacing_mm)
    return numbers, planes


def _slope(volume: Volume, axis: int, mask: Tensor) -> float:
    """Root mean square of differences 1 mm apart along an axis, inside the mask."""
    data, spacing = volume.data, volume.spacing_mm[axis]
    if spacing < 0.999 * FINE_MM:
        acquired = Acquisition.slices(axis, SliceSampling(FINE_MM)).on_grid(
            volume.shape, volume.spacing_mm
        )
        data = acquired.operator().apply(data)
        mask = acquired.operator().apply(mask.float()) > 0.5
    length = data.shape[axis] - 1
    inside = mask.narrow(axis, 0, length) & mask.narrow(axis, 1, length)
    change = torch.diff(data, dim=axis)[inside]
    return float(change.double().square().mean().sqrt())
