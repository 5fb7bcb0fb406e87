"""How well structures are found: overlap with the truth of painted heads, and with tissue rules.

Dice is measured on heads painted from label maps that training never saw, and on real T1-weighted
heads against the rule for CSF, gray and white matter, which is no truth but needs no training.

Run it with ``python -m medical.evaluation.structures MODEL MAPS HEADS OUT.json``:
a model folder, label maps, and a BIDS folder of skull-stripped T1-weighted heads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from core.models.checkpoints import load_model
from core.networks.conditioned import ConditionedNetwork
from core.seeds import generator
from medical.anatomy.random_heads import LabelMap, paint, whole_cut
from medical.anatomy.segmenting import GRID_MM, find_labels
from medical.anatomy.structures import OF_TISSUE, STRUCTURES
from medical.anatomy.tissues import TISSUES, find_tissues
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.training.heads import find_heads
from medical.training.segmenter import find_maps, read_map

PAINTINGS = 6
SEED = 5
MARGIN = 12
"""Voxels around the box of the brain that are painted, of 1 mm."""
Labels = NDArray[np.integer]


def dice(found: Labels, truth: Labels, labels: Iterable[int]) -> list[float]:
    """Twice the common part over the sum of both, for each label; NaN where neither has it."""
    result = []
    for label in labels:
        a, b = found == label, truth == label
        total = int(a.sum()) + int(b.sum())
        result.append(2 * int((a & b).sum()) / total if total else float("nan"))
    return result


def painted(
    network: ConditionedNetwork, heads: Sequence[LabelMap], *, paintings: int = PAINTINGS
) -> NDArray[np.float64]:
    """(heads, paintings, structures) Dice at 2 mm where something is taught.

    Args:
        network: The segmenter.
        heads: That it never saw; not bent, painted as in training.
        paintings: Of each head.
    """
    result = []
    for place, head in enumerate(heads):
        cut, rows = whole_cut(head), []
        for painting in range(paintings):
            image, truth = paint(cut, generator(SEED, place, painting))
            found = find_labels(Volume(image[0], np.diag([*(GRID_MM,) * 3, 1.0])), network)
            taught = truth.sum(0).numpy() > 0.5
            wanted = truth.argmax(0).numpy()
            rows.append(dice(found[taught], wanted[taught], range(len(STRUCTURES))))
        result.append(rows)
    return np.array(result)


def as_tissues(labels: Labels) -> Labels:
    """Structures as background, CSF, gray and white matter."""
    table = np.zeros(len(STRUCTURES), np.uint8)
    for tissue, members in OF_TISSUE.items():
        table[list(members)] = tissue
    return table[labels]


def against_rule(network: ConditionedNetwork, heads: Iterable[Path]) -> NDArray[np.float64]:
    """(heads, 3) Dice of CSF, gray and white matter with what the rule finds, at the voxels."""
    rows = []
    for path in heads:
        scan = read_volume(path)
        rule = find_tissues(scan.data.numpy(), scan.spacing_mm).labels
        rows.append(dice(as_tissues(find_labels(scan, network)), rule, (1, 2, 3)))
    return np.array(rows)


def table(found: NDArray[np.float64], names: Sequence[str]) -> dict[str, str]:
    """Mean over all and the least mean of a head, by name."""
    by_head = np.nanmean(found.reshape(len(found), -1, len(names)), 1)
    return {
        name: f"{np.nanmean(by_head[:, k]):.3f} (worst head {np.nanmin(by_head[:, k]):.3f})"
        for k, name in enumerate(names)
    }


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("maps", type=Path)
    parser.add_argument("heads", type=Path)
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--every", type=int, default=6, help="of the heads, take every so many-th")
    parser.add_argument("--paintings", type=int, default=PAINTINGS)
    asked = parser.parse_args()
    network, _ = load_model(asked.model, dtype=torch.float32)
    held = [read_map(p).around_brain(MARGIN) for p in find_maps(asked.maps)[1].values()]
    found = painted(network, held, paintings=asked.paintings)
    paths = list(find_heads(asked.heads).taken.values())[:: asked.every]
    rule = against_rule(network, paths)
    told = {
        "painted": {"heads": len(held), **table(found, STRUCTURES)},
        "rule": {"heads": len(paths), **table(rule, [TISSUES[k] for k in (1, 2, 3)])},
    }
    asked.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
