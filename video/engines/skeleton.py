"""What a pipeline of diffusers takes, found by building it without weights on the meta device.

Its decoder is run on latents that take no memory, its own check of sizes is called by name, and
its signature tells how it spells what every engine is asked for. Nothing of the folder but its
configs is read.
"""

import inspect
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import lcm
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.utils import logging as bars

from core.refusal import Refusal
from video.engines.conditions import abilities_of
from video.engines.counted import arithmetic_of
from video.engines.engine import Ability
from video.engines.folder_files import LIBRARIES, EngineFolder, Part
from video.engines.placement import DENOISERS
from video.engines.rules import Rules, periodic
from video.engines.survey import Survey
from video.engines.words import MAIN, longest_text

SPELLINGS = {
    "frames": ("num_frames", "frames", "video_length"),
    "guidance": ("guidance_scale", "true_cfg_scale"),
    "steps": ("num_inference_steps",),
    "fps": ("frame_rate", "fps"),
    "height": ("height",),
    "width": ("width",),
    "tokens": ("max_sequence_length",),
}
ASKED_BY: dict[Ability, str] = {"text": "prompt", "negative": "negative_prompt"}
PACKED = (
    "vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor",
)  # fmt: skip
SMALLER = (
    "vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor",
    "vae_scale_factor",
)  # fmt: skip
USUAL_FPS = {
    "Wan": 16,
    "Sky": 24,
    "CogVideoX": 8,
    "LTX": 24,
    "Hunyuan": 24,
    "Mochi": 30,
    "Sana": 16,
}
LATENT_FRAMES, LATENT_SIDE, LARGEST_STEP = 9, 4, 256


def survey(folder: EngineFolder) -> Survey:
    """What a folder takes and can.

    Raises:
        Refusal: Its pipeline is unknown or makes no clips, or a part or its weights are missing.
    """
    with quiet():
        pipe = _pipeline(folder)
        call = inspect.signature(type(pipe).__call__).parameters
        words = {
            k: w for k, ws in SPELLINGS.items() if (w := next((x for x in ws if x in call), ""))
        }
        of_clips = "frames" in words or "strength" in abilities_of(call)
        if not of_clips or getattr(pipe, "vae", None) is None:
            raise Refusal(
                f"{folder.path}: {folder.pipeline} makes no clips (it takes no number of frames): "
                "an engine of video does; name one that makes videos."
            )
        smaller = int(_first(pipe, SMALLER) or 8)
        rules = _rules(pipe, words, call, smaller, longest_text(folder.path / MAIN))
        usual, work = _usual(pipe, words, call, smaller), arithmetic_of(pipe, folder, smaller)
        return Survey(rules, _abilities(pipe, call), words, usual, smaller, work)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings and bars away for the block, their settings as they were."""
    told = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in told]
    shown = [each for each in (diffusers.utils.logging, bars) if each.is_progress_bar_enabled()]
    for each in shown:
        each.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in told:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(told, levels, strict=True):
                logger.setLevel(level)
            for each in shown:
                each.enable_progress_bar()


def pipeline_class(folder: EngineFolder) -> Any:
    """The pipeline's class.

    Raises:
        Refusal: Diffusers has none of that name, or the folder's index lacks a part of it.
    """
    found = getattr(diffusers, folder.pipeline, None)
    if not (inspect.isclass(found) and issubclass(found, diffusers.DiffusionPipeline)):
        raise Refusal(
            f"{folder.path}: {folder.pipeline} is no pipeline of diffusers "
            f"{diffusers.__version__}: an engine is one that it knows; update diffusers or name "
            "another."
        )
    wanted = inspect.signature(found.__init__).parameters.values()
    needed = {p.name for p in wanted if p.default is p.empty and p.name not in ("self", "kwargs")}
    lost = sorted(needed - folder.index.keys())
    if lost:
        raise Refusal(
            f"{folder.path}: model_index.json names no {lost[0]}, which {folder.pipeline} is made "
            "of: a pipeline needs all its parts; copy the whole folder again."
        )
    return found


def _pipeline(folder: EngineFolder) -> Any:
    """The pipeline without weights, and without the parts that read words."""
    made = pipeline_class(folder)
    parts: dict[str, Any] = {name: None for name, v in folder.index.items() if isinstance(v, list)}
    for part in folder.parts:
        if part.library == LIBRARIES[0]:
            parts[part.name] = _bare(folder, part)
    return made(**parts, **folder.settings())


def _bare(folder: EngineFolder, part: Part) -> Any:
    kind, config = getattr(diffusers, part.kind, None), folder.config(part.name)
    if kind is None:
        raise Refusal(
            f"{folder.path}: {part.name} is a {part.kind}, which diffusers "
            f"{diffusers.__version__} does not know; update diffusers or name another engine."
        )
    try:
        with torch.device("meta" if part.weighs else "cpu"):
            made = kind.from_config(config)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise Refusal(
            f"{folder.path / part.name}: its config makes no {part.kind} ({error}): the two "
            "belong together; copy the whole folder again."
        ) from error
    if isinstance(made, torch.nn.Module):
        _check_weights(folder, part, made.eval())
    return made


def _check_weights(folder: EngineFolder, part: Part, made: torch.nn.Module) -> None:
    """Refuse weights that are not those of the config; the libraries would make them up."""
    found = folder.tensors[part.name]
    wanted = {name: tuple(t.shape) for name, t in made.state_dict().items()}
    for name, shape in wanted.items():
        if name not in found or found[name][1] != shape:
            has = f"{found[name][1]}" if name in found else "no such weights"
            raise Refusal(
                f"{folder.path / part.name}: {name} should be {shape}, and the file holds {has}: "
                "weights and config belong together; copy the whole folder again."
            )


def _rules(pipe: Any, words: dict[str, str], call: Any, smaller: int, longest: int) -> Rules:
    frames = _frames(pipe.vae)
    side = lcm(_accepted_step(pipe), smaller * _patch(pipe))
    tokens = call[words["tokens"]].default if "tokens" in words else 0
    limit = _denoiser(pipe).config.get("max_text_seq_length")
    return Rules(
        frames=tuple(frames),
        period=periodic(frames) if frames else 1,
        packing=int(_first(pipe, PACKED) or 1),
        side=side,
        least_steps=2 if type(pipe).__name__.startswith("Mochi") else 1,
        tokens=int(limit or tokens or longest),
    )


def _frames(vae: Any) -> list[int]:
    """How many frames 1, 2, 3, ... latent ones give; empty where the decoder takes pictures."""
    channels = vae.config.get("z_dim") or vae.config.get("latent_channels")
    told: dict[str, Any] = {"return_dict": False}
    if vae.config.get("timestep_conditioning"):
        told["temb"] = torch.empty(1, device="meta")
    found = []
    for number in range(1, LATENT_FRAMES + 1):
        z = torch.empty(1, channels, number, LATENT_SIDE, LATENT_SIDE, device="meta")
        try:
            with torch.no_grad():
                found.append(int(vae.decode(z, **told)[0].shape[2]))
        except (RuntimeError, ValueError):
            return []
    return found


def _accepted_step(pipe: Any) -> int:
    """The least side that the pipeline's own check takes."""
    dummy = Image.new("RGB", (64, 64))
    asked = inspect.signature(pipe.check_inputs).parameters
    told: dict[str, Any] = {
        name: {"prompt": "x", "image": dummy, "video": [dummy]}.get(name)
        for name, p in asked.items()
        if p.default is p.empty or name in ("prompt", "image", "video")
    }
    for side in range(1, LARGEST_STEP + 1):
        try:
            pipe.check_inputs(**told | {k: side for k in ("height", "width") if k in asked})
        except (ValueError, TypeError) as error:
            if "height" in str(error) or "width" in str(error):
                continue
        return side
    return 1


def _patch(pipe: Any) -> int:
    patch = _denoiser(pipe).config.get("patch_size") or 1
    return int(patch[-1] if isinstance(patch, list | tuple) else patch)


def _denoiser(pipe: Any) -> Any:
    return next(part for name in DENOISERS if (part := getattr(pipe, name, None)) is not None)


def _abilities(pipe: Any, call: Any) -> tuple[Ability, ...]:
    source = inspect.getsource(type(pipe).__call__)
    found: list[Ability] = [ability for ability, word in ASKED_BY.items() if word in call]
    found += abilities_of(call)
    if any(word in call for word in SPELLINGS["guidance"]):
        found.append("guidance")
    config = _denoiser(pipe).config
    if config.get("image_dim") and not config.get("pos_embed_seq_len") and "last" in found:
        found.remove("last")  # the network has places for one picture alone
    if {*SPELLINGS["guidance"]} <= {*call}:  # the second alone leads away, and is off
        found.remove("negative")
    if "num_videos_per_prompt" in call:
        found.append("several")
    if hasattr(pipe, "load_lora_weights"):
        found.append("lora")
    walkers = set(re.findall(r"([\w.]*scheduler)\.step\(", source))
    if walkers == {"self.scheduler"}:  # LTX-2 has one for sound, too
        found.append("resume")
    if "video_processor.postprocess_video" in source:
        found.append("decode_apart")
    return tuple(found)


def _usual(pipe: Any, words: dict[str, str], call: Any, smaller: int) -> dict[str, float]:
    """What is taken for a field that is left at 0: the pipeline's default, or its network's."""
    config = _denoiser(pipe).config
    sizes = {
        "height": (config.get("sample_height") or 0) * smaller,
        "width": (config.get("sample_width") or 0) * smaller,
        "frames": config.get("sample_frames") or 0,
        "fps": next((v for k, v in USUAL_FPS.items() if type(pipe).__name__.startswith(k)), 24),
    }
    found: dict[str, float] = {}
    for name in ("frames", "height", "width", "steps", "guidance", "fps"):
        said = call[words[name]].default if name in words else None
        usual = said if isinstance(said, int | float) and said else sizes.get(name, 0)
        found["num_frames" if name == "frames" else name] = usual
    return found


def _first(pipe: Any, names: tuple[str, ...]) -> Any:
    return next((found for name in names if (found := getattr(pipe, name, None))), None)


@cache
def count_by_library(folder: Path, text: str) -> int:
    """How many tokens the tokenizer of a folder without ``tokenizer.json`` makes of a text."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    return len(tokenizer(text, truncation=False)["input_ids"])
