"""The flow ``insert_mri_lesions``: lesions put into a healthy head."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, Format, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.lesions.request import InsertLesionsRequest
from medical.operations.insert_mri_lesions import InsertMRILesions

OPERATION = InsertMRILesions()


@explained_flow(title_by(OPERATION))
def insert_mri_lesions(
    request: Asked[InsertLesionsRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    result_format: Format = "nifti",
) -> Refs:
    """Put lesions of multiple sclerosis into a healthy head.

    The head, the mask of its lesions and the record go into a new folder under the outputs
    root; outside the mask nothing changes.
    For research, not for diagnosis.

    Args:
        request: Which head, and how.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
        result_format: dicom writes a folder of derived DICOM beside the files, too.
    """
    return run_stages(OPERATION, request, output_name, project, result_format)
