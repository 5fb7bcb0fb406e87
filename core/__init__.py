"""What every floor shares: network, noise, sampling, operators, tiling, training.

The names most often needed can be taken from here; they are loaded when first asked for.

>>> import torch, core
>>> network = core.SpatioTemporalUNet(
...     in_channels=1, block_out_channels=(16, 32), layers_per_block=1,
...     down_strides=((1, 2, 2),), attention_levels=(False, True),
...     spatial_attention_levels=(False, True),
... )
>>> cond = core.Conditioning(spacing=torch.tensor([[4.0, 1.0, 1.0]]))
>>> z = core.noise((1, 3, 9, 7), seed=0)
>>> with torch.no_grad():
...     x = core.euler(core.denoiser(network, cond), z, core.linear(steps=4))
>>> x.shape
torch.Size([1, 1, 3, 9, 7])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.conditioning import Conditioning
    from core.families.flow import FlowMatching
    from core.families.table import FAMILIES, denoiser
    from core.models.checkpoints import find_model, list_models, load_model, save_model
    from core.networks.unet import SpatioTemporalUNet
    from core.operations.linear_operators import AxisOperator, consistent
    from core.operations.tiling import tiled
    from core.operations.windows import windows
    from core.sampling.diffusers_bridge import sample_with
    from core.sampling.guidance import guided, inpainting
    from core.sampling.path import Denoise, diffuse
    from core.sampling.samplers import SAMPLERS, dpmpp_2m, euler, flow_map, heun
    from core.sampling.schedules import karras, linear, shifted
    from core.seeds import noise
    from core.training.plan import Plan, Progress
    from core.training.trainer import Trainer

HOMES = {
    "AxisOperator": "operations.linear_operators",
    "Conditioning": "conditioning",
    "Denoise": "sampling.path",
    "FAMILIES": "families.table",
    "FlowMatching": "families.flow",
    "Plan": "training.plan",
    "Progress": "training.plan",
    "SAMPLERS": "sampling.samplers",
    "SpatioTemporalUNet": "networks.unet",
    "Trainer": "training.trainer",
    "consistent": "operations.linear_operators",
    "denoiser": "families.table",
    "diffuse": "sampling.path",
    "dpmpp_2m": "sampling.samplers",
    "euler": "sampling.samplers",
    "find_model": "models.checkpoints",
    "flow_map": "sampling.samplers",
    "guided": "sampling.guidance",
    "heun": "sampling.samplers",
    "inpainting": "sampling.guidance",
    "karras": "sampling.schedules",
    "linear": "sampling.schedules",
    "list_models": "models.checkpoints",
    "load_model": "models.checkpoints",
    "noise": "seeds",
    "sample_with": "sampling.diffusers_bridge",
    "save_model": "models.checkpoints",
    "shifted": "sampling.schedules",
    "tiled": "operations.tiling",
    "windows": "operations.windows",
}
"""Name to the module it lives in."""

__all__ = [
    "FAMILIES",
    "SAMPLERS",
    "AxisOperator",
    "Conditioning",
    "Denoise",
    "FlowMatching",
    "Plan",
    "Progress",
    "SpatioTemporalUNet",
    "Trainer",
    "consistent",
    "denoiser",
    "diffuse",
    "dpmpp_2m",
    "euler",
    "find_model",
    "flow_map",
    "guided",
    "heun",
    "inpainting",
    "karras",
    "linear",
    "list_models",
    "load_model",
    "noise",
    "sample_with",
    "save_model",
    "shifted",
    "tiled",
    "windows",
]


def __getattr__(name: str) -> Any:
    """Load the module a name lives in: importing one file of core must not import diffusers."""
    if name not in HOMES:
        raise AttributeError(f"module 'core' has no attribute {name!r}")
    return getattr(import_module(f"core.{HOMES[name]}"), name)
