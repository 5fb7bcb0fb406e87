"""The model that heads are drawn with: a pool of people, a network that folds, one that paints.

One folder, as every model: the network in ``weights.safetensors`` paints, the small one inside it
(``layouts``) folds, and ``pool.safetensors`` holds the people.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from core.models.checkpoints import find_model, load_model, save_model
from core.models.files import WEIGHTS, read_record
from core.networks.conditioned import ConditionedNetwork
from core.records import sha256_file
from core.refusal import Refusal
from medical.anatomy.folding import folder as folding
from medical.anatomy.painting import painter
from medical.anatomy.pool import POOL, Pool, read_pool, write_pool

KIND = "head"
SHIPPED = "drawn-heads-1mm"


def find_pool(name: str = SHIPPED, *, device: torch.device | str = "cpu") -> Pool:
    """The pool of an installed model, ready to draw from."""
    return load_pool(find_model(name, KIND), device=device)


def load_pool(folder: Path, *, device: torch.device | str = "cpu") -> Pool:
    """The pool in a model's folder, ready to draw from.

    Args:
        folder: Of the model.
        device: Where the networks go.

    Raises:
        Refusal: It is no such model, or its pool is not the one it was made with.
    """
    record = read_record(folder)
    if record["kind"] != KIND:
        raise Refusal(
            f"{folder} is a model of kind {record['kind']!r}: heads are drawn with one of kind "
            f"{KIND!r}; {SHIPPED} ships."
        )
    network, record = load_model(folder, device=device)
    found = sha256_file(folder / POOL) if (folder / POOL).is_file() else "no file"
    if found != record.get("pool_sha256"):
        raise Refusal(
            f"{folder / POOL}: sha256 is {found[:12]}, the record says "
            f"{str(record.get('pool_sha256'))[:12]}: the people are not those of the model; copy "
            "the model again."
        )
    assert network.layouts is not None
    pool = read_pool(folder, folding(network.layouts), painter(network))
    return replace(pool, digest=f"{found[:16]}-{record['sha256'][WEIGHTS][:16]}")


def save_pool(
    folder: Path, network: ConditionedNetwork, pool: Pool, record: dict[str, Any]
) -> Path:
    """Write a model folder.

    Args:
        folder: Must not exist yet.
        network: Paints; its ``layouts`` folds.
        pool: The people.
        record: Name, training, results and limits; the rest is added.
    """
    from core.models.cards import card  # noqa: PLC0415  for whoever trains

    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.pool")
    beside.mkdir()
    try:
        digest = write_pool(pool, beside)
        whole = {
            **record,
            "kind": KIND,
            "objective": "flow matching",
            "parameters": sum(p.numel() for p in network.parameters()),
            "people": [[p.hash, p.age, p.sex] for p in pool.people],
            "pool_sha256": digest,
        }
        save_model(folder, network, whole, card=card(whole))
        (beside / POOL).replace(folder / POOL)
    finally:
        (beside / POOL).unlink(missing_ok=True)
        beside.rmdir()
    return folder
