"""Tensors between stages: safetensors files behind references."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from core.records import atomic_path
from flows.storage.files import FileRef


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> FileRef:
    """Write named tensors whole or not at all, over an earlier attempt of the same run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    return FileRef.of(path)


def read_tensors(ref: FileRef) -> dict[str, Tensor]:
    """The named tensors behind a reference, on the CPU."""
    return load_file(ref.open())
