"""What a walk under way will come to, as far as its last step tells, decoded small.

A scheduler knows what it takes the clean latents to be, or it follows from its answer. They are
made smaller before they are decoded, so that a look costs a thousandth of a step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool3d

from video.request import VideoRequest

MOST_SIDE = 12  # of latents that are decoded for a look
OF_ONE_PICTURE = ("CogVideoX",)
"""Pipelines whose latents have the frames before the channels."""


@dataclass(frozen=True)
class Predicted:
    """A look ahead, taken only where somebody asks.

    Attributes:
        pipe: Under way.
        decode: Its decoder, which the walk replaced.
        request: Settled.
        step: What the scheduler was given and what it answered.
    """

    pipe: Any
    decode: Callable[..., Any]
    request: VideoRequest
    step: tuple[tuple[Any, ...], Mapping[str, Any], Any]

    def whole(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the decoder takes for the clip as it is predicted, in full size."""
        with torch.inference_mode():
            z = decodable(self.pipe, clean(self.pipe.scheduler, *self.step), self.request)
        return (z, *_noise_level(self.pipe.vae, z)), {"return_dict": False}

    def frames(self) -> NDArray[np.uint8]:
        """The clip as it is predicted, small, (T, h, w, 3); the walk goes on as if unseen.

        LTX walks from a first picture without its latent: what follows it is shown alone.
        """
        devices = [self.pipe.vae.device] if self.pipe.vae.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            z = decodable(self.pipe, clean(self.pipe.scheduler, *self.step), self.request)
            found = self.decode(smaller(z), *_noise_level(self.pipe.vae, z), return_dict=False)[0]
            levels = (found[0].float().clamp(-1, 1) + 1) * 127.5
            return levels.round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()


def clean(
    scheduler: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], found: Any
) -> torch.Tensor:
    """What a scheduler that just took a step holds the clean latents to be.

    Where it does not say so, they follow from the velocity that it was given (flow matching).

    Args:
        scheduler: After its step.
        args: What it was given: the network's answer, the time, the latents.
        kwargs: The same, by name.
        found: What it answered.
    """
    said = getattr(found, "pred_original_sample", None)
    if said is None and isinstance(found, tuple) and len(found) > 1:
        said = found[1]
    if isinstance(said, torch.Tensor):
        return said
    kept = [one for one in getattr(scheduler, "model_outputs", ()) if one is not None]
    if kept:  # of many steps, as UniPC and DPM-Solver++ keep them
        return kept[-1]
    answer, sample = args[0], kwargs.get("sample", args[2] if len(args) > 2 else None)
    sigma = scheduler.sigmas[scheduler.step_index - 1].to(answer.device)
    return sample.float() - sigma * answer.float()


def decodable(pipe: Any, latents: torch.Tensor, request: VideoRequest) -> torch.Tensor:
    """Latents of a walk as the decoder takes them: (1, C, F, H, W), on its own scale.

    Args:
        pipe: Whose they are.
        latents: Of one clip.
        request: Settled.
    """
    vae = pipe.vae
    if latents.ndim == 3:  # a row for each patch, as LTX has them
        smaller_by, packing = (
            pipe.vae_spatial_compression_ratio,
            pipe.vae_temporal_compression_ratio,
        )
        sizes = (
            (request.num_frames - 1) // packing + 1,
            *(side // smaller_by for side in (request.height, request.width)),
        )
        patches = pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size
        latents = pipe._unpack_latents(latents, *sizes, *patches)
    elif type(pipe).__name__.startswith(OF_ONE_PICTURE):
        latents = latents.permute(0, 2, 1, 3, 4)
    scale = float(vae.config.get("scaling_factor") or 1.0)
    mean, spread = (
        _row(vae, name, latents, usual)
        for name, usual in (("latents_mean", 0), ("latents_std", 1))
    )
    return (latents[:1].float() * spread / scale + mean).to(vae.device, vae.dtype)


def smaller(z: torch.Tensor) -> torch.Tensor:
    """Latents (B, C, F, H, W) with at most so many places a side, each the mean of its region."""
    count, height, width = z.shape[2:]
    share = min(1.0, MOST_SIDE / max(height, width))
    size = count, max(1, round(height * share)), max(1, round(width * share))
    return z if share == 1.0 else adaptive_avg_pool3d(z.float(), size).to(z.dtype)


def _row(vae: Any, name: str, like: torch.Tensor, usual: int) -> torch.Tensor:
    said = getattr(vae, name, None)
    said = vae.config.get(name) if said is None else said
    row = torch.as_tensor(usual if said is None else said, dtype=torch.float32)
    return row.to(like.device).reshape(1, -1, 1, 1, 1)


def _noise_level(vae: Any, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a decoder that takes out the last noise is told; nothing where it does not."""
    if not vae.config.get("timestep_conditioning"):
        return ()
    return (torch.zeros(1, device=z.device, dtype=z.dtype),)
