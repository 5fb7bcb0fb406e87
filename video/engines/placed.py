"""A pipeline's parts put where its placement says, and looked at before clips are drawn so.

Attention backends are accepted that fail in the first step, and caches that hook nothing: what is
named is tried in a short run, and what it changes there is told.
"""

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry as Registry
from PIL import Image

from core.refusal import Refusal
from video.engines.folder_files import EngineFolder
from video.engines.placement import DENOISERS, NO_CACHE, Placement
from video.engines.skeleton import quiet
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.diffusers_folder import DiffusersFolder
    from video.engines.diffusers_pipeline import LoadedFolder

logger = logging.getLogger(__name__)

PROBE_STEPS, PROBE_PROMPT = 4, "a red circle"
FETCHED = "hub"  # in the names of attention whose kernels are fetched from a network
FAILS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError)
CACHES: dict[str, Callable[[Any], Any]] = {
    "first-block": lambda pipe: diffusers.FirstBlockCacheConfig(),
    "pyramid": lambda pipe: diffusers.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        current_timestep_callback=lambda: pipe.current_timestep,
    ),
    "faster": lambda pipe: diffusers.FasterCacheConfig(
        spatial_attention_block_skip_range=2,
        current_timestep_callback=lambda: pipe.current_timestep,
    ),
    "taylor": lambda pipe: diffusers.TaylorSeerCacheConfig(),
}
"""What the library usually takes for each."""


def placed_here(engine: "DiffusersFolder", device: torch.device) -> Placement:
    """How an engine's weights are held and computed on a device; said where that is not usual."""
    on_cpu = device.type == "cpu"
    gpu_gb = None if on_cpu else torch.cuda.get_device_properties(device).total_memory / 1e9
    how = engine.placed(gpu_gb)
    if how != Placement("float32" if on_cpu else "bfloat16"):
        logger.warning("%s is drawn with %s", engine.name, how.told())
    return how


def kept_small(folder: EngineFolder, how: Placement) -> dict[str, Any]:
    """The denoisers with weights in 8 bits until they are computed with; none where not asked.

    Each is made small before the next is read, so that they need never stand side by side whole.
    """
    found: dict[str, Any] = {}
    if how.quantization != "float8":
        return found
    dtype = getattr(torch, how.dtype)
    for part in folder.parts:
        if part.name in DENOISERS:
            network = getattr(diffusers, part.kind).from_pretrained(
                str(folder.path / part.name),
                local_files_only=True,
                use_safetensors=True,
                torch_dtype=dtype,
            )
            network.enable_layerwise_casting(
                storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype
            )
            found[part.name] = network
    return found


def put(pipe: Any, how: Placement, device: torch.device) -> Any:
    """The pipeline where it shall be."""
    if how.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
        return pipe
    if how.offload == "leaf":
        pipe.enable_group_offload(onload_device=device, offload_type="leaf_level")
        return pipe
    return pipe.to(device)


def set_up(loaded: "LoadedFolder", how: Placement) -> dict[str, Any]:
    """Have the attention and the cache that are named; what a short run said of them.

    Raises:
        Refusal: They do not work here.
    """
    told: dict[str, Any] = {}
    if how.attention != "native":
        told |= _tried(loaded, "attention", how.attention, lambda: _attend(loaded.pipe, how))
    if how.cache != NO_CACHE:
        hooked = _hooks(loaded.pipe)
        told |= _tried(loaded, "cache", how.cache, lambda: _remember(loaded.pipe, how))
        told["cache_hooks"] = _hooks(loaded.pipe) - hooked
        if not told["cache_hooks"]:
            raise _unfit(loaded, "cache", how.cache, "it finds nothing to take hold of")
    return told


def _attend(pipe: Any, how: Placement) -> None:
    if FETCHED in how.attention:
        raise ValueError("it is fetched from a network, and none is asked here")
    before = Registry._active_backend
    try:
        for network in _networks(pipe):
            network.set_attention_backend(how.attention)
    finally:
        Registry._active_backend = before  # each network has its own; this holds for all others


def _remember(pipe: Any, how: Placement) -> None:
    for network in _networks(pipe):
        network.enable_cache(CACHES[how.cache](pipe))


def _tried(
    loaded: "LoadedFolder", field: str, value: str, change: Callable[[], None]
) -> dict[str, Any]:
    """How far latents of a short run change by it."""
    with quiet():
        before = _short_run(loaded)
        try:
            change()
            after = _short_run(loaded)
        except FAILS as error:
            raise _unfit(loaded, field, value, f"{type(error).__name__}: {error}"[:300]) from error
    if not after.isfinite().all():
        raise _unfit(loaded, field, value, "it gives values that are no numbers")
    return {f"{field}_changes": float((after - before).abs().max() / before.abs().max())}


def _unfit(loaded: "LoadedFolder", field: str, value: str, why: str) -> Refusal:
    return Refusal(
        f"placement={field}={value}: {loaded.engine.name} cannot be drawn so here ({why}): what "
        f"is named must pass a short run; leave {field} out or name another."
    )


def _short_run(loaded: "LoadedFolder") -> torch.Tensor:
    """Latents of the smallest clip of a few steps."""
    rules = loaded.engine.rules
    side, frames = 2 * rules.side, rules.frames[1] if rules.frames else 0
    told = {"prompt": PROBE_PROMPT, "engine": loaded.engine.name, "steps": PROBE_STEPS}
    asked = VideoRequest.model_validate(
        {**told, "num_frames": frames, "height": side, "width": side}
    )
    arguments = loaded.arguments(loaded.engine.settled(asked))
    given = {"image": (shown := Image.new("RGB", (side, side))), "video": [shown] * frames}
    arguments |= {n: v for n, v in given.items() if n in loaded.call and _needed(loaded.call[n])}
    arguments |= {"output_type": "latent", "generator": torch.Generator("cpu").manual_seed(0)}
    with torch.inference_mode():
        found = loaded.pipe(**arguments).frames
    loaded.pipe.maybe_free_model_hooks()
    return torch.as_tensor(found).float().cpu()


def _needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty or parameter.name == "image"


def _networks(pipe: Any) -> list[Any]:
    return [part for name in DENOISERS if (part := getattr(pipe, name, None)) is not None]


def _hooks(pipe: Any) -> int:
    """How many of the networks' modules have hooks of the library, each counted."""
    modules = (module for network in _networks(pipe) for module in network.modules())
    registries = (getattr(module, "_diffusers_hook", None) for module in modules)
    return sum(len(registry.hooks) for registry in registries if registry is not None)


def check_adapter_fits(how: Placement, adapter: Path | None) -> None:
    """Refuse an adapter where its weights could not be merged and put back bit for bit.

    Raises:
        Refusal: Weights are kept in 8 bits, or moved layer by layer.
    """
    held = {"quantization": how.quantization == "float8", "offload": how.offload == "leaf"}
    for field, hinders in held.items():
        if adapter and hinders:
            raise Refusal(
                f"lora={adapter} with placement={field}={getattr(how, field)}: an adapter is "
                f"merged into weights that stand whole; leave lora out, or say {field}=none."
            )
