"""A model of heads as a graph that runs without torch; what runs it is ``medical.runner``."""

from __future__ import annotations

from typing import Any

from core.backends.artefact import LANDINGS, Artefact
from core.backends.unet import Asked, build
from core.networks.conditioned import ConditionedNetwork
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from medical.operations.error_map import shipped_head
from medical.operations.restoring import Tiling
from medical.runner.heads import GRAPH

MODULES = (
    "core.arrays",
    "core.numerics",
    "core.operations.linear_operators",
    "core.operations.moments",
    "core.operations.windows",
    "core.progress",
    "core.records",
    "core.refusal",
    "core.runner.command",
    "core.runner.graphs",
    "core.runner.noise",
    "core.runner.walks",
    "core.trouble",
    "medical.acquisition.acquisition",
    "medical.acquisition.bands",
    "medical.acquisition.intensity",
    "medical.acquisition.noise",
    "medical.acquisition.sampling",
    "medical.acquisition.slice_width",
    "medical.evaluation.seams",
    "medical.files.bids",
    "medical.files.container",
    "medical.files.forms",
    "medical.files.nifti",
    "medical.files.privacy",
    "medical.files.stored",
    "medical.files.synthetic",
    "medical.files.volume",
    "medical.operations.error_map",
    "medical.operations.familiarity",
    "medical.operations.mirrors",
    "medical.operations.problem",
    "medical.operations.remarks",
    "medical.operations.residual",
    "medical.operations.restoration",
    "medical.operations.restoring",
    "medical.operations.verification",
    "medical.runner.heads",
)
NEEDS = ("nibabel", "numpy", "scipy")
BESIDE = 2  # channels of what lies beside the sample


def exported(network: ConditionedNetwork, record: dict[str, Any]) -> Artefact:
    """What stands for a model of heads.

    Args:
        network: In float32.
        record: Of the model.

    Raises:
        Refusal: It is a network, or was taught in a way, that is not exported.
    """
    family, config = network.config["trained_objective"], network.config
    shown = (config["in_channels"], config["concat_channels"]) == (1, BESIDE)
    fits_in = isinstance(network, SpatioTemporalUNet) and family in LANDINGS and shown
    if not fits_in or record.get("space") or config["text_channels"]:
        raise Refusal(
            f"model {record['name']} is a {type(network).__name__} taught by {family}: exported "
            "are networks of the class SpatioTemporalUNet that restore scans, of the families "
            f"{' and '.join(LANDINGS)}; run this one with torch."
        )
    assert isinstance(network, SpatioTemporalUNet)
    tiling = Tiling()
    parts = frozenset({"concat", "spacing", "resolution"})
    head = shipped_head(record)
    errors = {}
    if head is not None:
        errors = {"low": head.low.tolist(), "high": head.high.tolist()}
        for k, (weight, offset) in enumerate(head.weights):
            errors |= {f"weight{k}": weight.tolist(), f"offset{k}": offset.tolist()}
    sampling = {
        "window": tiling.size,
        "cell": tiling.cell,
        "landings": LANDINGS[family],
        "errors": errors,
    }
    return Artefact(
        {GRAPH: build(network, Asked(1, tiling.size, parts))},
        {},
        MODULES,
        NEEDS,
        "medical.runner.heads",
        "A finer volume from a thick-slice scan of a head",
        "python run.py scan.nii.gz head.nii.gz",
        {"sampling": sampling},
    )
