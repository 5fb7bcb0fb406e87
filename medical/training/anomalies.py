"""Trains the small head of anomaly maps on lesions put into painted FLAIR heads.

Run it with ``python -m medical.training.anomalies MAPS MASKS SEGMENTER FOLDER``: label maps,
lesion masks in MNI space, a model folder of the segmenter, and where the head goes. People whose
masks shall not be used are named with ``--without``. Every fifth label map is held out: its
healthy heads set the bounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

from core.models.checkpoints import load_model
from core.networks.conditioned import ConditionedNetwork
from core.records import atomic_path
from core.refusal import Refusal
from medical.anatomy.filters import Floats
from medical.anatomy.random_heads import LabelMap
from medical.files.volume import Volume
from medical.lesions.anomalies import FACTS, FILE, AnomalyHead, Read, read_features
from medical.lesions.atlas import LesionAtlas
from medical.lesions.drawing import LesionWish, draw_lesions, usual_count
from medical.lesions.measuring import atlas_of
from medical.lesions.painted import in_mni, painted_flair, tissues_of
from medical.lesions.regions import places_of
from medical.training.segmenter import find_maps, read_map

logger = logging.getLogger(__name__)

HIDDEN = (24, 12)
KEPT, KEPT_LESION = 40_000, 10_000
"""Voxels of one head that are learned from."""
STEPS, ROWS, RATE = 1500, 8192, 3e-3
BOUNDS_ML = (0.1, 0.5, 1.0, 2.0, 5.0)
"""What healthy heads may show on average above a bound."""
FIRST_HEALTHY = 10_000


def lesions_in(head: LabelMap, atlas: LesionAtlas, seed: int) -> np.ndarray:
    """(X, Y, Z) numbers of lesions drawn into a head; of any load that was measured."""
    random = np.random.default_rng([8, seed])
    tissues = tissues_of(head)
    places = places_of(tissues, in_mni(tissues), atlas, spacing_mm=(1.0, 1.0, 1.0))
    for _ in range(10):
        load = float(np.exp(random.uniform(np.log(0.7), np.log(40.0))))
        wish = LesionWish(load, min(150, usual_count(load, atlas, random)))
        try:
            return draw_lesions(wish, places, atlas, int(random.integers(2**31))).mask
        except Refusal:  # no room for so much
            continue
    return np.zeros(tissues.shape, np.uint16)


def painted_read(
    head: LabelMap, lesions: np.ndarray, segmenter: ConditionedNetwork, seed: int
) -> Read:
    """What is read of a painted head."""
    image = painted_flair(head, lesions, seed)
    return read_features(Volume(torch.from_numpy(image), np.eye(4)), segmenter)


def rows_of(
    heads: Sequence[LabelMap], segmenter: ConditionedNetwork, atlas: LesionAtlas, paintings: int
) -> Iterator[tuple[Floats, Floats]]:
    """Features and truth of some voxels of each painting, half of the lesion ones' weight."""
    for painting in range(paintings):
        for place, head in enumerate(heads):
            seed = painting * len(heads) + place
            lesions = lesions_in(head, atlas, seed)
            read = painted_read(head, lesions, segmenter, seed)
            truth = lesions[read.voxels] > 0
            random = np.random.default_rng([7, seed])
            chosen = random.permutation(len(truth))[:KEPT]
            more = random.permutation(np.flatnonzero(truth))[:KEPT_LESION]
            chosen = np.concatenate([chosen, more])
            logger.info("painting %d of head %d: %d lesion voxels", painting, place, truth.sum())
            yield read.features[chosen], truth[chosen].astype(np.float32)


def learned(features: Floats, truth: Floats) -> dict[str, Floats]:
    """Weights that tell lesion voxels from others."""
    torch.manual_seed(0)
    middle, spread = features.mean(0), features.std(0) + 1e-3
    x, y = torch.from_numpy((features - middle) / spread), torch.from_numpy(truth)
    sizes = [x.shape[1], *HIDDEN, 1]
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        some = torch.randint(len(x), (ROWS,), generator=generator)
        h = x[some]
        for layer in layers[:-1]:
            h = layer(h).relu()
        loss = F.binary_cross_entropy_with_logits(layers[-1](h)[:, 0], y[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = {"middle": middle, "spread": spread}
    for k, layer in enumerate(layers):
        found[f"weight{k}"] = layer.weight.detach().numpy()
        found[f"offset{k}"] = layer.bias.detach().numpy()
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def head_of(found: dict[str, Floats]) -> AnomalyHead:
    """The head of some weights, without bounds."""
    layers = tuple((found[f"weight{k}"], found[f"offset{k}"]) for k in range(len(HIDDEN) + 1))
    return AnomalyHead(layers, found["middle"], found["spread"], {})


def calibrated(
    head: AnomalyHead, heads: Sequence[LabelMap], segmenter: ConditionedNetwork, paintings: int = 2
) -> dict[str, list[float]]:
    """Bounds on score and brightness that healthy heads pass with so many ml on average."""
    values: tuple[list[Floats], list[Floats]] = ([], [])
    for place, one in enumerate(heads):
        for painting in range(paintings):
            nothing = np.zeros(one.kinds.shape, np.uint16)
            seed = FIRST_HEALTHY + place * paintings + painting
            read = painted_read(one, nothing, segmenter, seed)
            values[0].append(head(read.features))
            values[1].append(read.brightness)
    count = len(heads) * paintings
    ordered = [np.sort(np.concatenate(each))[::-1] for each in values]
    return {
        f"{ml:g}": [float(each[min(len(each) - 1, round(ml * 1000 * count))]) for each in ordered]
        for ml in BOUNDS_ML
    }


def write_head(found: dict[str, Floats], facts: dict[str, Any], folder: Path) -> None:
    """Write weights and facts."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / FILE, overwrite=True) as temporary:
        save_file(found, temporary)
    with atomic_path(folder / FACTS, overwrite=True) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("maps", "masks", "segmenter", "folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--without", nargs="*", default=[], help="names of masks not to use")
    parser.add_argument("--paintings", type=int, default=2, help="of each label map")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    segmenter, record = load_model(asked.segmenter, dtype=torch.float32)
    atlas = atlas_of(asked.masks, asked.without, asked.folder / "atlas")
    parts = find_maps(asked.maps)
    taken, held = ([read_map(p).around_brain() for p in part.values()] for part in parts)
    rows = list(rows_of(taken, segmenter, atlas, asked.paintings))
    found = learned(*(np.concatenate([row[k] for row in rows]) for k in (0, 1)))
    facts = {
        "segmenter": record["sha256"],
        "paintings": len(rows),
        "without": asked.without,
        "bounds": calibrated(head_of(found), held, segmenter),
    }
    write_head(found, facts, asked.folder)


if __name__ == "__main__":
    main()
