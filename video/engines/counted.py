"""The numbers of ``Arithmetic``, from a pipeline without weights; and what this host computes."""

import re
import time
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from video.engines.arithmetic import Arithmetic, keep_speed, speed_known
from video.engines.folder_files import EngineFolder
from video.engines.placement import DENOISERS

OF_WORDS = re.compile(
    r"caption|context|text|time|adaln|norm|(attn2|cross_attn)\.to_[kv]|add_|to_add_out|_img|guidance"
)
"""Names of layers that pass words, the time or a picture, and not each token of a clip."""
AMONG_TOKENS = re.compile(r"(attn1|attn|self_attn)\.to_q$")
LATENTS, SIDE = 3, 8  # what is decoded without weights to count
PRODUCT, TRIES = 1024, 3  # sides of the matrices whose product is timed


def arithmetic_of(pipe: Any, folder: EngineFolder, smaller: int) -> Arithmetic:
    """What a clip's arithmetic follows from.

    Args:
        pipe: On the meta device, without text parts.
        folder: Whose pipeline it is.
        smaller: Pixels on a side of a latent.
    """
    network = next(part for name in DENOISERS if (part := getattr(pipe, name, None)) is not None)
    patch = network.config.get("patch_size") or 1
    frames = network.config.get("patch_size_t") or 1
    if isinstance(patch, list | tuple):
        frames, patch = patch[0], patch[-1]
    layers = dict(network.named_modules())
    weights = {n: m.weight.numel() for n, m in layers.items() if _is_product(m)}
    passed = sum(count for name, count in weights.items() if not OF_WORDS.search(name))
    looked = {n: m for n, m in layers.items() if AMONG_TOKENS.search(n) and _is_product(m)}
    wide = sum(m.out_features for n, m in looked.items() if not _linear(layers, n))
    read = [part.name for part in folder.parts if part.name.startswith("text_encoder")]
    text = sum(folder.values_of(name) for name in read if name in folder.tensors)
    side = smaller * int(patch)
    return Arithmetic(passed, wide, _decoding(pipe.vae), text, side, int(frames or 1))


def measure_speed(device: torch.device) -> None:
    """Time products of matrices, if that was not done on this host before."""
    if speed_known(device.type):
        return
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    side = PRODUCT if device.type == "cpu" else 8 * PRODUCT
    a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    seconds = []
    for _ in range(TRIES + 1):  # the first is not counted
        _wait(device)
        start = time.perf_counter()
        torch.matmul(a, b)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    keep_speed(device.type, 2.0 * side**3 / min(seconds[1:]) / threads)


def _is_product(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d)


def _linear(layers: dict[str, nn.Module], name: str) -> bool:
    """Whether an attention's cost rises with the tokens alone, by its class or processor."""
    owner = layers[name.rpartition(".")[0]]
    kinds = type(owner).__name__ + type(getattr(owner, "processor", None)).__name__
    return "Linear" in kinds


def _decoding(vae: Any) -> float:
    """Operations for each pixel; 0 where the decoder does not take clips so."""
    channels = vae.config.get("z_dim") or vae.config.get("latent_channels")
    told: dict[str, Any] = {"return_dict": False}
    if vae.config.get("timestep_conditioning"):
        told["temb"] = torch.empty(1, device="meta")
    z = torch.empty(1, channels, LATENTS, SIDE, SIDE, device="meta")
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            pixels = vae.decode(z, **told)[0]
    except (RuntimeError, ValueError):
        return 0.0
    return counted.get_total_flops() / (pixels.numel() / pixels.shape[1])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
