"""What is known of real lesions: where they lie, how large they are, what shapes they have.

Measured once from expert masks (``medical.lesions.measuring``) and kept as numbers: a blurred map
of places in MNI space, quantiles of sizes, and outlines reduced to a few hundred bytes each. An
outline alone is nobody's lesion: drawing mixes two, turns, bends and cuts them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from medical.lesions.fields import read_on

FOLDER = Path(__file__).parents[1] / "weights" / "ms-lesions"
FILE, FACTS = "atlas.safetensors", "facts.json"
OUTLINE = 15  # voxels along each side of an outline's box
OUTLINE_REACH = 2.6  # half of that side, in radii of the ball of the same volume
REGIONS = ("periventricular", "juxtacortical", "infratentorial", "deep")


@dataclass(frozen=True, eq=False)
class LesionAtlas:
    """Measurements of lesion masks.

    Attributes:
        place: (X, Y, Z) how frequent lesions are there, 0 to 1.
        ventricles: (X, Y, Z) whether the lateral ventricles may reach there.
        infratentorial: (X, Y, Z) whether this lies below the tentorium.
        white: (X, Y, Z) share of white matter in the template, 0 to 1.
        affine: of these maps, to MNI millimeters.
        outlines: (N, S, S, S) signed distance to the border in radii, below 0 inside.
        owners: whose lesion each outline was taken from, an index into ``people``.
        people: a digest of each person's mask.
        facts: numbers: quantiles of sizes, loads and counts.
        folder: it was read from.
    """

    place: NDArray[np.float32]
    ventricles: NDArray[np.bool_]
    infratentorial: NDArray[np.bool_]
    white: NDArray[np.float32]
    affine: NDArray[np.float64]
    outlines: NDArray[np.float32]
    owners: NDArray[np.int64]
    people: tuple[str, ...]
    facts: dict[str, Any]
    folder: Path = FOLDER

    def at(
        self, values: NDArray[np.generic], shape: tuple[int, ...], affine: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """One of the maps on another grid in MNI space, linear between voxels.

        Args:
            values: one of ``place``, ``ventricles``, ``infratentorial``, ``white``.
            shape: of the other grid.
            affine: from its voxels to MNI millimeters.
        """
        across = np.linalg.inv(self.affine) @ affine
        return read_on(values.astype(np.float32), across, shape)

    def among(self, masks: Mapping[str, NDArray[np.bool_]]) -> list[str]:
        """The names of those whose masks (D, H, W) are behind this atlas."""
        return [name for name, mask in masks.items() if digest_of_mask(mask) in self.people]

    @property
    def digest(self) -> str:
        """SHA-256 of the file the atlas was read from."""
        return hashlib.sha256((self.folder / FILE).read_bytes()).hexdigest()


def digest_of_mask(mask: NDArray[np.bool_]) -> str:
    """What an atlas knows a person's mask (D, H, W) by."""
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()[:16]


@cache
def lesion_atlas(folder: Path = FOLDER) -> LesionAtlas:
    """The atlas in a folder, by default the one that is shipped."""
    with safe_open(folder / FILE, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return LesionAtlas(
        place=arrays["place"].astype(np.float32) / 255,
        ventricles=arrays["zones"] == 1,
        infratentorial=arrays["zones"] == 2,
        white=arrays["white"].astype(np.float32) / 255,
        affine=arrays["affine"],
        outlines=arrays["outlines"].astype(np.float32) / 32,
        owners=arrays["owners"].astype(np.int64),
        people=tuple(facts["people"]),
        facts=facts,
        folder=folder,
    )
