"""Heads drawn from the people of a model, a little of each everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.models.checkpoints import list_models
from core.progress import counted
from medical.anatomy.drawn import draw_anatomy
from medical.anatomy.filters import Floats
from medical.anatomy.head_model import KIND, SHIPPED, load_pool
from medical.anatomy.pool import Pool
from medical.anatomy.rendering import render
from medical.datasets.heads import Contributor, Head, Heads, Spacing, TemplateHeads


@dataclass(frozen=True, eq=False)
class PaintedHead(Head):
    """A drawn head with the T1-weighted image that its labels were found in."""

    texture: Floats | None = None

    @property
    def spacing_mm(self) -> Spacing:
        """Distance of voxels along the axes of the labels."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z


class PeopleHeads:
    """Heads of a pool of people."""

    seconds = 33.0
    """One core of a server CPU, for one head, beside what any head takes."""

    def __init__(self, pool: Pool, card: str = "") -> None:
        self._pool = pool
        self.card = card
        self.people: Sequence[Contributor] = tuple(
            Contributor(p.hash, p.age, p.sex) for p in pool.people
        )
        who = counted(len(pool.people), "person", "people")
        self.around = len(pool.people) if pool.expected else 0
        maps = (
            f"blurred tissue maps of {who}: around the mean of all of them, the differences from "
            "it of those in the pool of the fold"
            if self.around
            else f"blurred tissue maps of {who}"
        )
        self.words = (
            f"{maps}, mixed with weights that change from place to place; folding and texture "
            "drawn by networks; pseudonymous, not anonymous"
        )
        self.digest = pool.digest

    def draw(self, seed: int, spacing_mm: Spacing, people: Sequence[Contributor]) -> Head:
        """A head of some of the people, from a seed."""
        pool = self._pool.only([person.hash for person in people])
        drawn = draw_anatomy(pool, seed, spacing_mm=spacing_mm)
        return PaintedHead(
            drawn.labels,
            drawn.affine,
            drawn.contributors,
            drawn.facts,
            drawn.to_mni,
            drawn.texture,
        )

    def render(
        self, head: Head, contrasts: Sequence[str], seed: int
    ) -> dict[str, NDArray[np.float32]]:
        """Its images without lesions, by contrast."""
        assert isinstance(head, PaintedHead)
        return render(head, contrasts, seed=seed)


def shipped_heads() -> Heads:
    """Those of the shipped model where it is installed, else of the template."""
    for folder, record in list_models():
        if record["kind"] == KIND and folder.name == SHIPPED:
            return PeopleHeads(load_pool(folder), shipped_card())
    return TemplateHeads()


def shipped_card() -> str:
    """The card of the shipped model; empty where it is not installed."""
    folders = [folder for folder, _ in list_models() if folder.name == SHIPPED]
    path = folders[0] / "CARD.md" if folders else None
    return path.read_text(encoding="utf-8") if path and path.is_file() else ""
