"""The flow ``super_resolve_mri``: thick slices become a fine volume with its uncertainty."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, Format, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.operations.super_resolve_mri import SuperResolveMRI
from medical.request import SuperResolutionRequest

OPERATION = SuperResolveMRI()


@explained_flow(title_by(OPERATION))
def super_resolve_mri(
    request: Asked[SuperResolutionRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    result_format: Format = "nifti",
) -> Refs:
    """Turn a thick-slice scan into a finer volume.

    The volume, its uncertainty and consistency maps, a picture and the record go into a new
    folder under the outputs root. For research, not for diagnosis.

    Args:
        request: What to restore, and how.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
        result_format: dicom writes a folder of derived DICOM beside the files, too.
    """
    return run_stages(OPERATION, request, output_name, project, result_format)
