"""The front door of the library: clips from sentences, finer volumes from scans, in this process.

>>> import lamina
>>> clip = lamina.generate("a red circle moves left", seed=7, num_frames=4, steps=1)
>>> clip.frames.shape
(4, 64, 64, 3)

The same request gives the same pixels and voxels as the command line. Everything is loaded when
first asked for, and Prefect never.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from core.numerics import settle

if TYPE_CHECKING:
    from core.models.checkpoints import list_models, load_model, save_model
    from core.networks.unet import SpatioTemporalUNet
    from core.refusal import Refusal
    from lamina.calls import draw_head, generate, load, super_resolve
    from lamina.operations import OPERATIONS
    from lamina.super_resolution import SuperResolutionPipeline
    from lamina.text_to_video import TextToVideoPipeline
    from medical.files.nifti import read_volume, write_volume
    from medical.files.volume import Volume
    from medical.operations.restoration import Restoration
    from medical.request import SuperResolutionRequest
    from video.files.clip import Clip, read_mp4, write_mp4
    from video.files.formats import read_clip, write_clip
    from video.request import VideoRequest

HOMES = {
    "TextToVideoPipeline": "lamina.text_to_video",
    "SuperResolutionPipeline": "lamina.super_resolution",
    "Clip": "video.files.clip",
    "OPERATIONS": "lamina.operations",
    "Refusal": "core.refusal",
    "Restoration": "medical.operations.restoration",
    "SpatioTemporalUNet": "core.networks.unet",
    "SuperResolutionRequest": "medical.request",
    "VideoRequest": "video.request",
    "Volume": "medical.files.volume",
    "draw_head": "lamina.calls",
    "generate": "lamina.calls",
    "list_models": "core.models.checkpoints",
    "load": "lamina.calls",
    "load_model": "core.models.checkpoints",
    "read_clip": "video.files.formats",
    "read_mp4": "video.files.clip",
    "read_volume": "medical.files.nifti",
    "save_model": "core.models.checkpoints",
    "super_resolve": "lamina.calls",
    "write_clip": "video.files.formats",
    "write_mp4": "video.files.clip",
    "write_volume": "medical.files.nifti",
}
"""Name to the module it lives in."""

__all__ = [
    "OPERATIONS",
    "Clip",
    "Refusal",
    "Restoration",
    "SpatioTemporalUNet",
    "SuperResolutionPipeline",
    "SuperResolutionRequest",
    "TextToVideoPipeline",
    "VideoRequest",
    "Volume",
    "draw_head",
    "generate",
    "list_models",
    "load",
    "load_model",
    "read_clip",
    "read_mp4",
    "read_volume",
    "save_model",
    "super_resolve",
    "write_clip",
    "write_mp4",
    "write_volume",
]


settle()  # before torch is loaded, which reads its arithmetic once


def __getattr__(name: str) -> Any:
    """Load the module a name lives in: importing the front door must not import torch."""
    if name not in HOMES:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    """What can be asked for, loaded or not."""
    return sorted(__all__)
