"""Files that are whole or absent, and the record that explains each result.

Every door that writes a file writes it through ``atomic_path``; every job leaves one JSON
record beside its result: what was asked, what answered, from which bytes, to which bytes.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.numerics import NATIVE, instructions, numerics, products
from core.refusal import Refusal

FORMAT_VERSION = 1
LONGEST_SUFFIX = 16  # longer ones name no format, and a hidden name must fit, too
RESEARCH_USE = "Research use only, not for diagnosis."
DEEDS = {
    "text_to_video": "The clip was generated from text",
    "extend_video": "The clip was extended",
    "fill_video": "A part of the clip was painted anew",
    "edit_video": "The clip was changed by partial noising",
    "upscale_video": "The clip was enlarged by Lanczos' kernel",
    "interpolate_video": "Frames of the clip were interpolated along the motion",
    "super_resolve_mri": "The scan was super-resolved",
    "insert_mri_lesions": "Lesions were put into the head",
    "fill_mri_lesions": "The lesions of the head were filled",
    "inpaint_mri": "A region of the head was painted over",
    "strip_mri_skull": "Skull and face were taken away",
    "segment_mri": "The voxels of the head were labeled",
    "find_mri_anomalies": "Anomalies of the head were mapped",
}
RECORDED_VERSIONS = ("lamina", "torch", "diffusers", "numpy", "transformers", "monai", "nibabel")


def sha256_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_path(path: Path | str) -> str:
    """The SHA-256 of a file, or of what the files of a folder hold, whatever they are called."""
    if not Path(path).is_dir():
        return sha256_file(path)
    files = [file for file in Path(path).iterdir() if file.is_file()]
    return hashlib.sha256("\n".join(sorted(map(sha256_file, files))).encode()).hexdigest()


@contextmanager
def atomic_path(
    path: Path | str, *, overwrite: bool = False, lasting: bool = True
) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` when the block ends well.

    The temporary name is hidden and keeps the last two suffixes, so that libraries that choose
    a format by suffix (``.nii.gz``) still do. If the block raises, the temporary file is removed
    and ``path`` is as it was before.

    Args:
        path: Where the finished file shall stand. Its folder must exist.
        overwrite: Replace a file that already stands there.
        lasting: Wait until it would outlast a power cut; without, who reads it must check that it
            is whole.

    Raises:
        Refusal: The folder is missing, or the file exists and ``overwrite`` is false.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    suffixes = [suffix for suffix in path.suffixes[-2:] if len(suffix) <= LONGEST_SUFFIX]
    temporary = path.with_name(f".part-{secrets.token_hex(6)}" + "".join(suffixes))
    try:
        yield temporary
        if not temporary.is_file():
            raise RuntimeError(f"{path}: nothing was written to {temporary.name}, so no file.")
        if lasting:
            _flush(temporary)
        if not overwrite:
            check_target(path, overwrite=False)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_record(  # noqa: PLR0913  one argument for each chapter of the record
    path: Path | str,
    *,
    task: str,
    request: Mapping[str, Any],
    outputs: Mapping[str, Path],
    model: Mapping[str, Any],
    seeds: Any,
    timings: Mapping[str, float],
    inputs: Mapping[str, Path] | None = None,
    extra: Mapping[str, Any] | None = None,
    media: Mapping[Path, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the JSON record of one finished job and return its path.

    Args:
        path: Where the record goes, beside the result.
        task: The job's name, as its flow is called: ``"text_to_video"``.
        request: What was asked, as plain values.
        outputs: Role to file; each is hashed, in its final place.
        model: The model's own record (name, kind, sha256, objective, ...).
        seeds: The seed, or the seeds in order.
        timings: Stage to seconds; ``"total"``, if given, is the wall time, else the sum is.
        inputs: Role to file; each is hashed.
        extra: What else helps to understand it.
        media: File to its SHA-256 before it was signed, of those that are.
        overwrite: Replace a record that already stands there.

    Raises:
        Refusal: A value cannot be written as JSON, or the record exists already.
    """
    record = {
        "format_version": FORMAT_VERSION,
        "task": task,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "methods": methods_sentence(task, request, model, seeds),
        "request": dict(request),
        "seeds": seeds,
        "model": dict(model),
        "inputs": _described(inputs or {}, media or {}),
        "outputs": _described(outputs, media or {}),
        "timings_s": {name: round(seconds, 4) for name, seconds in timings.items()},
        "wall_time_s": round(timings.get("total", sum(timings.values())), 4),
        "peak_memory_mib": peak_memory_mib(),
        "versions": versions(),
        "compute": compute(),
        "extra": dict(extra or {}),
    }
    record |= {"intended_use": RESEARCH_USE} if _is_medical(task, model) else {}
    try:
        text = json.dumps(record, indent=2, allow_nan=False, default=_plain, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise Refusal(
            f"{Path(path).name}: {error}: a record holds only finite numbers, words, lists and "
            "tables; convert the value before recording it."
        ) from error
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return Path(path)


def model_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a result's record says of its model: name, kind, digest of the weights, adapter ..."""
    told = ("name", "kind", "objective", "backend", "precision", "lora", "space", "walk")
    kept = {name: record[name] for name in told if name in record}
    return {**kept, "sha256": record.get("sha256", {}).get("weights.safetensors", "unknown")}


def methods_sentence(
    task: str, request: Mapping[str, Any], model: Mapping[str, Any], seeds: Any
) -> str:
    """One sentence for a methods section: the job, the software, the model and its settings."""
    facts = [f"model {model.get('name', 'unnamed')}"]
    digest = model.get("sha256")
    if isinstance(digest, Mapping):  # a model folder's digests, by file name
        digest = digest.get("weights.safetensors")
    if digest:
        facts.append(f"weights sha256 {str(digest)[:12]}")
    if objective := model.get("objective"):
        facts.append(f"trained for {objective}")
    for name in ("sampler", "steps", "samples", "guidance"):
        if (value := request.get(name)) is not None:
            facts.append(f"{name} {value}")
    for name in ("control_clip", "control_scan", "reference"):
        if value := request.get(name):
            facts.append(f"{name.replace('_', ' ')} {Path(value).name}")
    if seeds is not None:
        facts.append(f"seed {seeds}")
    work = DEEDS.get(task, f"The task {task} was done")
    sentence = f"{work} with Lamina {_version('lamina')} ({', '.join(facts)})."
    return f"{sentence} {RESEARCH_USE}" if _is_medical(task, model) else sentence


def versions() -> dict[str, str]:
    """Versions of Python, of this project and of the libraries that shape a result."""
    found = {name: _version(name) for name in RECORDED_VERSIONS}
    return {"python": platform.python_version(), "platform": platform.platform(), **found}


def compute() -> dict[str, int | str]:
    """What the arithmetic ran on: sums are split over threads, so their number shapes the bits."""
    import torch

    from core.tensors import inference_dtype

    found: dict[str, int | str] = {
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "instructions": instructions(),
        "products": products(),
        "arithmetic": str(inference_dtype("cpu")).removeprefix("torch."),
        "numerics": NATIVE if torch.cuda.is_initialized() else numerics(),
    }
    if torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.get_device_name(_gpu_in_use())
    return found


def peak_memory_mib() -> dict[str, float]:
    """Largest resident memory of this process so far, and of its GPU where one is in use."""
    per_mib = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes there, KiB here
    peak = {"cpu": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib, 1)}
    torch = sys.modules.get("torch")  # who has not loaded it uses no GPU
    if torch is not None and torch.cuda.is_initialized():
        peak["gpu"] = round(torch.cuda.max_memory_allocated(_gpu_in_use()) / 2**20, 1)
    return peak


def _gpu_in_use() -> int:
    """The GPU of whose memory this process took most: it need not be the first."""
    import torch

    return max(range(torch.cuda.device_count()), key=torch.cuda.max_memory_allocated)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that no file can be written to, before any work is done.

    Raises:
        Refusal: The folder is missing, or the file exists and ``overwrite`` is false.
    """
    if not path.parent.is_dir():
        raise Refusal(
            f"{path}: the folder {path.parent} does not exist: files are written into folders "
            "that stand; create it first."
        )
    if path.is_dir():
        raise Refusal(f"{path} is a folder: the result is one file; add a file name.")
    if path.exists() and not overwrite:
        raise Refusal(
            f"{path} exists: results are never overwritten unasked; choose another name, "
            "remove the file, or ask for overwrite."
        )


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _described(files: Mapping[str, Path], media: Mapping[Path, str]) -> dict[str, dict[str, Any]]:
    return {
        role: {
            "file": Path(path).name,
            "bytes": _size(Path(path)),
            "sha256": sha256_path(path),
            **({"media_sha256": media[Path(path)]} if Path(path) in media else {}),
        }
        for role, path in files.items()
    }


def _size(path: Path) -> int:
    """Bytes of a file, or of the files of a folder."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _is_medical(task: str, model: Mapping[str, Any]) -> bool:
    return model.get("kind") == "mri" or "mri" in task.split("_")


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # torch and numpy values
        return value.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    raise TypeError(f"{value!r} of type {type(value).__name__} is not JSON")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
