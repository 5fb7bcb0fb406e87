"""LoRA files written, read, and merged into a model's weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from core.models.adapters import (
    ADAPTER,
    ADAPTER_CONFIG,
    DOWN,
    OF_PEFT,
    UP,
    Lora,
    check,
    header,
)
from core.models.cards import card
from core.models.checkpoints import find_model, load_model, save_model
from core.models.files import WEIGHTS
from core.networks.lora import Factors, merge
from core.records import sha256_file
from core.refusal import Refusal


def files_of(
    learned: Mapping[str, Factors], *, rank: int, base: str, record: Mapping[str, Any]
) -> dict[str, bytes]:
    """The two files of what was learned, by their names.

    Args:
        learned: By the name of the layer.
        rank: r of all of them; alpha is its share times that.
        base: Name of the model that was begun from.
        record: Of that model.
    """
    tensors = {}
    for name, (down, up, _) in learned.items():
        tensors[f"{OF_PEFT}{name}{DOWN}"] = down.contiguous()
        tensors[f"{OF_PEFT}{name}{UP}"] = up.contiguous()
    (share,) = {factors.share for factors in learned.values()}
    said = {"alpha": str(share * rank), "base": record["sha256"][WEIGHTS], "base_name": base}
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": share * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted(learned),
    }
    return {
        ADAPTER: save(tensors, said),
        ADAPTER_CONFIG: (json.dumps(settings, indent=2) + "\n").encode(),
    }


def read(lora: Lora) -> dict[str, Factors]:
    """What the file adds to each layer.

    Raises:
        Refusal: It is not the file that was asked for, or no adapter.
    """
    if sha256_file(Path(lora.path)) != lora.digest:
        raise Refusal(
            f"lora={lora.path} is not what it was when it was asked for: a file must stay as it "
            "is while it is used; ask again."
        )
    shapes, said = header(lora)
    found = {}
    with safe_open(lora.path, "pt") as file:
        for layer in shapes:
            down, up = (file.get_tensor(f"{OF_PEFT}{layer}{end}") for end in (DOWN, UP))
            if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
                raise Refusal(
                    f"lora={lora.path} holds numbers for {layer} that are not finite: with them "
                    "every result would be lost; train the adapter again, at a lower rate."
                )
            alpha = float(said.get("alpha", len(down) if lora.alpha is None else lora.alpha))
            found[layer] = Factors(down, up, alpha / len(down))
    return found


def take(network: nn.Module, folder: Path, *loras: Lora) -> None:
    """Merge adapters into the network of a model folder, in place; several add up.

    Raises:
        Refusal: One does not belong to that model; the network is as it was.
    """
    for lora in loras:
        check(lora, folder)
    learned = [(read(lora), lora.scale) for lora in loras]
    for factors, scale in learned:
        merge(network, factors, scale)


KEPT = ("kind", "objective", "guidance_trained_in", "parameters", "vocabulary", "training")
"""What stays true of a model whose weights are changed a little; its results do not."""


def merged_model(target: Path, base: str, loras: Sequence[tuple[Path, float]]) -> Path:
    """A new model folder: an installed model with adapters in its weights, each to its scale.

    Args:
        target: Must not exist yet.
        base: Name of the installed model.
        loras: Files and scales.

    Raises:
        Refusal: One does not belong to that model, or there is a folder already.
    """
    folder = find_model(base)
    adapters = [Lora.of(path, scale) for path, scale in loras]
    network, record = load_model(folder, dtype=torch.float32)
    take(network, folder, *adapters)
    made = {
        "name": target.name,
        **{name: record[name] for name in KEPT if name in record},
        "merged": {
            "model": base,
            "sha256": record["sha256"][WEIGHTS],
            "loras": [adapter.told()["lora"] for adapter in adapters],
        },
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    return save_model(target, network, made, card=card(made))
