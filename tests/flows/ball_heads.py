"""Heads that take no time, for the doors through which datasets are made."""

import numpy as np

from medical.datasets.heads import Head, TemplateHeads


class Ball(TemplateHeads):
    """A ball of white matter in gray."""

    def draw(self, seed, spacing_mm, people):
        affine = np.diag([*spacing_mm, 1.0])
        affine[:3, 3] = (-79.0, -113.0, -70.0)
        x, y, z = np.indices((40, 48, 38)) * 4.0 + affine[:3, 3].reshape(3, 1, 1, 1)
        radius = np.sqrt((x / 68) ** 2 + ((y + 18) / 85) ** 2 + ((z - 8) / 62) ** 2)
        labels = np.select([radius < 0.75, radius < 0.95, radius < 1.0], [3, 2, 1], 0)
        return Head(labels.astype(np.uint8), affine, {}, {"seed": seed, "age": None, "sex": None})
