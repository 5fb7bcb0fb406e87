"""The flow ``fill_mri_lesions``: lesions made to look like the white matter around them."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, Format, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.lesions.request import FillLesionsRequest
from medical.operations.fill_mri_lesions import FillMRILesions

OPERATION = FillMRILesions()


@explained_flow(title_by(OPERATION))
def fill_mri_lesions(
    request: Asked[FillLesionsRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    result_format: Format = "nifti",
) -> Refs:
    """Fill the lesions of a head with the look of the white matter around them.

    The head and the record go into a new folder under the outputs root; outside the mask
    nothing changes.
    For research, not for diagnosis.

    Args:
        request: Which head, and how.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
        result_format: dicom writes a folder of derived DICOM beside the files, too.
    """
    return run_stages(OPERATION, request, output_name, project, result_format)
