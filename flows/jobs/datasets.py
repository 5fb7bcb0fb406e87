"""A dataset of drawn heads as stages of a flow."""

from pathlib import Path
from typing import Literal

from flows.jobs.dataset_plans import make, planned, settle
from flows.jobs.stages import patient_stage, stage
from flows.pages.artifacts import progress_bar
from flows.pages.run_log import join_run_log
from flows.settings.settings import Settings, read_settings
from flows.storage.files import FileRef, checked_project, plain_name
from flows.storage.quota import Quota
from medical.datasets.request import MRIDatasetRequest


@patient_stage
def check(request: MRIDatasetRequest, project: str) -> Path:
    """Refuse what cannot be made; the folder of the dataset."""
    from medical.datasets.making import claim

    settings = read_settings()
    Quota(settings, checked_project(project)).check()
    out = dataset_folder(request, project, settings)
    maker, _ = planned(request, out)
    claim(maker, out, write=not maker.plan.pending)
    return out


@stage
def draw(request: MRIDatasetRequest, out: Path) -> FileRef:
    """Draw what is missing of the dataset; its record."""
    from medical.datasets.making import RECORD

    maker, _ = planned(request, out)
    if maker.plan.pending:
        with progress_bar("linkage") as meter:
            maker = settle(maker, out, meter)
    with progress_bar("dataset") as meter:
        made = make(maker, out, meter)
    if made.missing:
        raise RuntimeError(
            f"no head passed for {', '.join(made.missing)}: their reasons stand in "
            f"{out / 'quarantine'}; ask for another seed or other lesions."
        )
    return FileRef.of(out / RECORD)


def dataset_folder(request: MRIDatasetRequest, project: str, settings: Settings) -> Path:
    """Where a dataset stands among the outputs: by its name, so that a run goes on there."""
    name = plain_name(request.name, "dataset")
    return settings.outputs / checked_project(project) / "augment_mri_dataset" / name


def run_dataset(request: MRIDatasetRequest, project: str) -> FileRef:
    """Take a request to a dataset, within a flow run; its record."""
    join_run_log()
    return draw(request, check(request, project))


@patient_stage
def question(out: Path, hours: float) -> str:
    """What a person is asked about a dataset, in markdown; empty where it was decided."""
    from medical.datasets.approval import UNAPPROVED, ask, status

    if status(out) != UNAPPROVED:
        return ""
    asked = ask(out, hours)
    return (
        f"**{out.name}** is drawn. Look at `{out / 'report.html'}`, then accept or reject it. "
        f"No answer until {asked['until'][:16]} UTC is a rejection."
    )


@patient_stage
def write_answer(out: Path, decision: Literal["accept", "reject"], by: str, note: str) -> FileRef:
    """Write a person's decision; the dataset's record, which says it."""
    from medical.datasets.approval import Answer
    from medical.datasets.decisions import approve
    from medical.datasets.making import RECORD

    approve(out, Answer(decision, by, note))
    return FileRef.of(out / RECORD)
