"""A BIDS derivative dataset of restored scans: names, sidecars, descriptions, sources.

BIDS has no suffix for an uncertainty map, so its own stands in the dataset's ``.bidsignore``.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.records import atomic_path, versions
from medical.files.bids import (
    VERSION,
    entities_of,
    is_stripped,
    read_json,
    write_json,
    write_text,
)
from medical.files.container import scan_name

DESCRIPTION: Final = "dataset_description.json"
HANDED_ON: Final = ("Name", "License", "Authors", "DatasetDOI")
LABEL: Final = "sr"
UNCERTAINTY: Final = "uncertainty"
USUAL: Final = "T1w"
"""Maps of other images say of which they are: a session may hold several."""
RAW: Final = "raw"
"""How sources name the dataset they stand in: ``bids:raw:sub-01/anat/...``."""
RESULT_SAYS: Final = "Restored to finer voxels: mean of the samples drawn by the model."
README: Final = f"""Scans restored to finer voxels, for research and not for diagnosis.

Of each scan there is the restored image, *_desc-{LABEL}_SUFFIX.nii.gz, and beside it, under the
name ..._desc-{LABEL}_{UNCERTAINTY}.nii.gz (with mod-SUFFIX for other than
{USUAL} images), its uncertainty, voxel by voxel, in the scan's units: the error
to expect or the spread of the samples, as its sidecar says. BIDS has no suffix for such a map;
.bidsignore names it. Detail that the scan did not hold was invented by the model. The sidecars
name the source of each file, the model and the seed. SkullStripped is what the source's own
sidecar says; where it says nothing, it is taken not to be.
"""
LEFT_OUT: Final = """
Left out, as another scan goes by the same name without its description: {}.
"""


@dataclass(frozen=True)
class Restored:
    """One restored scan.

    Attributes:
        source: The scan, below its dataset's folder.
        files: The volumes by role: ``result`` and ``std``.
        record: What the record beside them says.
        stripped: Whether the scan shows no skull, where its files are not here to tell.
    """

    source: Path
    files: Mapping[str, Path]
    record: Mapping[str, Any]
    stripped: bool | None = None


def derived_path(source: Path, role: str) -> Path | None:
    """Where a volume goes below the dataset, None for a scan without a name that BIDS knows.

    >>> derived_path(Path("sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"), "std").name
    'sub-01_ses-2_desc-sr_uncertainty.nii.gz'
    >>> derived_path(Path("sub-01/anat/sub-01_FLAIR.nii.gz"), "std").name
    'sub-01_mod-FLAIR_desc-sr_uncertainty.nii.gz'
    """
    entities, suffix = entities_of(source.name)
    if "sub" not in entities or not suffix:
        return None
    entities.pop("desc", None)
    if role != "result" and suffix != USUAL:
        entities["mod"] = suffix
    kept = "_".join(f"{key}-{value}" for key, value in entities.items())
    ending = suffix if role == "result" else UNCERTAINTY
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    return Path(*folders, "anat", f"{kept}_desc-{LABEL}_{ending}.nii.gz")


def write_derivatives(
    root: Path,
    dataset: Path,
    scans: Sequence[Restored],
    told: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write or renew the derivative dataset; the volumes in it.

    Volumes are hard links to the results where the disk allows it, else copies. Volumes of an
    earlier time that are not among these are removed. Of scans that would go by one name the
    first is taken, and ``README.md`` names the others.

    Args:
        root: Of the derivative dataset.
        dataset: Of the scans.
        scans: What was restored of it.
        told: What ``described`` said of the dataset, where that is not here.
    """
    written: list[Path] = []
    taken: dict[Path | None, Path] = {}
    for scan in scans:
        taken.setdefault(derived_path(scan.source, "result"), scan.source)
    for scan in (scan for scan in scans if scan.source in taken.values()):
        for role, file in scan.files.items():
            inside = derived_path(scan.source, role)
            if inside is not None:
                _place(file, root / inside)
                sidecar = _sidecar(dataset, scan, role)
                write_json(root / inside.with_name(f"{scan_name(inside.name)}.json"), sidecar)
                written.append(root / inside)
    raw = described(dataset) or told or {}
    left = [scan.source for scan in scans if scan.source not in taken.values()]
    _describe(root, dataset, raw, left)
    for old in set(root.glob(f"sub-*/**/*_desc-{LABEL}_*.nii.gz")) - set(written):
        old.unlink()
        old.with_name(f"{scan_name(old.name)}.json").unlink(missing_ok=True)
    return sorted(written)


def _place(file: Path, target: Path) -> None:
    if target.exists() and os.path.samefile(file, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target, overwrite=True) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(file, temporary)
        except OSError:  # no links here, or another disk
            shutil.copyfile(file, temporary)


def _sidecar(dataset: Path, scan: Restored, role: str) -> dict[str, Any]:
    request, model = scan.record.get("request", {}), scan.record.get("model", {})
    described = {
        "Description": RESULT_SAYS
        if role == "result"
        else uncertainty_says(scan.record.get("extra", {})),
        "Sources": [f"bids:{RAW}:{scan.source.as_posix()}"],
        "SkullStripped": is_stripped(dataset / scan.source)
        if scan.stripped is None
        else scan.stripped,
        "SpatialReference": "orig",
    }
    said = {
        "Model": model.get("name"),
        "ModelWeightsSHA256": model.get("sha256"),
        "Seed": request.get("seed"),
        "SamplesDrawn": request.get("samples"),
        "SamplingSteps": request.get("steps"),
        "Remarks": scan.record.get("extra", {}).get("remarks"),
        "IntendedUse": scan.record.get("intended_use"),
    }
    return described | {name: value for name, value in said.items() if value is not None}


def described(dataset: Path) -> dict[str, Any]:
    """What a dataset says of itself that its derivatives hand on."""
    raw = read_json(dataset / DESCRIPTION)
    return {name: raw[name] for name in HANDED_ON if raw.get(name)}


def uncertainty_says(found: Mapping[str, Any]) -> str:
    """What an uncertainty map holds, by what the record beside it says was found.

    >>> uncertainty_says({"uncertainty": "standard deviation over the samples"})
    'Uncertainty: standard deviation over the samples.'
    """
    return f"Uncertainty: {found.get('uncertainty') or 'its record does not say which'}."


def _describe(root: Path, dataset: Path, raw: Mapping[str, Any], left_out: Sequence[Path]) -> None:
    source = {"URL": dataset.as_uri()}
    source |= {"DOI": raw["DatasetDOI"]} if isinstance(raw.get("DatasetDOI"), str) else {}
    about = {
        "Name": f"{raw.get('Name') or dataset.name}: restored to finer voxels",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "Lamina",
                "Version": versions()["lamina"],
                "Description": "Super-resolution of scans in thick slices.",
            }
        ],
        "SourceDatasets": [source],
        "DatasetLinks": {RAW: dataset.as_uri()},
    }
    about |= {field: raw[field] for field in ("License", "Authors") if raw.get(field)}
    write_json(root / DESCRIPTION, about)
    names = ", ".join(source.as_posix() for source in left_out)
    write_text(root / "README.md", README + (LEFT_OUT.format(names) if names else ""))
    write_text(root / ".bidsignore", f"*_{UNCERTAINTY}.nii.gz\n*_{UNCERTAINTY}.json\n")
