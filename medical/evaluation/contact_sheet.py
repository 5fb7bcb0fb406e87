"""Patches as training draws them: ``python -m medical.evaluation.contact_sheet HEADS OUT.png``.

A row shows patches of one kind; of each, what the network sees above what it should find.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.records import atomic_path
from core.seeds import generator
from medical.acquisition.scanning import training_pairs
from medical.anatomy.anatomy import AnatomyRange
from medical.operations.residual import RESIDUAL_SCALE
from medical.training.dataset import load_heads, load_labels, split_heads
from medical.training.patches import HeadPatches, PatchDraw, PatchRecipe

SIZE = (48, 80, 80)
ENLARGED = 2
GAP, CAPTION = 4, 18
KINDS: dict[str, AnatomyRange] = {
    "as they are": AnatomyRange(),
    "random contrasts": AnatomyRange(contrast_share=1.0),
    "lesions": AnatomyRange(lesion_share=1.0),
    "deformations": AnatomyRange(deformation_share=1.0),
    "all of these": AnatomyRange(1.0, 1.0, 1.0),
}


def contact_sheet(
    rows: Mapping[str, HeadPatches], *, columns: int = 10, seed: int = 0
) -> NDArray[np.uint8]:
    """A picture (H, W), a row of patches for each name, cut across H.

    Above is the back-projection, below the truth; the thick axis runs from top to bottom.
    """
    found = [_row(name, patches, columns, seed) for name, patches in rows.items()]
    return np.concatenate(found)


def _row(name: str, patches: HeadPatches, columns: int, seed: int) -> NDArray[np.uint8]:
    random = generator(seed)
    draws = [patches.draw(random) for _ in range(columns)]
    batch = training_pairs([patches.obey(draw) for draw in draws])
    tiles = []
    for place, draw in enumerate(draws):
        plane = _plane(draw)
        seen = (batch["concat"][place, 0, :, plane] + 1.0) / 2.0
        truth = seen + RESIDUAL_SCALE * batch["target"][place, 0, :, plane]
        tile = (255 * torch.cat([seen, truth]).clamp(0, 1)).byte().cpu().numpy()
        large = tile.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
        tiles.append(np.pad(large, ((0, GAP), (0, GAP))))
    row = np.concatenate(tiles, axis=1)
    caption = Image.new("L", (row.shape[1], CAPTION), 0)
    ImageDraw.Draw(caption).text((GAP, 2), name, fill=255)
    return np.concatenate([np.asarray(caption), row])


def _plane(draw: PatchDraw) -> int:
    """The plane across H to show: through the largest lesion, or the middle."""
    outer, inner = draw.outer[1], draw.inner[1]
    if not draw.anatomy.lesions:
        return (inner.stop - inner.start) // 2
    plane = max(draw.anatomy.lesions, key=lambda lesion: lesion.radii_mm).center[1]
    if 1 in draw.variation.flips:
        plane = outer.stop - outer.start - 1 - plane
    return min(max(plane - inner.start, 0), inner.stop - inner.start - 1)


def main() -> int:
    """Draw a sheet of the heads in a BIDS folder."""
    parser = argparse.ArgumentParser(
        prog="python -m medical.evaluation.contact_sheet", description=__doc__
    )
    parser.add_argument("heads", type=Path, help="BIDS folder with sub-*/anat/sub-*_T1w.nii.gz")
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other patches")
    asked = parser.parse_args()
    heads, labels = split_heads(load_heads(asked.heads), "train"), load_labels(asked.heads)
    rows = {
        name: HeadPatches.from_heads(heads, PatchRecipe(SIZE, anatomies=changed), labels=labels)
        for name, changed in KINDS.items()
    }
    with atomic_path(asked.out, overwrite=True) as temporary:
        Image.fromarray(contact_sheet(rows, seed=asked.seed)).save(temporary, format="PNG")
    return 0


if __name__ == "__main__":
    sys.exit(main())
