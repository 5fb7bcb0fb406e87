"""LoRA files beside models: written as peft writes them, checked against a model by its headers.

``adapter_model.safetensors`` holds A and B of each layer under peft's names, and says inside
which model's weights it was learned on; ``adapter_config.json`` beside it is what peft reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from core.models.files import WEIGHTS, read_record
from core.records import sha256_file
from core.refusal import Refusal

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
OF_PEFT, DOWN, UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
OTHER_KINDS = ("alpha_pattern", "fan_in_fan_out", "use_dora", "use_rslora")
"""Settings of peft with which the same factors mean something else."""


@dataclass(frozen=True)
class Lora:
    """A LoRA file and how strongly it counts.

    Attributes:
        path: Of the file.
        scale: 1 for all of it.
        digest: SHA-256 of the file when it was asked for.
        alpha: What peft's settings beside the file say; None where the file says it itself, or
            nobody does, and alpha is the rank.

    >>> Lora("x.safetensors", 0.5, "ab").told()
    {'lora': {'sha256': 'ab', 'scale': 0.5}}
    >>> Lora("x.safetensors", 0.5, "ab", 8.0).told()
    {'lora': {'sha256': 'ab', 'scale': 0.5, 'alpha': 8.0}}
    """

    path: str
    scale: float
    digest: str
    alpha: float | None = None

    @classmethod
    def of(cls, path: str | Path, scale: float = 1.0) -> Lora:
        """A file as it is now.

        Raises:
            Refusal: It is no LoRA file, its alpha or the scale is no number, or peft's settings
                beside it ask for another kind of change.
        """
        path = Path(path).expanduser()
        if not path.is_file() or path.suffix != ".safetensors":
            raise Refusal(
                f"lora={path}: there is no such file of safetensors: an adapter is one, and no "
                f"other format is read; name the {ADAPTER} that training wrote."
            )
        if not isfinite(scale):
            raise Refusal(
                f"lora={path} with the scale {scale}: a scale is a number, 1 for all of the "
                "adapter; name one."
            )
        said, beside = _shapes(path)[1], _settings(path)
        if "alpha" in said:
            _number(path, "alpha", said["alpha"])
            return cls(str(path), scale, sha256_file(path))
        alpha = _number(path, "lora_alpha", beside["lora_alpha"]) if beside else None
        return cls(str(path), scale, sha256_file(path), alpha)

    def told(self) -> dict[str, Any]:
        """What records say of it; all that decides what it does."""
        beside = {} if self.alpha is None else {"alpha": self.alpha}
        return {"lora": {"sha256": self.digest, "scale": self.scale, **beside}}


def check(lora: Lora, folder: Path) -> None:
    """Refuse an adapter that does not belong to a model, by the headers of both.

    Raises:
        Refusal: It was learned on other weights, or its layers are not there or of another size.
    """
    shapes, said = header(lora)
    name = folder.name
    base = said.get("base")
    if base is not None and base != read_record(folder)["sha256"][WEIGHTS]:
        raise Refusal(
            f"lora={lora.path} was learned on {said.get('base_name', 'another model')} "
            f"({base[:12]}), not on {name}: an adapter belongs to the weights it was learned on; "
            "name that model, or train one on this."
        )
    with safe_open(folder / WEIGHTS, "np") as weights:
        known = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
    for layer, (down, up) in shapes.items():
        found = known.get(f"{layer}.weight")
        if found is None or found != (up[0], *down[1:]):
            size = " x ".join(map(str, (up[0], *down[1:])))
            there = "lacks" if found is None else f"has of {' x '.join(map(str, found))}"
            raise Refusal(
                f"lora={lora.path} changes {layer} of {size}, which "
                f"{name} {there}: an adapter belongs to a network of its own width and kind; name "
                "the model it was learned on."
            )


Shape = tuple[int, ...]
MATRIX = ("rows", "columns")


def header(lora: Lora) -> tuple[dict[str, tuple[Shape, Shape]], dict[str, str]]:
    """Shapes of A and B by layer, and what the file says of itself.

    Raises:
        Refusal: It is no adapter of one of our models.
    """
    shapes, said = _shapes(Path(lora.path))
    layers = [key[len(OF_PEFT) : -len(DOWN)] for key in shapes if key.endswith(DOWN)]
    found = {}
    for layer in layers:
        names = [f"{OF_PEFT}{layer}{end}" for end in (DOWN, UP)]
        down, up = (shapes.get(name, ()) for name in names)
        if not (down and up and up[1:2] == down[:1]):
            raise _no_adapter(lora, f"half of {layer}")
        if not down[0] or len(down) < len(MATRIX) or any(n != 1 for n in up[2:]):
            sizes = " and ".join(" x ".join(map(str, shape)) for shape in (down, up))
            raise _no_adapter(lora, f"{sizes} for {layer}, which are no A and B")
        found[layer] = down, up
    if not found or len(shapes) != 2 * len(found):
        raise _no_adapter(lora, "other tensors than A and B of layers")
    return found, said


def _no_adapter(lora: Lora, what: str) -> Refusal:
    return Refusal(
        f"lora={lora.path} holds {what}: an adapter of our own models is as `lamina train --lora` "
        "and peft write it; name such a file."
    )


def _shapes(path: Path) -> tuple[dict[str, Shape], dict[str, str]]:
    """Of all tensors, and what the file says of itself."""
    try:
        with safe_open(path, "np") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            return shapes, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise Refusal(
            f"lora={path} cannot be read ({error}): an adapter is a whole file of "
            "safetensors; copy it again."
        ) from error


def _settings(path: Path) -> Mapping[str, Any]:
    """What peft's settings beside a file say; empty where there are none, or they tell no alpha.

    Raises:
        Refusal: They cannot be read, or ask for another kind of change.
    """
    beside = path.with_name(ADAPTER_CONFIG)
    if not beside.is_file():
        return {}
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Refusal(
            f"{beside} cannot be read ({error}): it is what peft says of the adapter beside it; "
            "copy it again, or move it away."
        ) from error
    said = said if isinstance(said, Mapping) else {}
    if other := [name for name in OTHER_KINDS if said.get(name)]:
        raise Refusal(
            f"lora={path} is made with {', '.join(other)} ({beside.name} beside it): adapters "
            "are taken in as W + scale (alpha / r) B A; train one without, or merge it with peft."
        )
    return said if said.get("lora_alpha") is not None else {}


def _number(path: Path, name: str, said: Any) -> float:
    try:
        found = float(said)
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not isfinite(found):
        raise Refusal(
            f"lora={path} says {name}={said!r}: it is a number, and what the adapter adds is "
            f"multiplied by it; mend {name}, or train the adapter again."
        )
    return found
