"""``insert_mri_lesions``: lesions of multiple sclerosis put into a person's own healthy head."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.models.methods import Method
from core.operations.operation import ModelSource, OnStep, Reading
from medical.lesions.request import InsertLesionsRequest
from medical.operations.edit_mri import Edit, EditMRI

if TYPE_CHECKING:
    from medical.files.volume import Volume


class InsertMRILesions(EditMRI[InsertLesionsRequest]):
    """A head with lesions of the load asked for, and their mask."""

    name = "insert_mri_lesions"
    request = InsertLesionsRequest
    draws_mask = True

    def source(self, request: InsertLesionsRequest) -> ModelSource:
        """What lesions are drawn by: measurements of real ones."""
        from medical.lesions.atlas import lesion_atlas

        return Method("ms-lesions", self.kind, lesion_atlas().digest)

    def read(self, request: InsertLesionsRequest, *, strict: bool = False) -> Reading:
        """As it came, and what of it lies outside what was measured."""
        from medical.lesions.atlas import lesion_atlas
        from medical.lesions.drawing import beyond_measured

        wish = _wish(request)
        said = beyond_measured(wish, lesion_atlas(), counted=bool(request.count))
        found = super().read(request)
        facts = {"beyond_measured": said} if said else {}
        return Reading(request, found.facts | facts, (*found.remarks, *said))

    def check(self, request: InsertLesionsRequest) -> None:
        """Refuse a scan that is none or does not say its contrast."""
        from medical.lesions.own_heads import contrast_of

        contrast_of(Path(request.scan), request.contrast)
        super().check(request)

    def edit(self, request: InsertLesionsRequest, scan: "Volume", on_step: OnStep) -> Edit:
        """Lesions drawn where this head's white matter is."""
        from medical.lesions.appearance import draw_ratio, insert
        from medical.lesions.atlas import lesion_atlas
        from medical.lesions.drawing import draw_lesions
        from medical.lesions.own_heads import check_load, contrast_of, labels_of, to_mni
        from medical.lesions.regions import places_of

        check_load(scan, request.load_ml)
        atlas, in_mni = lesion_atlas(), to_mni(scan)
        labels = labels_of(scan, in_mni, atlas)
        places = places_of(labels, in_mni, atlas, spacing_mm=scan.spacing_mm)
        drawn = draw_lesions(_wish(request), places, atlas, request.seed)
        contrast = contrast_of(Path(request.scan), request.contrast)
        values = insert(scan.data.numpy(), drawn.mask, contrast, scan.spacing_mm, request.seed)
        facts = {
            "method": "lesions drawn from measurements of 29 people",
            "contrast": contrast,
            "lesion_to_white_matter": round(draw_ratio(contrast, request.seed), 4),
            **drawn.facts,
            "contributors": drawn.contributors,
        }
        return Edit(Path(request.scan), drawn.mask > 0, values, scan, facts)


def _wish(request: InsertLesionsRequest) -> Any:
    from medical.lesions.atlas import lesion_atlas
    from medical.lesions.drawing import LesionWish, usual_count

    random = np.random.default_rng([request.seed, 11])
    count = request.count or usual_count(request.load_ml, lesion_atlas(), random)
    return LesionWish(request.load_ml, count, request.regions)
