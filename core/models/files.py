"""The files of a model folder: their names, the record among them, and whether they are whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.records import sha256_file
from core.refusal import Refusal
from core.trouble import Trouble

FORMAT_VERSION = 1
WEIGHTS, CONFIG, RECORD = "weights.safetensors", "config.json", "model.json"
KINDS = ("video", "mri", "head", "segmentation", "whole-head")


def read_record(folder: Path) -> dict[str, Any]:
    """What ``model.json`` says, checked for its form."""
    path = Path(folder) / RECORD
    if not path.is_file():
        raise Refusal(
            f"{folder} holds no {RECORD}: a model is a folder with {CONFIG}, {WEIGHTS} and "
            f"{RECORD}; point to one made by training."
        )
    try:
        record = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Trouble(
            f"{path} is not JSON ({error}): the record of a model is; copy the model again."
        ) from error
    version = record.get("format_version") if isinstance(record, dict) else None
    if version != FORMAT_VERSION:
        raise Refusal(
            f"{path} has format_version {version!r}: this release reads {FORMAT_VERSION}; "
            "use the release the model was made with, or train it again."
        )
    if record.get("kind") not in KINDS or not isinstance(record.get("sha256"), dict):
        raise Trouble(
            f"{path} names no kind or no digests: the record of a model holds both; copy the "
            "model again."
        )
    return record


def check_digests(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuse a folder whose weights or config are not the bytes that its record names."""
    for name in (WEIGHTS, CONFIG):
        path, wanted = folder / name, record.get("sha256", {}).get(name)
        found = sha256_file(path) if path.is_file() else "no file"
        if found != wanted:
            raise Trouble(
                f"{path}: sha256 is {found[:12]}, the record says {str(wanted)[:12]}: the file is "
                "not the one that was saved; copy the model again."
            )
