"""The flow ``segment_mri``: what every voxel of a head is."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, Format, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.operations.segment_mri import SegmentMRI
from medical.request import SegmentRequest

OPERATION = SegmentMRI()


@explained_flow(title_by(OPERATION))
def segment_mri(
    request: Asked[SegmentRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    result_format: Format = "nifti",
) -> Refs:
    """Label the tissues or the structures of a head, on its own grid.

    The labels and the record go into a new folder under the outputs root.
    For research, not for diagnosis.

    Args:
        request: Which head, and which labels.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
        result_format: dicom writes a folder of derived DICOM beside the files, too.
    """
    return run_stages(OPERATION, request, output_name, project, result_format)
