"""A whole head through the real command line: seconds and memory."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.anatomy.phantom import INTENSITIES, template_head
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from tests.benchmarks.processes import lamina
from tests.benchmarks.results import Figure, Row

SHAPE = (180, 220, 180)
THICKNESS_MM = 4.0
SECONDS, MIB = 60.0, 3 * 1024.0

PROTOCOL = (
    "MNI152 cropped to 180 x 220 x 180 at 1 mm around its middle, scanned in 45 contiguous 4 mm "
    "slices (int16), through `lamina mri super-resolve SCAN RESULT --samples 4` in a fresh "
    "process with two threads: start of Python, imports, weights, sampling, writing and checking "
    "all three files. Wall time, CPU time and peak resident memory of that process (`wait4`)."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Restore the head once, or three times for the median."""
    with TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.nii.gz"
        write_volume(thick_head(), scan)
        costs = [
            lamina(
                [
                    "mri",
                    "super-resolve",
                    str(scan),
                    str(Path(folder) / f"{turn}.nii.gz"),
                    "--samples",
                    "1" if quick else "4",
                ]
            )
            for turn in range(3 if full else 1)
        ]
    cost = sorted(costs, key=lambda found: found.seconds)[len(costs) // 2]
    judged = not quick
    figures = [
        Figure(name="wall time", value=cost.seconds, unit="s", high=SECONDS if judged else None),
        Figure(name="CPU time", value=cost.cpu_seconds, unit="s"),
        Figure(name="peak memory", value=cost.peak_mib, unit="MiB", high=MIB if judged else None),
    ]
    return Row(title="Whole head, four samples", protocol=PROTOCOL, figures=figures)


def thick_head() -> Volume:
    """The template on the grid of a usual 1 mm head, as thick slices."""
    head = template_head()
    data, affine = head.data, head.affine.copy()
    for axis, size in enumerate(SHAPE):
        start = (data.shape[axis] - size) // 2
        data = data.narrow(axis, start, size)
        affine[:3, 3] += head.affine[:3, axis] * start
    cropped = head.with_data(data.contiguous(), np.asarray(affine))
    scan = acquire(cropped, Acquisition.slices(2, SliceSampling(THICKNESS_MM)))
    data = (scan.data * INTENSITIES).round().clamp(min=0.0)
    return scan.with_data(data, dtype="int16")
