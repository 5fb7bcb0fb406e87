"""The flow ``audit_mri_dataset``: whether heads that are to show nobody show people."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from medical.audit.request import AuditRequest
from medical.operations.audit_mri_dataset import AuditMRIDataset

OPERATION = AuditMRIDataset()


@explained_flow(title_by(OPERATION))
def audit_mri_dataset(
    request: Asked[AuditRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
) -> Refs:
    """Hold the heads of a dataset against people, with controls that must be found.

    The page and the record, which says passed or not, go into a new folder under the outputs root.

    Args:
        request: Which dataset, and which people.
        output_name: Name of the result's folder; empty to name it after the dataset.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    return run_stages(OPERATION, request, output_name, project)
