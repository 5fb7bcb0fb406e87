"""Structures of the head that the segmenter knows, and which of FreeSurfer's labels are which.

Left and right are one structure. A label that is in no list is refused by its number: left out,
it would become a black hole in a rendering and a wrong answer in training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal

STRUCTURES = (
    "background",
    "CSF",
    "cerebral cortex",
    "cerebral white matter",
    "lateral ventricles",
    "third and fourth ventricle",
    "thalamus",
    "caudate and accumbens",
    "putamen",
    "pallidum",
    "hippocampus",
    "amygdala",
    "brainstem and ventral diencephalon",
    "cerebellar cortex",
    "cerebellar white matter",
    "skull and other tissue",
)
"""By label, from 0."""
OUTSIDE = len(STRUCTURES) - 1
FREESURFER: dict[int, tuple[int, ...]] = {
    0: (0,),
    1: (24,),
    2: (3, 42),
    3: (2, 41, 25, 57),
    4: (4, 5, 43, 44, 72),
    5: (14, 15),
    6: (10, 49),
    7: (11, 50, 26, 58),
    8: (12, 51),
    9: (13, 52),
    10: (17, 53),
    11: (18, 54),
    12: (16, 28, 60),
    13: (8, 47),
    14: (7, 46),
    15: (502, 506, 507, 508, 509, 511, 512, 514, 515, 516, 530),
}
"""FreeSurfer's labels of each structure (25 and 57 are lesions of white matter); those of 500 and
more are SynthSeg's, outside the brain.
"""
UNTAUGHT = (30, 62, 85, 136, 137, 163, 164)
"""Known and painted, but no structure: vessels, the optic chiasm, and four small labels inside
the brain that have no name in public tables. Nothing is learned where they lie."""
OF_TISSUE = {1: (1, 4, 5), 2: (2, 6, 7, 8, 9, 10, 11, 13), 3: (3, 12, 14)}
"""Structures of CSF, gray and white matter; pallidum and thalamus count as gray, the brainstem
as white."""


def painted_labels() -> tuple[tuple[int, ...], ...]:
    """Labels that are painted alike, left and right together, background first."""
    sides = {3: 42, 2: 41, 4: 43, 5: 44, 10: 49, 11: 50, 26: 58, 12: 51, 13: 52, 17: 53, 18: 54}
    sides |= {25: 57, 28: 60, 8: 47, 7: 46, 30: 62, 136: 163, 137: 164}
    known = sorted({label for group in FREESURFER.values() for label in group} | set(UNTAUGHT))
    rights = set(sides.values())
    return tuple((k, sides[k]) if k in sides else (k,) for k in known if k not in rights)


def kinds_of(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """A label map as indices of ``painted_labels``.

    Raises:
        Refusal: It holds a label that is in no list.
    """
    table = np.full(1 + max(map(max, painted_labels())), 255, np.uint8)
    for index, group in enumerate(painted_labels()):
        table[list(group)] = index
    found = np.unique(labels)
    unknown = [int(k) for k in found if not 0 <= k < len(table) or table[k] == 255]
    if unknown:
        raise Refusal(
            f"labels {unknown[:8]} are not in the vocabulary: heads are painted from FreeSurfer's "
            "labels as medical.anatomy.structures lists them, and an unknown one would become a "
            "black hole; map each to one of these."
        )
    return table[labels]


def structure_of_kinds() -> NDArray[np.float32]:
    """(kinds, structures) 1 where a kind is of a structure; rows of zeros are not taught."""
    table = np.zeros((len(painted_labels()), len(STRUCTURES)), np.float32)
    for index, group in enumerate(painted_labels()):
        for structure, members in FREESURFER.items():
            if group[0] in members:
                table[index, structure] = 1
    return table
