"""The people that anatomies are mixed from: their blurred tissue maps, in one space.

The maps say where tissue lies on the whole, not how a brain is folded: they are blurred by 6 mm,
and by 3.5 mm where the ventricles and the corpus callosum lie. They are no less personal data:
who holds a scan of one of these people can recognize the map.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from core.progress import counted
from core.records import atomic_path, sha256_file
from core.refusal import Refusal
from medical.anatomy.expected import Expected, expected_of
from medical.anatomy.filters import Floats, read_at
from medical.anatomy.folding import Fold, unfolded
from medical.anatomy.painting import Paint

POOL = "pool.safetensors"
LEAST_PEOPLE = 5


@dataclass(frozen=True)
class Lattice:
    """A regular grid in MNI space, its axes pointing right, anterior, superior.

    Attributes:
        shape: Of the grid.
        spacing_mm: Of its voxels, along every axis.
        corner: Middle of the first voxel, mm.
    """

    shape: tuple[int, int, int]
    spacing_mm: float
    corner: tuple[float, float, float]

    @property
    def origin(self) -> NDArray[np.float64]:
        """The corner as an array."""
        return np.array(self.corner)

    @property
    def middle(self) -> NDArray[np.float64]:
        """The point in the middle of the grid, mm."""
        return self.origin + (np.array(self.shape) - 1) / 2 * self.spacing_mm

    def read(self, volumes: Floats, at: Lattice, *, order: int = 1) -> Floats:
        """Volumes (N, *self.shape) on the voxels of another lattice; 0 outside."""
        scale = [at.spacing_mm / self.spacing_mm] * 3
        offset = (at.origin - self.origin) / self.spacing_mm
        return np.stack([read_at(v, scale, at.shape, offset=offset, order=order) for v in volumes])


CANONICAL = Lattice((80, 96, 80), 2.0, (-79.0, -111.0, -75.0))
WIDE = Lattice((27, 32, 27), 6.0, (-78.0, -109.0, -74.0))
DEEP = Lattice((24, 34, 20), 4.0, (-46.0, -82.0, -29.0))
WIDE_BLUR_MM, DEEP_BLUR_MM = 6.0, 3.5


@dataclass(frozen=True)
class Person:
    """Who contributed.

    Attributes:
        hash: Of data set and participant; see ``person_hash``.
        age: In years.
        sex: ``"f"`` or ``"m"``.
        size: Extent of the brain along x, y, z as a share of the space's.
    """

    hash: str
    age: float
    sex: str
    size: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Pool:
    """People and their maps.

    Attributes:
        people: In the order of the maps.
        wide: (P, 3, *WIDE.shape) uint8 fractions of CSF, gray, white, blurred by 6 mm.
        deep: (P, 3, *DEEP.shape) uint8, blurred by 3.5 mm.
        depth: WIDE.shape, uint8: 255 where the deep structures lie.
        fold: Draws the folding that blurred maps leave open; they are taken as they are without.
        paint: Draws a T1-weighted image of tissue; labels are as smooth as the maps without.
        digest: Of the file, for records; empty for a pool made in memory.
        expected: Of all people behind a model's weights, whomever of them a pool holds; None where
            a pool's own people are all there is.
    """

    people: tuple[Person, ...]
    wide: NDArray[np.uint8]
    deep: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    fold: Fold = unfolded
    paint: Paint | None = None
    digest: str = ""
    expected: Expected | None = None

    def __post_init__(self) -> None:
        count = len(self.people)
        if count < LEAST_PEOPLE:
            raise Refusal(
                f"a pool of {counted(count, 'person', 'people')}: anatomies are mixed from "
                f"{LEAST_PEOPLE} or more, or "
                "they would be one person's; add people."
            )
        wanted = {
            "wide": (count, 3, *WIDE.shape),
            "deep": (count, 3, *DEEP.shape),
            "depth": WIDE.shape,
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise Refusal(
                    f"{name} maps of shape {getattr(self, name).shape}: a pool of "
                    f"{counted(count, 'person', 'people')} "
                    f"has {shape}; make the pool again."
                )

    def only(self, hashes: Sequence[str]) -> Pool:
        """The pool of some of its people.

        Raises:
            Refusal: They are too few.
        """
        kept = [i for i, p in enumerate(self.people) if p.hash in set(hashes)]
        people = tuple(self.people[i] for i in kept)
        return replace(self, people=people, wide=self.wide[kept], deep=self.deep[kept])

    @property
    def told(self) -> tuple[tuple[float, str], ...]:
        """Age and sex of each person."""
        return tuple((person.age, person.sex) for person in self.people)

    def own_expected(self) -> Expected:
        """What is expected at an age and sex by these people alone."""
        return expected_of(self.told, self.wide, self.deep, [p.size for p in self.people])

    def stratum(self, age: tuple[float, float] | None, sex: str) -> tuple[Person, ...]:
        """Who of the pool has an age in a range and a sex (``"any"`` for all)."""
        low, high = age or (-np.inf, np.inf)
        fits = (p for p in self.people if low <= p.age <= high and sex in ("any", p.sex))
        return tuple(fits)


def write_pool(pool: Pool, folder: Path) -> str:
    """Write a pool into a model's folder; its digest."""
    people = [[p.hash, p.age, p.sex, *p.size] for p in pool.people]
    path = folder / POOL
    with atomic_path(path) as temporary:
        save_file(
            {"wide": pool.wide, "deep": pool.deep, "depth": pool.depth},
            temporary,
            {"people": json.dumps(people)},
        )
    path.chmod(0o644)
    return sha256_file(path)


def person_hash(dataset: str, participant: str) -> str:
    """What a contributor is called: ``person_hash("ds002748", "sub-01")``."""
    return hashlib.sha256(f"{dataset}:{participant}".encode()).hexdigest()[:12]


def read_pool(folder: Path, fold: Fold | None = None, paint: Paint | None = None) -> Pool:
    """The pool in a model's folder.

    Args:
        folder: Of the model.
        fold: Draws foldings.
        paint: Draws images.

    Raises:
        Refusal: There is none, or it is damaged.
    """
    path = folder / POOL
    if not path.is_file():
        raise Refusal(
            f"{folder} holds no {POOL}: heads are drawn from a pool of people that ships with "
            "the model; choose a model of kind head."
        )
    try:
        with safe_open(path, "np") as file:
            maps = {name: file.get_tensor(name) for name in ("wide", "deep", "depth")}
            rows = json.loads((file.metadata() or {})["people"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise Refusal(
            f"{path} is no pool ({error}): it is the safetensors file that was written with the "
            "model; copy the model again."
        ) from error
    people = tuple(Person(str(r[0]), float(r[1]), str(r[2]), _triple(r[3:])) for r in rows)
    pool = Pool(people, **maps, fold=fold or unfolded, paint=paint, digest=sha256_file(path))
    return replace(pool, expected=pool.own_expected())


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = map(float, values)
    return x, y, z
