"""The flow ``inpaint_mri``: a region of a head painted over from what lies around it."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, Format, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.lesions.request import InpaintMRIRequest
from medical.operations.inpaint_mri import InpaintMRI

OPERATION = InpaintMRI()


@explained_flow(title_by(OPERATION))
def inpaint_mri(
    request: Asked[InpaintMRIRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    result_format: Format = "nifti",
) -> Refs:
    """Paint a region of a head over from what lies around it.

    No network takes part: no anatomy is invented. The head and the record go into a new folder
    under the outputs root; outside the mask nothing changes.
    For research, not for diagnosis.

    Args:
        request: Which head, and how.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
        result_format: dicom writes a folder of derived DICOM beside the files, too.
    """
    return run_stages(OPERATION, request, output_name, project, result_format)
