"""``segment_mri``: what every voxel of a head is, on the head's own grid, and how many ml."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from core.models.methods import Method
from core.operations.operation import Facts, Model, ModelSource, OnStep
from core.refusal import Refusal
from medical.operations.map_mri import MapMRI, Maps
from medical.request import SegmentRequest

if TYPE_CHECKING:
    from medical.files.volume import Volume

SEGMENTER = "structures-2mm"
SEGMENTATION = "segmentation"
LEAST_ML = 50.0
"""Of brain, below which a scan is taken to show none."""


class SegmentMRI(MapMRI[SegmentRequest]):
    """Tissues by a rule, or structures by the network that ships."""

    name = "segment_mri"
    request = SegmentRequest
    maps: ClassVar[Mapping[str, tuple[str, str]]] = {"result": ("", "uint8")}

    def words(self, request: SegmentRequest) -> str:
        """What the labels are of."""
        return f"Lamina {request.labels}; research use"

    def coarse(self, request: SegmentRequest) -> bool:
        """For structures."""
        return request.labels == "structures"

    def source(self, request: SegmentRequest) -> ModelSource:
        """The network for structures; none for tissues."""
        from core.models.installed import Installed

        if request.labels == "structures":
            return Installed(SEGMENTER, SEGMENTATION)
        return Method("tissue rule", self.kind)

    def per_million(
        self, request: SegmentRequest
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Measured on one core of a server CPU, heads of 2 to 17 million voxels."""
        if request.labels == "structures":
            return (12.0, 3.0), (0.9, 0.06)
        return (2.0, 1.5), (0.5, 0.15)

    def find(self, request: SegmentRequest, scan: "Volume", model: Model, on_step: OnStep) -> Maps:
        """The labels."""
        if request.labels == "structures":
            return _structures(scan, model, on_step)
        return _tissues(scan)


def _tissues(scan: "Volume") -> Maps:
    from medical.anatomy.tissues import TISSUES, find_tissues

    labels = find_tissues(scan.data.numpy(), scan.spacing_mm).labels
    facts = {
        "method": "three classes of intensities under a smooth bias, neighbors that agree",
        **_volumes(scan, labels, TISSUES),
    }
    return Maps(scan, {"result": labels}, facts)


def _structures(scan: "Volume", model: Model, on_step: OnStep) -> Maps:
    from medical.anatomy.segmenting import find_labels
    from medical.anatomy.structures import OUTSIDE, STRUCTURES

    labels = find_labels(scan, model.network, on_step)
    facts = {
        "method": "network for any contrast, at 2 mm, read at the scan's voxels",
        **_volumes(scan, labels, dict(enumerate(STRUCTURES))),
    }
    brain = sum(ml for name, ml in facts["volume_ml"].items() if name != STRUCTURES[OUTSIDE])
    check_brain(brain)
    return Maps(scan, {"result": labels}, facts)


def check_brain(milliliters: float) -> None:
    """Refuse a scan in which the network of structures finds no brain.

    Raises:
        Refusal: There is too little.
    """
    if milliliters < LEAST_ML:
        raise Refusal(
            f"the network finds {milliliters:.1f} ml of brain: structures are found in a head "
            f"with {LEAST_ML:g} ml or more; give a scan of a whole head, its axes told rightly."
        )


def _volumes(scan: "Volume", labels: np.ndarray, names: dict[int, str]) -> Facts:
    counts = np.bincount(labels.ravel(), minlength=len(names))
    return {
        "labels": {str(k): name for k, name in names.items()},
        "volume_ml": {
            name: round(float(counts[k]) * scan.voxel_ml, 2) for k, name in names.items() if k
        },
    }
