"""A head of balls as a DICOM series, for the doors that scans come in by."""

import numpy as np
from dicoms import turned, write_series


def ball(folder, **fields):
    """A head of a kind as an oblique series: fluid, gray and white matter, 100 mm wide."""
    shape, step = (30, 36, 34), (3.0, 3.0, 3.5)  # slices, rows, columns; rows, columns, slices
    sizes = np.array([step[2], step[0], step[1]]).reshape(3, 1, 1, 1)
    places = (np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2) * sizes
    radius = np.linalg.norm(places / np.array([46, 48, 45]).reshape(3, 1, 1, 1), axis=0)
    data = np.select([radius < 0.3, radius < 0.75, radius < 1], [250, 900, 600], 0)
    data = data + (data > 0) * np.random.default_rng(0).integers(-9, 9, shape)
    cosines = turned((0.2, -0.1, 0.3))
    return write_series(folder, data.astype(np.uint16), cosines=cosines, spacing=step, **fields)
