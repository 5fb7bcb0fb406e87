"""Who computes a network on a CPU: torch, or OpenVINO where that was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from core.numerics import (
    AUTO,
    BACKEND,
    OPENVINO,
    PORTABLE,
    TORCH,
    USUAL,
    backend,
    exact,
    numerics,
)
from core.refusal import Refusal
from core.tensors import inference_dtype

FASTER = {
    "fc0b59cee1d4cca4f22ce745c2bffe5f1843198b83e55885b8c07b3b3cb4acd8": "scenes-64",
}
"""Weights with which OpenVINO was measured to be faster; ``auto`` takes these. With heads-1mm a
network call takes 0.82 of torch's time, and a whole head as long as before."""
CLASS = "SpatioTemporalUNet"


def chosen(record: Mapping[str, Any], network: str = CLASS, asked: str = USUAL) -> dict[str, str]:
    """Who computes a model, as its record tells it; empty for torch.

    Clips are computed in float32, in which OpenVINO takes half of torch's time with bfloat16, and
    loses nothing; heads in what torch would take.

    Args:
        record: Of the model.
        network: Name of its class.
        asked: What a request says of it; ``usual`` leaves it to ``LAMINA_BACKEND``.

    Raises:
        Refusal: OpenVINO is asked for where it is not installed, for a network it cannot run, or
            by a request where it does not compute.
    """
    said, where = (backend(), BACKEND) if asked == USUAL else (asked, "backend")
    if asked == OPENVINO and (numerics() == PORTABLE or _on_gpu()):
        raise Refusal(
            f"backend={asked}: OpenVINO computes on a CPU with its own instructions, and neither "
            f"portable arithmetic nor a GPU does; say {USUAL}, or set LAMINA_DEVICE to cpu and "
            "leave LAMINA_NUMERICS empty."
        )
    digest = record.get("sha256", {}).get("weights.safetensors", "")
    if said == TORCH or numerics() == PORTABLE or _on_gpu():
        return {}
    if said == AUTO and (digest not in FASTER or find_spec("openvino") is None):
        return {}
    if find_spec("openvino") is None:
        raise Refusal(
            f"{where}={said}: OpenVINO is not installed here; install the extra openvino, "
            f"or set {where} to {TORCH} or {AUTO}."
        )
    if network != CLASS:
        raise Refusal(
            f"{where}={said} with a {network}: OpenVINO runs networks of the class {CLASS}; set "
            f"{where} to {TORCH} or {AUTO}."
        )
    wide = record.get("kind") == "video" or exact()
    precision = "float32" if wide else str(inference_dtype("cpu")).removeprefix("torch.")
    return {"backend": OPENVINO, "precision": precision}


def _on_gpu() -> bool:
    return torch.cuda.is_available() and os.environ.get("LAMINA_DEVICE", "auto") != "cpu"
