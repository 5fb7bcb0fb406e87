"""The flow ``augment_mri_dataset``: drawn heads with their labels, from a data team's request.

When they are drawn a person is asked; the run is suspended meanwhile, so no process waits. The
answer starts it anew from the top, and it finds what stands. Where nobody answers in time,
``tidy_runs`` writes a rejection.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field

from flows.jobs.datasets import question, run_dataset, write_answer
from flows.pages.failures import explained_flow
from flows.pages.run_names import own_name
from flows.requests.parameters import Asked, Project
from flows.storage.files import DEFAULT_PROJECT, FileRef
from medical.datasets.request import MRIDatasetRequest

Hours = Annotated[float, Field(ge=0, le=720, json_schema_extra={"title": "Hours"})]


class DatasetApproval(RunInput):
    """The form that is shown when a person presses Resume."""

    decision: Literal["accept", "reject"] = Field(description="On the dataset as a whole.")
    by: str = Field(min_length=1, max_length=100, description="Your name.")
    note: str = Field(default="", max_length=2000, description="Why; it is kept.")


@explained_flow(own_name)
def augment_mri_dataset(
    request: Asked[MRIDatasetRequest], project: Project = DEFAULT_PROJECT, hours: Hours = 72.0
) -> FileRef:
    """Draw heads with images, masks, splits and a report, and ask a person to accept them.

    A run that was stopped goes on when the same is asked again. The run waits, suspended, when
    all is drawn: look at the report, then press Resume in its menu. Without an answer the dataset
    is rejected. For research, not for diagnosis.

    Args:
        request: Which heads, and how many.
        project: Project to file the dataset under: lower case letters, digits and dashes.
        hours: How long the answer may take, up to 720 hours; 0 asks nobody.
    """
    record = run_dataset(request, project)
    out = Path(record.path).parent
    if not hours or not deployment.id:
        return record
    if words := question(out, hours):
        said: Any = suspend_flow_run(
            wait_for_input=DatasetApproval.with_initial_data(description=words),
            timeout=round(hours * 3600),
            key="answer",
        )
        return write_answer(out, said.decision, said.by, said.note)
    return record
