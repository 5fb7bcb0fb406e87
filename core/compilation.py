"""The network compiled into fused kernels, where there is a compiler for it."""

from __future__ import annotations

import shutil
from typing import cast

import torch

from core.objectives import Predict
from core.unet import SpatioTemporalUNet

COMPILERS = ("g++", "clang++", "c++")


def compiled(network: SpatioTemporalUNet) -> Predict:
    """The network as ``torch.compile`` makes it; the network itself stays as it is.

    Raises:
        ValueError: There is nothing to compile with.
    """
    if not torch.cuda.is_available() and not any(map(shutil.which, COMPILERS)):
        raise ValueError(
            "compile=True: kernels are compiled by Triton for a CUDA device, or else by one of "
            f"{', '.join(COMPILERS)}; install one, or train without compile."
        )
    return cast(Predict, torch.compile(network))
