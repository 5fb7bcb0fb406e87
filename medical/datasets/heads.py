"""Where the heads of a dataset come from, and how their images are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medical.lesions.fields import read_at, smooth

EXTENT_MM = (176.0, 208.0, 176.0)
MIDDLE_MM = (0.0, -18.0, 4.0)
CONTROL_MM = 32.0
MOST_MM = 6.0
CSF, GRAY, WHITE = 1, 2, 3
MEANS: Mapping[str, tuple[float, float, float]] = {
    "T1w": (0.31, 0.66, 1.0),
    "T2w": (2.6, 1.3, 1.0),
    "FLAIR": (0.35, 1.12, 1.0),
}
"""Fluid, gray and white matter as a share of white matter."""
WHITE_AT = 1000.0
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Contributor:
    """A person whom anatomies may be drawn from: pseudonym, age in years, sex ``f`` or ``m``."""

    hash: str
    age: float
    sex: str


@dataclass(frozen=True, eq=False)
class Head:
    """A head that was drawn.

    Attributes:
        labels: (X, Y, Z) 0 background, 1 CSF, 2 gray, 3 white matter.
        affine: (4, 4), voxels to millimeters.
        contributors: Share of each person, by hash; they add up to 1.
        facts: What was drawn.
        to_mni: (4, 4), millimeters of this head to those of MNI space.
    """

    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    contributors: Mapping[str, float]
    facts: Mapping[str, Any]
    to_mni: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))


@runtime_checkable
class Heads(Protocol):
    """A source of heads.

    Attributes:
        people: Who may contribute; none where no single person does.
        words: What heads are drawn from, for people.
        digest: Of what heads are drawn from.
        seconds: Of one core, for one head, beside what any head takes.
        card: Of the model that heads are drawn with; empty where there is none.
        around: How many people the mean is of that every head is drawn around, who may be more
            than those who contribute; 0 where it is of the pool alone, or of no person here.
    """

    people: Sequence[Contributor]
    words: str
    digest: str
    seconds: float
    card: str
    around: int

    def draw(self, seed: int, spacing_mm: Spacing, people: Sequence[Contributor]) -> Head:
        """A head of some of the people, from a seed."""
        ...

    def render(
        self, head: Head, contrasts: Sequence[str], seed: int
    ) -> dict[str, NDArray[np.float32]]:
        """Its images without lesions, by contrast."""
        ...


class TemplateHeads:
    """The mean anatomy of 152 people, bent anew for each head: nobody's own, and all alike."""

    people: Sequence[Contributor] = ()
    words = "the MNI152 template (Fonov et al. 2011), the mean of 152 adults, bent at random"
    digest = "mni152-icbm2009a-1mm"
    seconds = 0.0
    card = ""
    around = 0

    @cached_property
    def _template(self) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        from medical.anatomy.phantom import template_labels  # noqa: PLC0415  nilearn is slow

        volume = template_labels()
        return volume.data.numpy().astype(np.uint8), volume.affine

    def draw(self, seed: int, spacing_mm: Spacing, people: Sequence[Contributor]) -> Head:
        """A bent template."""
        labels, template = self._template
        shape = tuple(round(e / s) for e, s in zip(EXTENT_MM, spacing_mm, strict=True))
        affine = np.diag([*spacing_mm, 1.0])
        affine[:3, 3] = np.array(MIDDLE_MM) - (np.array(shape) - 1) / 2 * np.array(spacing_mm)
        random = np.random.default_rng([1, seed])
        knots = tuple(int(np.ceil(e / CONTROL_MM)) + 3 for e in EXTENT_MM)
        control = random.uniform(-MOST_MM, MOST_MM, (3, *knots))
        index = np.indices(shape).reshape(3, -1)
        at = [(index[a] * spacing_mm[a] / CONTROL_MM + 1).astype(np.float32) for a in range(3)]
        world = affine[:3, :3] @ index + affine[:3, 3:]
        for axis in range(3):
            world[axis] += read_at(control[axis], at, order=3)
        back = np.linalg.inv(template)
        places = back[:3, :3] @ world + back[:3, 3:]
        read = read_at(labels, places, order=0, beyond="constant")
        return Head(read.reshape(shape), affine, {}, {"seed": seed, "age": None, "sex": None})

    def render(
        self, head: Head, contrasts: Sequence[str], seed: int
    ) -> dict[str, NDArray[np.float32]]:
        """Tissue means with soft borders, texture and noise."""
        return {name: _paint(head, name, seed) for name in contrasts}


def _paint(head: Head, contrast: str, seed: int) -> NDArray[np.float32]:
    """One image: measured means, the partial volume of borders, smooth texture, Rician noise."""
    random = np.random.default_rng([2, seed, list(MEANS).index(contrast)])
    csf, gray, white = MEANS[contrast]
    spacing = np.linalg.norm(head.affine[:3, :3], axis=0)
    clean = np.array([0.0, csf, gray, white], dtype=np.float32)[head.labels]
    soft = smooth(clean, 0.6 / spacing)
    texture = smooth(random.standard_normal(soft.shape, np.float32), 1.0)
    soft *= 1 + 0.03 / float(texture.std()) * texture
    noise = 0.02 * random.standard_normal((2, *soft.shape), np.float32)
    image = np.hypot(soft + noise[0], noise[1]) * (head.labels > 0)
    return (image * WHITE_AT).astype(np.float32)
