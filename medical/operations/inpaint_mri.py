"""``inpaint_mri``: a region of a head painted over from what lies around it."""

from pathlib import Path
from typing import TYPE_CHECKING

from core.operations.operation import OnStep
from medical.lesions.request import InpaintMRIRequest
from medical.operations.edit_mri import Edit, EditMRI, read_mask

if TYPE_CHECKING:
    from medical.files.volume import Volume


class InpaintMRI(EditMRI[InpaintMRIRequest]):
    """A head whose region is smooth between its borders, with the texture around it."""

    name = "inpaint_mri"
    request = InpaintMRIRequest

    def edit(self, request: InpaintMRIRequest, scan: "Volume", on_step: OnStep) -> Edit:
        """The harmonic continuation of the borders, and texture; no network takes part."""
        from medical.lesions.inpainting import inpaint

        mask = read_mask(request.mask, scan)
        values = inpaint(scan.data.numpy(), mask, scan.spacing_mm, request.seed, on_step)
        facts = {"method": "harmonic interpolation with texture, no network"}
        return Edit(Path(request.scan), mask, values, scan, facts)
