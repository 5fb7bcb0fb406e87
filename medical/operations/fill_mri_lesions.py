"""``fill_mri_lesions``: lesions made to look like the white matter around them, for volumetry."""

from pathlib import Path
from typing import TYPE_CHECKING

from core.operations.operation import OnStep
from medical.lesions.request import FillLesionsRequest
from medical.operations.edit_mri import Edit, EditMRI, read_mask

if TYPE_CHECKING:
    from medical.files.volume import Volume


class FillMRILesions(EditMRI[FillLesionsRequest]):
    """A head without its lesions."""

    name = "fill_mri_lesions"
    request = FillLesionsRequest

    def edit(self, request: FillLesionsRequest, scan: "Volume", on_step: OnStep) -> Edit:
        """Intensities drawn from the tissue within 3 mm of each lesion."""
        from medical.lesions.appearance import fill

        mask = read_mask(request.mask, scan)
        values = fill(scan.data.numpy(), mask, scan.spacing_mm, request.seed)
        facts = {"method": "intensities of the tissue within 3 mm, with its texture"}
        return Edit(Path(request.scan), mask, values, scan, facts)
