"""Anomaly maps of FLAIR: how much a voxel looks like a lesion, given what lies around it.

The segmenter says what each voxel would be in a healthy head; it takes lesions for the white
matter that they lie in. A few hundred weights then read brightness, its contrast to the
neighborhood, and these shares. They were trained on lesions put into painted heads, and the
bounds were set on healthy ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from core.networks.conditioned import ConditionedNetwork
from core.refusal import Refusal
from medical.anatomy.filters import Floats, blurred
from medical.anatomy.segmenting import GRID_MM, Upright, from_zero, scores
from medical.files.volume import Volume

FOLDER = Path(__file__).parents[1] / "weights" / "anomalies-flair"
FILE, FACTS = "head.safetensors", "facts.json"
GROUPS: dict[str, tuple[int, ...]] = {
    "white": (3,),
    "cortex": (2,),
    "fluid": (1,),
    "ventricles": (4, 5),
    "deep": (6, 7, 8, 9, 10, 11),
    "hindbrain": (12, 13, 14),
    "outside": (0, 15),
}
WIDE_VOXELS = {"white": 2.0, "cortex": 2.0, "fluid": 2.0, "ventricles": 3.0, "outside": 2.0}
"""Blur of the shares at 2 mm, read beside them."""
NEAR_MM, FAR_MM = 0.8, 5.0
FAINT = 0.04
BRIGHTEST = 4.0
MOST_ML = 2200.0
"""Of a brain; what is larger is a head with its skull."""
OnStep = Callable[[int, int, object], None]


@dataclass(frozen=True, eq=False)
class AnomalyHead:
    """A small network that reads the features of one voxel.

    Attributes:
        layers: weights (out, in) and offsets (out,).
        middle: (features,) mean in training.
        spread: (features,) standard deviation in training.
        bounds: score, and brightness relative to white matter, that healthy heads pass with
            so many ml: ml to (score, brightness).
    """

    layers: tuple[tuple[Floats, Floats], ...]
    middle: Floats
    spread: Floats
    bounds: dict[float, tuple[float, float]]

    def bound(self, ml: float) -> tuple[float, float]:
        """Score and brightness that healthy heads pass with so many ml, between those measured."""
        known = sorted(self.bounds)
        at, logs = np.log(ml), np.log(known)
        score, brightness = (
            float(np.interp(at, logs, [self.bounds[each][k] for each in known])) for k in (0, 1)
        )
        return score, brightness

    def __call__(self, features: Floats) -> Floats:
        """Scores from 0 to 1 of voxels, (N, features) -> (N,)."""
        x = (features - self.middle) / self.spread
        for weight, offset in self.layers[:-1]:
            x = np.maximum(x @ weight.T + offset, 0.0)
        weight, offset = self.layers[-1]
        said = np.clip((x @ weight.T + offset)[:, 0], -30, 30)
        return (1 / (1 + np.exp(-said))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Read:
    """What is read of a scan.

    Attributes:
        features: (N, features) of the voxels of the head.
        brightness: (N,) intensity, white matter at 1.
        voxels: (D, H, W) which these are.
        brain_ml: What the network of structures takes for brain.
    """

    features: Floats
    brightness: Floats
    voxels: NDArray[np.bool_]
    brain_ml: float = 0.0

    def laid_out(self, values: Floats) -> Floats:
        """(N,) values of these voxels as a volume, 0 elsewhere."""
        volume = np.zeros(self.voxels.shape, np.float32)
        volume[self.voxels] = values
        return volume


def read_features(
    scan: Volume,
    segmenter: ConditionedNetwork,
    on_step: OnStep = lambda done, total, estimate: None,
) -> Read:
    """What the head reads of a skull-stripped FLAIR.

    Args:
        scan: (D, H, W), its lowest intensity outside the brain.
        segmenter: Network of structures.
        on_step: Told of windows done and in all.

    Raises:
        Refusal: Nothing is in the scan, or a skull is.
    """
    data, voxels = head_voxels(scan)
    turned = Upright.of(scan)
    shares = scores(turned.image, segmenter, on_step)
    coarse = [shares[list(members)].sum(0) for members in GROUPS.values()]
    coarse += [
        blurred(shares[list(GROUPS[name])].sum(0), sigma) for name, sigma in WIDE_VOXELS.items()
    ]
    brain_ml = (1 - float(shares[list(GROUPS["outside"])].sum(0).mean())) * turned.image.size
    laid = [
        turned.as_scanned(turned.at_voxels(each))[voxels].astype(np.float32) for each in coarse
    ]
    inner = (laid[0] > 0.5) if bool((laid[0] > 0.5).any()) else np.ones(len(laid[0]), bool)
    white = float(np.median(data[voxels][inner]))
    even = np.where(voxels, data / max(white, 1e-6), 0.0).clip(0, BRIGHTEST).astype(np.float32)
    near, far = (
        blurred(even, [mm / s for s in scan.spacing_mm])[voxels] for mm in (NEAR_MM, FAR_MM)
    )
    local = blurred(voxels.astype(np.float32), [FAR_MM / s for s in scan.spacing_mm])[voxels]
    far = far / np.maximum(local, 1e-3)
    brightness = even[voxels]
    features = np.stack([*laid, brightness, near, near - far], axis=1)
    return Read(features.astype(np.float32), brightness, voxels, brain_ml * GRID_MM**3 / 1000)


def head_voxels(scan: Volume) -> tuple[Floats, NDArray[np.bool_]]:
    """(D, H, W) intensities from 0, and which voxels are head.

    Raises:
        Refusal: Nothing is in the scan, or more than a brain.
    """
    data = from_zero(scan)
    voxels = data > FAINT * float(np.quantile(data[data > 0], 0.995))
    found = float(voxels.sum()) * scan.voxel_ml
    if found > MOST_ML:
        raise Refusal(
            f"the scan shows {found:.0f} ml: a brain has at most {MOST_ML:.0f}, and anomalies are "
            "found in a brain alone, where fat and skin would pass for lesions; strip the skull "
            "first, and leave 0 outside."
        )
    return data, voxels


@cache
def shipped_head(folder: Path = FOLDER) -> AnomalyHead:
    """The head in a folder, by default the one that ships."""
    with safe_open(folder / FILE, framework="np") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    facts = read_facts(folder)
    count = sum(name.startswith("weight") for name in found)
    layers = tuple((found[f"weight{k}"], found[f"offset{k}"]) for k in range(count))
    bounds = {float(ml): (pair[0], pair[1]) for ml, pair in facts["bounds"].items()}
    return AnomalyHead(layers, found["middle"], found["spread"], bounds)


def read_facts(folder: Path = FOLDER) -> dict[str, Any]:
    """What is known of the head in a folder."""
    return json.loads((folder / FACTS).read_text(encoding="utf-8"))
