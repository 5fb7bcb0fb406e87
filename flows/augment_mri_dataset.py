"""The flow ``augment_mri_dataset``: drawn heads with their labels, from a data team's request."""

from prefect import flow

from flows.jobs.datasets import run_dataset
from flows.pages.failures import explained
from flows.pages.run_names import named, own_name
from flows.requests.parameters import Asked, Project
from flows.storage.files import DEFAULT_PROJECT, FileRef
from medical.datasets.request import MRIDatasetRequest


@flow(name="augment_mri_dataset", flow_run_name=named(own_name), log_prints=True)
@explained
def augment_mri_dataset(
    request: Asked[MRIDatasetRequest], project: Project = DEFAULT_PROJECT
) -> FileRef:
    """Draw heads with images, masks, splits and a report.

    A run that was stopped goes on when the same is asked again. The dataset says that it is
    unapproved until a person accepts it. For research, not for diagnosis.

    Args:
        request: Which heads, and how many.
        project: Project to file the dataset under: lower case letters, digits and dashes.
    """
    return run_dataset(request, project)
