"""A dataset of drawn heads as a flow and the command line make it."""

from pathlib import Path
from typing import TYPE_CHECKING

from core.progress import Meter
from flows.jobs.stages import patient_stage, stage
from flows.machines.resources import MARGIN, START_S, Resources, check_here
from flows.pages.artifacts import progress_bar
from flows.pages.run_log import join_run_log
from flows.settings.settings import Settings, read_settings
from flows.storage.files import FileRef, checked_project, plain_name
from flows.storage.quota import Quota
from medical.datasets.request import MRIDatasetRequest

if TYPE_CHECKING:
    from medical.datasets.making import Dataset, Maker


def planned(request: MRIDatasetRequest, out: Path) -> "tuple[Maker, Resources]":
    """The plan of a dataset and what it takes, refused where it cannot be made here.

    Args:
        request: What is asked.
        out: Where it shall stand.

    Raises:
        Refusal: Nobody's data can serve it, or this machine cannot make it.
    """
    from medical.datasets.cost import dataset_cost
    from medical.datasets.making import Maker

    maker, cost = Maker.of(request), dataset_cost(request)
    wanted = Resources(
        gpus=0,
        gpu_memory_gb=0.0,
        cpus=1.0,
        memory_gb=MARGIN * cost.memory_gb,
        disk_gb=MARGIN * cost.disk_gb,
        minutes=MARGIN * (cost.seconds + START_S) / 60,
    )
    check_here(wanted, out)
    return maker, wanted


def make(maker: "Maker", out: Path, meter: Meter) -> "Dataset":
    """Make what is missing of a dataset, telling how far it is."""
    from medical.datasets.making import make_dataset

    return make_dataset(maker, out, meter)


@patient_stage
def check(request: MRIDatasetRequest, project: str) -> Path:
    """Refuse what cannot be made; the folder of the dataset."""
    from medical.datasets.making import claim

    settings = read_settings()
    Quota(settings, checked_project(project)).check()
    out = dataset_folder(request, project, settings)
    maker, _ = planned(request, out)
    claim(maker, out)
    return out


@stage
def draw(request: MRIDatasetRequest, out: Path) -> FileRef:
    """Draw what is missing of the dataset; its record."""
    from medical.datasets.making import RECORD

    maker, _ = planned(request, out)
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
