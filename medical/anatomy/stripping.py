"""Which voxels of a whole head are brain, by deepbet (Fisch et al. 2024), an extra.

Its two networks ship in its wheel and see the head upright, so that a result does not depend on
the order of a file's axes.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from core.records import sha256_file
from core.refusal import Refusal
from medical.anatomy.segmenting import upright_axes
from medical.files.volume import Volume

NETWORKS = ("bbox_model.pt", "model.pt")
LIKELY = 0.5
BRAIN_ML = (600.0, 2200.0)
"""Of a brain with its fluid; what has less or more is another part of the body, or no T1."""


@cache
def stripper() -> tuple[str, str]:
    """Name with version, and SHA-256 of both networks.

    Raises:
        Refusal: The package is not installed, or not whole.
    """
    found = find_spec("deepbet")
    if found is None or found.origin is None:
        raise Refusal(
            "deepbet is not installed: brains are found by it, and it is in the extra skull; "
            "install it (pip install 'lamina[skull]')."
        )
    folder = Path(found.origin).parents[1] / "data" / "models"
    try:
        digests = "".join(sha256_file(folder / name) for name in NETWORKS)
    except OSError as error:
        raise Refusal(
            f"deepbet is installed without its networks ({', '.join(NETWORKS)}): they come with "
            "its wheel; install it anew (pip install --force-reinstall --no-deps deepbet)."
        ) from error
    return f"deepbet {version('deepbet')}", hashlib.sha256(digests.encode()).hexdigest()


def find_brain(volume: Volume) -> NDArray[np.bool_]:
    """Which voxels (D, H, W) of a T1-weighted head with its skull are brain, ventricles included.

    Raises:
        Refusal: No brain is found, or one of a size that no brain has.
    """
    from deepbet import BrainExtraction  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  an extra

    order, flips = upright_axes(volume.affine_mm)
    upright = np.flip(volume.data.numpy().transpose(order), flips)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extraction = BrainExtraction(no_gpu=True)
            shares = extraction.run_model(np.ascontiguousarray(upright, np.float32))
            found = extraction.postprocess(shares > LIKELY)
    except (AssertionError, ValueError):  # its ways to say that nothing was found
        found = np.zeros(upright.shape, bool)
    milliliters = float(found.sum()) * volume.voxel_ml
    low, high = BRAIN_ML
    if not low <= milliliters <= high:
        raise Refusal(
            f"{milliliters:.0f} ml of brain are found: a brain has {low:g} to {high:g} ml; give a "
            "T1-weighted scan of a whole head, its axes told rightly."
        )
    return np.flip(found, flips).transpose(np.argsort(order))
