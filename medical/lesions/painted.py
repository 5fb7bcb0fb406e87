"""Skull-stripped FLAIR heads painted from label maps at 1 mm, with lesions or without.

Intensities are drawn around those that FLAIR is known for; none was measured on a scan.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from medical.anatomy.filters import Floats, blurred
from medical.anatomy.random_heads import (
    LabelMap,
    intensities,
    outer_kinds,
    rim_kinds,
    scanned,
)
from medical.anatomy.structures import OF_TISSUE, painted_labels, structure_of_kinds
from medical.lesions.own_heads import BOX

LESION = (1.15, 1.8)
"""Brightness of a lesion, of the white matter around it."""
TEXTURES = ((1.0, 0.03), (3.0, 0.04))
"""Width in mm and strength of random variations of brightness."""
RIM_SHARE = 0.5


def tissues_of(head: LabelMap) -> NDArray[np.uint8]:
    """(X, Y, Z) 0 background, 1 CSF, 2 gray, 3 white matter."""
    table = np.zeros(len(painted_labels()), np.uint8)
    of_structure = structure_of_kinds()
    for tissue, members in OF_TISSUE.items():
        table[of_structure[:, list(members)].any(1)] = tissue
    return table[head.kinds]


def in_mni(tissues: NDArray[np.uint8]) -> NDArray[np.float64]:
    """From voxels of an upright head to about MNI's millimeters, its brain laid box on box."""
    places = np.argwhere(tissues[::2, ::2, ::2] >= 2) * 2.0
    low, high = np.percentile(places, [2, 98], axis=0)
    affine = np.eye(4)
    scale = (np.array(BOX[1]) - BOX[0]) / (high - low)
    affine[:3, :3] = np.diag(scale)
    affine[:3, 3] = np.array(BOX[0]) - scale * low
    return affine


def painted_flair(head: LabelMap, lesions: NDArray[np.uint16], seed: int) -> Floats:
    """(X, Y, Z) a FLAIR image of a head, 0 outside the brain.

    Args:
        head: Its labels at 1 mm.
        lesions: (X, Y, Z) number of the lesion at each voxel, 0 for none.
        seed: Decides all else.
    """
    random, generator = np.random.default_rng([9, seed]), torch.Generator().manual_seed(seed)
    means, stds = (x.numpy() for x in intensities(generator, "FLAIR"))
    gone = outer_kinds() | (rim_kinds() if random.random() < RIM_SHARE else False)
    means, stds = np.where(gone, 0, means), np.where(gone, 0, stds)
    clean = means[head.kinds].astype(np.float32)
    white = clean[tissues_of(head) == 3].mean()
    own = random.uniform(*LESION) * (1 + 0.08 * random.standard_normal(int(lesions.max()) + 1))
    clean = np.where(lesions > 0, white * own[lesions].clip(1.08), clean).astype(np.float32)
    image = clean + stds[head.kinds] * random.standard_normal(clean.shape, np.float32)
    for width, strength in TEXTURES:
        field = blurred(random.standard_normal(clean.shape, np.float32), width)
        image *= 1 + np.float32(strength * random.random() / float(field.std())) * field
    u = torch.rand(6, generator=generator).tolist()
    drawn = scanned(torch.from_numpy(image.astype(np.float32)), u, generator).numpy()
    return np.where(gone[head.kinds], 0.0, drawn).astype(np.float32)
