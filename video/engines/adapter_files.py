"""What a LoRA file is by its bytes, and by those of the settings that peft writes beside it."""

import hashlib
from pathlib import Path

from core.records import sha256_file
from video.engines.folder_files import header

OF_PEFT = "base_model.model."
SETTINGS = "adapter_config.json"


def settings_beside(path: Path) -> Path | None:
    """The file that says rank and alpha of an adapter as peft writes them; None of any other."""
    beside = path.with_name(SETTINGS)
    if beside.is_file() and any(name.startswith(OF_PEFT) for name in header(path)):
        return beside
    return None


def digest_of(path: Path) -> str:
    """SHA-256 of an adapter: of its file, and of its settings where they stand beside it."""
    digest, beside = sha256_file(path), settings_beside(path)
    if beside is None:
        return digest
    return hashlib.sha256(f"{digest} {sha256_file(beside)}".encode()).hexdigest()


def digest_of_input(role: str, path: Path) -> str:
    """SHA-256 of what a request for a clip names, by its field."""
    return digest_of(path) if role == "lora" else sha256_file(path)
