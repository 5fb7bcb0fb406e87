"""LoRA files: small changes of a pipeline's weights, taken in for a clip and out again.

W + s (alpha / r) B A (Hu et al. 2021) is put in the place of W while clips ask for it; requests
with the same file and scale share it, and what was there before comes back bit for bit.
"""

import json
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from core.records import sha256_file
from core.refusal import Refusal
from video.engines.adapter_files import OF_PEFT, digest_of, settings_beside
from video.engines.folder_files import header, read_json
from video.engines.placement import DENOISERS
from video.engines.skeleton import quiet

A, B, ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
SAID = "lora_adapter_metadata"
OTHER_KINDS = ("alpha_pattern", "rank_pattern", "use_dora", "use_rslora")


def check_adapter(path: Path) -> None:
    """Refuse what is no LoRA file, by its header alone.

    Raises:
        Refusal: It is missing, not whole, or no safetensors.
    """
    if not path.is_file() or path.suffix != ".safetensors":
        raise Refusal(
            f"lora={path}: there is no such file of safetensors: an adapter is one, and no other "
            "format is read; check the name, or convert it."
        )
    header(path)


class Adapted:
    """A pipeline, and the adapter that is in its weights now."""

    def __init__(self, pipe: Any) -> None:
        """Take a pipeline without any."""
        self._pipe = pipe
        self._now: tuple[str, float] | None = None
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def take(self, path: Path | None, scale: float) -> dict[str, Any]:
        """Have this adapter in the weights, or none; what the record says of it.

        Raises:
            Refusal: It does not belong to this pipeline; the weights are as they were.
        """
        wanted = (digest_of(path), scale) if path else None
        if wanted != self._now:
            self._put_back()
            if path:
                self._merge(path, scale)
            self._now = wanted
        if path is None:
            return {}
        told: dict[str, Any] = {"sha256": sha256_file(path), "scale": scale}
        if beside := settings_beside(path):
            told |= {"settings_sha256": sha256_file(beside)}
            told |= {"alpha": read_json(beside).get("lora_alpha")}
        return {"lora": told}

    def _put_back(self) -> None:
        for parameter, old in self._before:
            parameter.data = old
        self._before, self._now = [], None

    def _merge(self, path: Path, scale: float) -> None:
        pairs = self._pairs(path)
        changed = []
        for name, (down, up, share) in pairs.items():
            parameter = self._parameter(path, name)
            if tuple(parameter.shape) != (up.shape[0], down.shape[1]):
                raise self._foreign(path, f"{name} of {up.shape[0]} x {down.shape[1]}")
            told = (scale * share) * (up.float() @ down.float())
            new = parameter.data.float() + told.to(parameter.device)
            changed.append((parameter, new.to(parameter.dtype)))
        for parameter, new in changed:
            self._before.append((parameter, parameter.data))
            parameter.data = new

    def _parameter(self, path: Path, name: str) -> torch.Tensor:
        part, _, layer = name.partition(".")
        network = getattr(self._pipe, part, None) if part in DENOISERS else None
        try:
            found = network.get_submodule(layer) if network is not None else None
        except AttributeError:
            found = None
        if not isinstance(found, torch.nn.Linear):
            raise self._foreign(path, f"the layer {name}")
        return found.weight

    def _pairs(self, path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
        """Both factors of each layer, and alpha / r."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            said = (file.metadata() or {}).get(SAID, "{}")
        state = self._renamed(tensors)
        settings = self._settings(path, said)
        left, found = set(state), {}
        for name in sorted(state):
            if not name.endswith(A):
                continue
            layer = name.removesuffix(A)
            down, up = state[name], state.get(layer + B)
            if up is None or down.ndim != 2 or up.ndim != 2 or up.shape[1] != len(down):
                raise self._foreign(path, f"half of {layer}")
            alpha = state.get(layer + ALPHA)
            usual = settings.get("lora_alpha", len(down))
            share = self._share(path, alpha if alpha is not None else usual, len(down))
            found[layer] = down, up, share
            left -= {name, layer + B, layer + ALPHA}
        if left or not found:
            raise self._foreign(path, sorted(left)[0] if left else "no layer at all")
        return found

    def _share(self, path: Path, alpha: Any, rank: int) -> float:
        try:
            share = float(alpha) / rank
        except (TypeError, ValueError, RuntimeError, ZeroDivisionError):
            share = float("nan")
        if not isfinite(share):
            raise self._foreign(path, f"alpha {str(alpha)[:40]} at rank {rank}")
        return share

    def _settings(self, path: Path, said: str) -> dict[str, Any]:
        """Rank and alpha as peft and diffusers write them beside the factors."""
        beside = settings_beside(path)
        try:
            found = read_json(beside) if beside else json.loads(said)
        except (ValueError, RecursionError) as error:
            if isinstance(error, Refusal):
                raise
            found = {}
        if not isinstance(found, dict):
            raise self._foreign(path, f"settings that are no table ({said[:40]})")
        plain = {str(name).rpartition(".")[2]: value for name, value in found.items()}
        if other := [name for name in OTHER_KINDS if plain.get(name)]:
            raise Refusal(
                f"lora={path}: it says {other[0]}: adapters of one rank and one alpha are taken; "
                "name another."
            )
        return plain

    def _renamed(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """With the layers' names as this pipeline has them, by the library's own table."""
        plain = {
            f"transformer.{name.removeprefix(OF_PEFT)}"
            if name.startswith(OF_PEFT)
            else name: value
            for name, value in tensors.items()
        }
        with quiet():
            found = type(self._pipe).lora_state_dict(plain)
        return found[0] if isinstance(found, tuple) else found

    def _foreign(self, path: Path, what: str) -> Refusal:
        return Refusal(
            f"lora={path} holds {what}, which {type(self._pipe).__name__} lacks or has otherwise: "
            "an adapter belongs to the model that it was trained on; name one of this engine."
        )
