"""How far results of a model lie apart by the machine alone: its ``numeric_noise_db``.

``python -m tests.benchmarks.numeric_noise heads-1mm``: the middle of a head that training never
saw (sub-06 of t1-heads, 96 x 112 x 64 voxels), scanned in contiguous slices of 4 mm as whole
numbers, is restored with the defaults of the request: with one thread, and with two and each set
of instructions that this processor has, as ``lamina reproduce`` asks for them. Prints the peak
signal to noise between any two results, as that does, and the least, which the record takes.
"""

import sys
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from core.numerics import INSTRUCTIONS, instructions, remembered
from flows.jobs.reproduce import decibels
from medical.acquisition.acquisition import acquire
from medical.files.nifti import read_volume, write_volume
from tests.benchmarks.processes import lamina, surrounded
from tests.benchmarks.quality.cases import Setting
from tests.benchmarks.quality.heads import Head, Scanned, middle, validation_heads

ADD_NOTHING = ("AVX512_CORE_FP16", "AVX512_CORE_VNNI")  # to bfloat16 and to float32
LIMITED_TO_AVX2 = ("AVX2", "SSE41")  # of these torch's own kernels are not wider either

Settings = dict[str, str]


def main() -> int:
    """Print the noise of the models that are named."""
    head = validation_heads(Setting(into=Path()))[0]
    for model in sys.argv[1:]:
        sys.stdout.write(f"{model}: numeric_noise_db {_of(model, head):.1f}\n")
    return 0


def machines() -> dict[str, Settings]:
    """What makes this machine compute as one with less; the widest of it first."""
    names = list(INSTRUCTIONS)
    here = [name for name in names[names.index(instructions()) :] if name not in ADD_NOTHING]
    found: dict[str, Settings] = {"one thread": {"OMP_NUM_THREADS": "1"}}
    for name in here:
        narrow = {"cpu": "AVX2"} if name in LIMITED_TO_AVX2 else {}
        found[name] = remembered({"instructions": name, **narrow})
    return found


def _of(model: str, head: Head) -> float:
    """The least between any two results of a head."""
    volume = middle(head.load())
    scan = acquire(volume, Scanned().acquisition(volume.spacing_mm))
    counts = (1000 * scan.data).round().clamp(min=0)
    with TemporaryDirectory() as name, surrounded(Path(name)):
        folder = Path(name)
        write_volume(scan.with_data(counts, dtype="int16"), folder / "scan.nii.gz")
        made = {who: _restored(folder, model, who, told) for who, told in machines().items()}
    apart = {}
    for one, other in combinations(made, 2):
        apart[one, other] = decibels(np.abs(made[one] - made[other]), made[one])
        sys.stdout.write(f"{model}, {head.name}: {one}, {other}: {apart[one, other]:.1f} dB\n")
        sys.stdout.flush()
    return min(apart.values())


def _restored(folder: Path, model: str, who: str, told: Settings) -> NDArray[np.float64]:
    target = folder / f"{who.replace(' ', '-')}.nii.gz"
    words = ["mri", "super-resolve", str(folder / "scan.nii.gz"), str(target)]
    lamina([*words, "--model", model], extra=told)
    return read_volume(target).data.double().numpy()


if __name__ == "__main__":
    sys.exit(main())
