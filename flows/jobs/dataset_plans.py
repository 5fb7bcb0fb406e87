"""A dataset of drawn heads, planned and made in this process; flow and command line take it."""

from pathlib import Path
from typing import TYPE_CHECKING

from core.progress import Meter
from flows.machines.resources import MARGIN, START_S, Resources, check_here
from flows.settings.settings import read_settings
from medical.datasets.request import MRIDatasetRequest

if TYPE_CHECKING:
    from medical.datasets.making import Dataset, Maker


def planned(request: MRIDatasetRequest, out: Path) -> "tuple[Maker, Resources]":
    """The plan of a dataset and what is left of it takes, refused where it cannot be made here.

    Args:
        request: What is asked.
        out: Where it shall stand.

    Raises:
        Refusal: Nobody's data can serve it, its people may be recognized by what was measured
            before, or this machine cannot make it.
    """
    from medical.datasets.cost import dataset_cost
    from medical.datasets.making import Maker, left_to_draw
    from medical.datasets.tracing import known, seconds_to_measure

    maker = known(Maker.of(request, out), out, kept_linkage())
    left = left_to_draw(maker, out)
    cost = dataset_cost(request.model_copy(update={"count": left}), maker.heads.seconds)
    before = seconds_to_measure(maker, out, kept_linkage()) if left else 0.0
    wanted = Resources(
        gpus=0,
        gpu_memory_gb=0.0,
        cpus=1.0,
        memory_gb=MARGIN * cost.memory_gb,
        disk_gb=MARGIN * cost.disk_gb,
        minutes=MARGIN * (cost.seconds + before + START_S) / 60,
    )
    if left:
        check_here(wanted, out)
    return maker, wanted


def settle(maker: "Maker", out: Path, meter: Meter) -> "Maker":
    """The maker whose plan says how far the user's own people can be traced.

    Raises:
        Refusal: They may be recognized, and nobody accepted it.
    """
    from medical.datasets.tracing import settled

    return settled(maker, out, kept_linkage(), meter)


def kept_linkage() -> Path:
    """Where figures of people's pools are kept, called by digest."""
    return read_settings().home / "linkage"


def make(maker: "Maker", out: Path, meter: Meter) -> "Dataset":
    """Make what is missing of a dataset, telling how far it is."""
    from medical.datasets.making import make_dataset

    return make_dataset(maker, out, meter)
