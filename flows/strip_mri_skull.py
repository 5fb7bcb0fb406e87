"""The flow ``strip_mri_skull``: a head without skull and face."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, Format, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.lesions.request import StripSkullRequest
from medical.operations.strip_mri_skull import StripMRISkull

OPERATION = StripMRISkull()


@explained_flow(title_by(OPERATION))
def strip_mri_skull(
    request: Asked[StripSkullRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    result_format: Format = "nifti",
) -> Refs:
    """Take skull and face away from a T1-weighted head.

    Brain, its mask and the record go into a new folder under the outputs root; every byte of the
    brain stays as it was. The worker needs the extra skull.
    For research, not for diagnosis.

    Args:
        request: Which head, and how.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
        result_format: dicom writes a folder of derived DICOM beside the files, too.
    """
    return run_stages(OPERATION, request, output_name, project, result_format)
