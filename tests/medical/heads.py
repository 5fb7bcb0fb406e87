"""A pool of people who never lived, for tests: balls of white matter under shells."""

import numpy as np

from medical.anatomy.pool import CANONICAL, DEEP, WIDE, Lattice, Person, Pool, person_hash

AXES_MM = (62.0, 80.0, 62.0)


def fractions(lattice: Lattice, scale: float, rough: np.ndarray) -> np.ndarray:
    """(3, X, Y, Z) fractions of a brain whose surface is rough and which has a ventricle."""
    axes = [
        np.arange(n) * lattice.spacing_mm + c
        for n, c in zip(lattice.shape, lattice.corner, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    y, z = y - CANONICAL.middle[1], z - CANONICAL.middle[2]
    radius = np.sqrt((x / AXES_MM[0]) ** 2 + (y / AXES_MM[1]) ** 2 + (z / AXES_MM[2]) ** 2)
    waves = sum(a * np.sin(k * np.arctan2(y, x) + 2 * z / 30) for k, a in enumerate(rough, 2))
    radius = (radius + waves) / scale
    ventricle = np.sqrt((x / 12) ** 2 + (y / 30) ** 2 + (z / 10) ** 2) < scale
    inside, white = radius < 1, radius < 0.72
    csf = (inside & (radius > 0.93)) | ventricle
    white = white & ~ventricle
    gray = inside & ~csf & ~white
    return np.stack([csf, gray, white]).astype(np.float32)


def pool(count: int = 8, **given) -> Pool:
    """A pool of ``count`` people, half of them women, 20 to 55 years old."""
    random = np.random.default_rng(5)
    people, wide, deep = [], [], []
    for k in range(count):
        rough, scale = random.normal(0, 0.02, 4), 1 + 0.03 * random.standard_normal()
        for maps, lattice in ((wide, WIDE), (deep, DEEP)):
            maps.append((fractions(lattice, scale, rough) * 255).astype(np.uint8))
        size = tuple(1 + 0.03 * random.standard_normal(3))
        sex, age = "fm"[k % 2], 20 + 35 * k / max(1, count - 1)
        people.append(Person(person_hash("test", f"sub-{k}"), age, sex, size))
    depth = np.zeros(WIDE.shape, np.uint8)
    depth[9:18, 10:22, 9:18] = 255
    return Pool(tuple(people), np.stack(wide), np.stack(deep), depth, **given)
