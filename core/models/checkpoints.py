"""Models on disk: safetensors for numbers, JSON for everything said about them.

A model is a folder: ``config.json`` (the network's shape), ``weights.safetensors``,
``model.json`` (name, kind, objective, training, results, digests) and ``CARD.md`` for people.
Nothing in it is code, and nothing is unpickled.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from core.models.files import (
    CONFIG,
    FORMAT_VERSION,
    KINDS,
    RECORD,
    WEIGHTS,
    check_digests,
    read_record,
)
from core.networks.table import network_of
from core.records import sha256_file
from core.refusal import Refusal
from core.tensors import inference_dtype
from core.trouble import Trouble

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

logger = logging.getLogger(__name__)

SHELVES = ("video", "medical")


def save_model(
    folder: Path,
    network: ConditionedNetwork,
    record: dict[str, Any],
    *,
    dtype: torch.dtype = torch.bfloat16,
    card: str = "",
    beside: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model folder whole, or not at all.

    Args:
        folder: Must not exist yet.
        network: Its weights and config.
        record: ``name``, ``kind`` ("video" or "mri") and whatever else is true of the model;
            format version and digests are added.
        dtype: Of the stored weights; bfloat16 halves the file.
        card: Markdown for people.
        beside: Further files by their names.
    """
    folder = Path(folder)
    if record.get("kind") not in KINDS:
        raise Refusal(
            f"kind={record.get('kind')!r}: a model is one of {KINDS}; say which in its record."
        )
    if folder.exists():
        raise Refusal(
            f"{folder} exists: a model never replaces another; choose a new name or move it away."
        )
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        tensors = {
            k: v.detach().to("cpu", dtype).contiguous() for k, v in network.state_dict().items()
        }
        save_file(tensors, fresh / WEIGHTS)
        (fresh / CONFIG).write_text(network.to_json_string())
        # safetensors lets the owner alone read what it writes
        (fresh / WEIGHTS).chmod((fresh / CONFIG).stat().st_mode)
        for name, data in (beside or {}).items():
            (fresh / name).write_bytes(data)
        named = (WEIGHTS, CONFIG, *(beside or {}))
        digests = {name: sha256_file(fresh / name) for name in named}
        whole = {"format_version": FORMAT_VERSION, **record, "sha256": digests}
        (fresh / RECORD).write_text(json.dumps(whole, indent=2) + "\n")
        if card:
            (fresh / "CARD.md").write_text(card)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def load_model(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> tuple[ConditionedNetwork, dict[str, Any]]:
    """The network, ready to sample, and its record; every digest is verified first.

    Args:
        folder: A model folder.
        device: Where the network goes.
        dtype: Of its arithmetic; the device's fastest exact-enough one by default.

    Raises:
        Refusal: It is no model folder, or one of another release.
        Trouble: It is damaged.
    """
    folder = Path(folder)
    record = read_record(folder)
    check_digests(folder, record)
    try:
        tensors = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise Trouble(
            f"{folder / WEIGHTS} is not a safetensors file ({error}): weights are read from "
            "safetensors alone, never from pickles; convert or copy the model again."
        ) from error
    network = _build(folder)
    try:
        network.load_state_dict({k: v.float() for k, v in tensors.items()})
    except RuntimeError as error:
        raise Trouble(
            f"{folder / WEIGHTS} holds the weights of another network than {CONFIG} describes: "
            "the two belong together; copy the model again."
        ) from error
    dtype = dtype or inference_dtype(device)
    for module in network.modules():  # not .to(dtype): diffusers' warns without a reason
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(device, dtype)
    return network.eval().requires_grad_(False), record


def class_of(folder: Path) -> str:
    """The class of the network in a model folder, as its config names it; empty where unsaid."""
    try:
        return str(json.loads((Path(folder) / CONFIG).read_text()).get("_class_name", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _build(folder: Path) -> ConditionedNetwork:
    """A network of the shape ``config.json`` describes."""
    try:
        network = network_of(json.loads((folder / CONFIG).read_text()))
    except (ValueError, TypeError) as error:
        raise Trouble(
            f"{folder / CONFIG} describes no network of this release ({error}): a config is the "
            "JSON that was saved with the weights; copy the model again."
        ) from error
    return cast("ConditionedNetwork", network)  # or another that is called as it is


def shelves() -> list[Path]:
    """Folders that hold model folders: the operator's (LAMINA_MODELS), then the shipped ones."""
    named = [Path(p) for p in os.environ.get("LAMINA_MODELS", "").split(os.pathsep) if p]
    specs = [find_spec(package) for package in SHELVES]
    return named + [Path(s.origin).parent / "weights" for s in specs if s and s.origin]


def list_models() -> list[tuple[Path, dict[str, Any]]]:
    """Every readable model on the shelves, (folder, record); the first of a name wins."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for shelf in shelves():
        for path in sorted(shelf.glob(f"*/{RECORD}")):
            try:
                found.setdefault(path.parent.name, (path.parent, read_record(path.parent)))
            except (ValueError, Trouble) as error:  # one broken folder must not hide the others
                logger.warning("left out: %s", error)
    return list(found.values())


def find_folder(named: str | os.PathLike[str], kind: str = "") -> Path:
    """The folder of a model: one that stands on this machine, or that of an installed model.

    Args:
        named: A model folder, as a path, or the name of an installed model.
        kind: "video" or "mri"; empty for either.
    """
    folder = Path(named)
    if isinstance(named, str) and os.sep not in named and not (folder / RECORD).is_file():
        return find_model(named, kind)
    found = read_record(folder)["kind"]
    if kind and found != kind:
        raise Refusal(
            f"{folder} holds a model of kind {found}: one of {kind} is needed; name one."
        )
    return folder


def find_model(name: str, kind: str = "") -> Path:
    """The folder of an installed model.

    Args:
        name: Its folder's name; never a path.
        kind: "video" or "mri"; empty for either.
    """
    models = {folder.name: (folder, record) for folder, record in list_models()}
    fitting = sorted(n for n, (_, record) in models.items() if kind in ("", record["kind"]))
    if name not in fitting:
        raise Refusal(
            f"model={name!r} is not an installed {kind and kind + ' '}model: models are named as "
            f"`lamina models list` shows them; choose one of {fitting or 'none installed'}, or "
            "name more folders in LAMINA_MODELS."
        )
    return models[name][0]
