"""One head of a dataset in all its formats, and the record that says how it was drawn."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.numerics import PORTABLE
from core.records import atomic_path, compute
from medical.datasets.heads import Heads
from medical.datasets.plan import Plan, Planned
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.series import write_subject_series
from medical.datasets.subject import before_path, picture_before
from medical.datasets.volumes import DrawnVolume, digests
from medical.datasets.writing import write_case, write_images
from medical.files.bids import write_json
from medical.lesions.atlas import LesionAtlas

UNKEPT = ".drawn"  # images of a dataset that is not written as BIDS
LIBRARIES = ("lamina", "torch", "numpy", "scipy", "nibabel")


@dataclass(frozen=True)
class Ground:
    """What a head follows from.

    Attributes:
        request: What was asked.
        plan: What follows from it.
        heads: Where heads come from.
        atlas: Of lesions.
    """

    request: MRIDatasetRequest
    plan: Plan
    heads: Heads
    atlas: LesionAtlas

    @property
    def facts(self) -> dict[str, Any]:
        """What its records say of it: digests of what is drawn from, libraries, arithmetic.

        Of portable arithmetic only its name, as it is the same wherever heads are drawn.
        """
        told = compute()
        return {
            "drawn_from": {"heads": self.heads.digest, "lesion_atlas": self.atlas.digest},
            "versions": {name: version(name) for name in LIBRARIES},
            "compute": {"numerics": PORTABLE} if told["numerics"] == PORTABLE else told,
        }


def publish(ground: Ground, planned: Planned, drawn: DrawnVolume, out: Path) -> dict[str, Any]:
    """Write a head in the formats asked, its record last; the record."""
    request, subject = ground.request, planned.subject
    wants_bids, files = "bids" in request.formats, list[Path]()
    root = out / "bids" if wants_bids else out / UNKEPT
    images = write_images(drawn, subject, root)
    if "nnunet" in request.formats:
        folder = out / "nnunet" / request.nnunet_name
        files += write_case(drawn, subject, root, folder, request)
    if "dicom" in request.formats:
        files += write_subject_series(drawn, subject, request, ground.plan.key, out)
    if wants_bids:
        files += images
    else:
        shutil.rmtree(root)
    files = [*files, *_pictured(request, subject, drawn, out)]
    record = {**drawn.facts, **ground.facts, "files": digests(files, out)}
    write_json(record_path(planned, out), record)
    return json.loads(record_path(planned, out).read_text(encoding="utf-8"))


def _pictured(
    request: MRIDatasetRequest, subject: str, drawn: DrawnVolume, out: Path
) -> list[Path]:
    """The picture of a head before its lesions; none for a healthy one."""
    if drawn.before is None:
        return []
    contrast = request.contrasts[-1]
    path = out / before_path(subject, contrast)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = picture_before(drawn.before, drawn.images[contrast], drawn.head.labels)
    with atomic_path(path, overwrite=True) as part:
        part.write_bytes(picture)
    return [path]


def record_path(planned: Planned, out: Path) -> Path:
    """Where the record of a head stands."""
    return out / "volumes" / f"{planned.subject}.json"
