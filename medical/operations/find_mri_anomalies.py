"""``find_mri_anomalies``: how much a voxel of a FLAIR looks like a lesion, beside a threshold."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from core.operations.operation import Model, ModelSource, OnStep
from core.refusal import Refusal
from medical.lesions.request import FindAnomaliesRequest
from medical.operations.map_mri import MapMRI, Maps
from medical.operations.segment_mri import SEGMENTATION, SEGMENTER, check_brain

if TYPE_CHECKING:
    from medical.files.volume import Volume


class FindMRIAnomalies(MapMRI[FindAnomaliesRequest]):
    """A score for each voxel, and where score and brightness pass what healthy heads have."""

    name = "find_mri_anomalies"
    request = FindAnomaliesRequest
    maps: ClassVar[Mapping[str, tuple[str, str]]] = {
        "result": ("", "float32"),
        "mask": ("_mask", "uint8"),
        "bright": ("_bright", "uint8"),
    }
    reads_structures = True

    def words(self, request: FindAnomaliesRequest) -> str:
        """What the maps are."""
        return "Lamina anomalies; research use"

    def check(self, request: FindAnomaliesRequest) -> None:
        """Refuse a contrast in which lesions cannot be told from tissue by brightness."""
        from medical.lesions.anomalies import head_voxels
        from medical.lesions.own_heads import contrast_of

        contrast = contrast_of(Path(request.scan), request.contrast)
        if contrast == "T1w":
            raise Refusal(
                f"{request.scan} is T1-weighted: on T1 alone lesions have intensities of healthy "
                "tissue (voxel AUC of intensity .41 and .47 on two people, .5 is chance), so no "
                "map is made of it; give the FLAIR of the same head."
            )
        if contrast != "FLAIR":
            raise Refusal(
                f"{request.scan} is {contrast}: anomalies were learned and measured on FLAIR "
                "alone; give the FLAIR of the same head."
            )
        super().check(request)
        head_voxels(self.prepare(request))

    def source(self, request: FindAnomaliesRequest) -> ModelSource:
        """The segmenter, whose shares the head reads."""
        from core.models.installed import Installed

        return Installed(SEGMENTER, SEGMENTATION)

    def per_million(
        self, request: FindAnomaliesRequest
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Measured on one core of a server CPU, heads of 2 to 8 million voxels."""
        return (10.0, 2.5), (0.9, 0.15)

    def find(
        self, request: FindAnomaliesRequest, scan: "Volume", model: Model, on_step: OnStep
    ) -> Maps:
        """Scores, and the two masks."""
        from medical.lesions.anomalies import read_facts, read_features, shipped_head

        head = shipped_head()
        if read_facts()["segmenter"] != model.record["sha256"]:
            raise Refusal(
                f"the segmenter {SEGMENTER} that is installed is another than the anomaly head "
                "was trained with: its shares mean something else; use the one that ships, or "
                "train a head with python -m medical.training.anomalies."
            )
        read = read_features(scan, model.network, on_step)
        check_brain(read.brain_ml)
        score, brightness = read.laid_out(head(read.features)), read.laid_out(read.brightness)
        bound, threshold = head.bound(request.healthy_ml)
        masks = {"mask": score > bound, "bright": brightness > threshold}
        ml = {name: float(m.sum()) * scan.voxel_ml for name, m in masks.items()}
        facts = {
            "method": "brightness, its surroundings and shares of structures, trained on lesions "
            "put into painted heads",
            "above_ml": {name: round(each, 3) for name, each in ml.items()},
            "bounds": {"score": round(bound, 4), "brightness_of_white": round(threshold, 3)},
            "painted_healthy_heads_show_ml": request.healthy_ml,
            "bounds_are": "measured" if request.healthy_ml in head.bounds else "interpolated",
        }
        found = {name: mask.astype(np.uint8) for name, mask in masks.items()}
        return Maps(scan, {"result": score, **found}, facts)
