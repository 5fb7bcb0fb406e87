"""The flow ``find_mri_anomalies``: what looks like a lesion in a FLAIR."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, Format, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.lesions.request import FindAnomaliesRequest
from medical.operations.find_mri_anomalies import FindMRIAnomalies

OPERATION = FindMRIAnomalies()


@explained_flow(title_by(OPERATION))
def find_mri_anomalies(
    request: Asked[FindAnomaliesRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    result_format: Format = "nifti",
) -> Refs:
    """Map how much each voxel of a FLAIR looks like a lesion, beside a plain threshold.

    The map, two masks and the record go into a new folder under the outputs root.
    For research, not for diagnosis.

    Args:
        request: Which FLAIR.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
        result_format: dicom writes a folder of derived DICOM beside the files, too.
    """
    return run_stages(OPERATION, request, output_name, project, result_format)
