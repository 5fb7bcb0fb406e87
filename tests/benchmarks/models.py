"""Untrained tiny models under the shipped names, to see a benchmark run without the weights."""

import os
from pathlib import Path

import torch

from core.models.checkpoints import save_model
from medical.training.presets import tiny as tiny_mri
from video.training.presets import tiny as tiny_video

NAMES = {"scenes-64": ("video", tiny_video), "heads-1mm": ("mri", tiny_mri)}


def tiny_models(shelf: Path) -> None:
    """Fill a shelf and put it before all others, for this process and its children."""
    torch.manual_seed(0)
    for name, (kind, make) in NAMES.items():
        save_model(shelf / name, make(), {"name": name, "kind": kind, "objective": "none"})
    named = [str(shelf), os.environ.get("LAMINA_MODELS", "")]
    os.environ["LAMINA_MODELS"] = os.pathsep.join(filter(None, named))
