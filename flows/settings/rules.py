"""What the text of a variable may say: each rule returns what it means or refuses it."""

import errno
import os
import re
from pathlib import Path

from core.refusal import Refusal

PREFERRED_PORT = 4200
LARGEST_PORT = 65535
KERNEL = (Path("/proc"), Path("/sys"))
NO_NAMES = (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)


def folder_of(variable: str, text: str) -> Path:
    """A folder, absolute, whether it is there yet or not."""
    path = Path(text)
    try:
        path = path.expanduser().resolve()
        above = next(part for part in (path, *path.parents) if part.exists())
        unfit = "" if above.is_dir() else f"{above} is no folder"
        if is_of_the_kernel(path):
            unfit = f"{above} shows the kernel and keeps no files"
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is none
        if getattr(error, "errno", None) not in (None, *NO_NAMES):
            return path.absolute()  # a disk that is away comes back
        unfit = " ".join(str(error).split())
    if unfit:
        raise Refusal(
            f"{variable}={text}: {unfit}: files are kept in a folder; name one, or move away what "
            "is in its place."
        )
    return path


def is_of_the_kernel(path: Path) -> bool:
    """Whether a place lies where no file can be made, whoever asks, or none should be."""
    path = path.resolve()
    if any(path.is_relative_to(root) for root in KERNEL):
        return True
    above = next(part for part in (path, *path.parents) if part.exists())
    return above.stat().st_dev in [root.stat().st_dev for root in KERNEL if root.is_mount()]


def folders_of(variable: str, text: str) -> tuple[Path, ...]:
    """The folders in a list that colons separate, absolute."""
    return tuple(folder_of(variable, name) for name in text.split(os.pathsep) if name)


def device_of(text: str) -> str:
    """The name of a device."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise Refusal(
            f"LAMINA_DEVICE={text}: a device is auto, cpu, cuda or cuda:N; set one of these."
        )
    return text


def port_of(text: str) -> int:
    """The number of a port."""
    if not text.isdecimal() or not 0 < int(text) <= LARGEST_PORT:
        raise Refusal(
            f"LAMINA_PORT={text}: a port is a number from 1 to {LARGEST_PORT}; try "
            f"{PREFERRED_PORT}."
        )
    return int(text)


def gpus_of(text: str) -> str:
    """How many GPUs to serve, or nothing for all."""
    if not re.fullmatch(r"|[1-9]\d{0,2}", text):
        raise Refusal(
            f"LAMINA_GPUS={text}: it is the number of GPUs to serve, 1 to 999; set a number, or "
            "leave it empty to take all."
        )
    return text


def ray_of(text: str) -> str:
    """How many Ray workers, or the address of a cluster."""
    if not re.fullmatch(r"|auto|[1-9]\d?|[\w.-]+:\d{1,5}", text):
        raise Refusal(
            f"LAMINA_RAY={text}: it is the number of Ray workers in a shard, 1 to 99, or the "
            "address of a Ray cluster; set one, such as 4 or head:6379, or leave it empty."
        )
    return text


def store_of(text: str) -> str:
    """The URL of a store, which holds no secret."""
    if not text:
        return ""
    kind, found, rest = text.partition("://")
    if not (found and kind.isalnum() and rest.strip("/")):
        raise Refusal(
            f"LAMINA_STORE={text}: a store is an fsspec URL with a bucket or folder; write such "
            "as s3://bucket/prefix or file:///srv/store."
        )
    if "@" in rest.partition("/")[0]:
        raise Refusal(
            f"LAMINA_STORE={kind}://...@...: a URL is written into logs, so it holds no name and "
            "no password; put them into the environment, for S3 AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY."
        )
    return text


def pages_of(text: str) -> str:
    """How much Prefect's pages show of medical runs, or nothing for what fits the gallery."""
    if text not in ("", "full", "private"):
        raise Refusal(
            f"LAMINA_MEDICAL_PAGES={text}: Prefect's pages of medical runs are full or private; "
            "set one, or leave it empty: private where the gallery has users."
        )
    return text


def quotas_of(text: str) -> dict[str, float]:
    """Gigabytes by project; those of the empty name are for all others."""
    found: dict[str, float] = {}
    for word in text.replace(",", " ").split():
        name, _, amount = word.rpartition("=")
        if not re.fullmatch(r"\d+(\.\d+)?", amount) or name in found:
            raise Refusal(
                f"LAMINA_QUOTA_GB={text}: it is the most gigabytes of each project's results, and "
                "after it those of single projects; write such as 200 or 200,ward-3=500."
            )
        found[name] = float(amount)
    return found


def price_of(text: str) -> float:
    """What an hour of a device costs; 0 for nothing."""
    if not re.fullmatch(r"|\d+(\.\d+)?", text):
        raise Refusal(
            f"LAMINA_GPU_HOUR_PRICE={text}: it is what an hour of one device costs, a number; "
            "write such as 2.5, or leave it empty."
        )
    return float(text or 0)
