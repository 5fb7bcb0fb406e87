"""Places: where Lamina's own environment variables are read.

A request says what to make; a place says where things stand on this machine. Requests are
pydantic models and travel through the API; places are read here, once, from the environment.
"""

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.refusal import Refusal
from core.storage.place import is_of_the_kernel

PREFERRED_PORT = 4200
LARGEST_PORT = 65535
NO_NAMES = (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where state, results and models stand, and which device computes.

    Attributes:
        home: State folder: the server's database, logs, locks, unfinished work.
        outputs: Root of everything that flows write.
        models: Folders of the operator's own models, searched before the shipped ones; new
            models are written to the first.
        engines: Folders that hold engines of video, each a folder of diffusers.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        port: The server's port, if it is free.
        gpus: How many GPUs to serve, real ones first, then pretended ones that compute on the
            CPU; empty to take what the machine has.
        slot: Which pretended GPU this process was given, empty for none.
        ray: Warm Ray workers inside each shard: how many to start with it, or the address of a
            standing cluster, ``"host:port"`` or ``"auto"``; empty for none.
        gallery_tokens: The file that says who may see which project in the gallery; None for an
            open gallery.
        gallery_user_header: Header in which a trusted proxy names the user; empty for none.
        gallery_operator_header: The same of who may ask for clips at ``/v1/videos``.
        store: An fsspec URL where hosts without a shared disk meet; empty for none.
        inputs: Folders of files that a request may name, beside results and models; empty where
            it may name what the worker may read, or, on a shared server, nothing else.
        pages: ``"private"`` keeps pictures and file names of medical runs out of Prefect's
            pages, ``"full"`` shows them; empty: private where the gallery has users.
        quotas: The most gigabytes that results of each project may take, by its name; those of
            the empty name are for all others.
        gpu_hour_price: What an hour of one device costs, in the operator's money; 0 if untold.
    """

    home: Path
    outputs: Path
    models: tuple[Path, ...]
    device: str
    port: int
    engines: tuple[Path, ...] = ()
    gpus: str = ""
    slot: str = ""
    ray: str = ""
    gallery_tokens: Path | None = None
    gallery_user_header: str = ""
    gallery_operator_header: str = ""
    store: str = ""
    inputs: tuple[Path, ...] = ()
    pages: str = ""
    quotas: Mapping[str, float] = field(default_factory=dict, hash=False)
    gpu_hour_price: float = 0.0

    @property
    def private(self) -> bool:
        """Whether Prefect's pages, which know no projects, keep quiet about medical results."""
        users = self.gallery_tokens is not None or bool(self.gallery_user_header)
        return self.pages == "private" or (users and not self.pages)

    @property
    def work(self) -> Path:
        """Folder of files that stages hand to each other while a run lasts."""
        return self.home / "work"

    @property
    def hosts(self) -> Path:
        """Folder where each host tells all others which runs are alive on it."""
        return self.outputs / ".hosts"

    @property
    def locks(self) -> Path:
        """Folder of this host's lock files."""
        return self.home / "locks"

    @property
    def logs(self) -> Path:
        """Folder of the server's and the worker's logs."""
        return self.home / "logs"

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these same places, made absolute."""
        return {
            "LAMINA_HOME": str(self.home),
            "LAMINA_OUTPUTS": str(self.outputs),
            "LAMINA_MODELS": os.pathsep.join(map(str, self.models)),
            "LAMINA_ENGINES": os.pathsep.join(map(str, self.engines)),
            "LAMINA_DEVICE": self.device,
            "LAMINA_PORT": str(self.port),
            "LAMINA_GPUS": self.gpus,
            "LAMINA_SLOT": self.slot,
            "LAMINA_RAY": self.ray,
            "LAMINA_GALLERY_TOKENS": str(self.gallery_tokens or ""),
            "LAMINA_GALLERY_PROXY_USER_HEADER": self.gallery_user_header,
            "LAMINA_GALLERY_PROXY_OPERATOR_HEADER": self.gallery_operator_header,
            "LAMINA_STORE": self.store,
            "LAMINA_INPUTS": os.pathsep.join(map(str, self.inputs)),
            "LAMINA_MEDICAL_PAGES": self.pages,
            "LAMINA_QUOTA_GB": ",".join(
                f"{name}={gb:.12f}" if name else f"{gb:.12f}" for name, gb in self.quotas.items()
            ),
            "LAMINA_GPU_HOUR_PRICE": f"{self.gpu_hour_price:.12f}",
        }


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


def folders_of(variable: str, text: str) -> tuple[Path, ...]:
    """The folders in a list that colons separate, absolute."""
    return tuple(folder_of(variable, name) for name in text.split(os.pathsep) if name)


def _fitting(variable: str, text: str, pattern: str, rule: str) -> str:
    """The text, where it is of the form that the rule tells."""
    if not re.fullmatch(pattern, text):
        raise Refusal(f"{variable}={text}: {rule}")
    return text


def device_of(text: str) -> str:
    """The name of a device."""
    rule = "a device is auto, cpu, cuda or cuda:N; set one of these."
    return _fitting("LAMINA_DEVICE", text, r"auto|cpu|cuda(:\d+)?", rule)


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
    rule = (
        "it is the number of GPUs to serve, 1 to 999; set a number, or leave it empty to take all."
    )
    return _fitting("LAMINA_GPUS", text, r"|[1-9]\d{0,2}", rule)


def ray_of(text: str) -> str:
    """How many Ray workers, or the address of a cluster."""
    rule = (
        "it is the number of Ray workers in a shard, 1 to 99, or the address of a Ray cluster; "
        "set one, such as 4 or head:6379, or leave it empty."
    )
    return _fitting("LAMINA_RAY", text, r"|auto|[1-9]\d?|[\w.-]+:\d{1,5}", rule)


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


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The places that the variables ``LAMINA_...`` name, one per attribute of ``Settings``.

    Args:
        environment: Variables to read; by default those of this process.

    Raises:
        Refusal: A variable holds something that cannot be what it names.
    """
    variables = os.environ if environment is None else environment
    home = folder_of("LAMINA_HOME", variables.get("LAMINA_HOME") or ".lamina")
    outputs = variables.get("LAMINA_OUTPUTS") or str(home / "outputs")
    tokens = variables.get("LAMINA_GALLERY_TOKENS", "")
    return Settings(
        home=home,
        outputs=folder_of("LAMINA_OUTPUTS", outputs),
        models=folders_of("LAMINA_MODELS", variables.get("LAMINA_MODELS", ""))
        or (home / "models",),
        engines=folders_of("LAMINA_ENGINES", variables.get("LAMINA_ENGINES", ""))
        or (home / "engines",),
        device=device_of(variables.get("LAMINA_DEVICE") or "auto"),
        port=port_of(variables.get("LAMINA_PORT") or str(PREFERRED_PORT)),
        gallery_tokens=Path(tokens).expanduser().resolve() if tokens else None,
        gallery_user_header=variables.get("LAMINA_GALLERY_PROXY_USER_HEADER", ""),
        gallery_operator_header=variables.get("LAMINA_GALLERY_PROXY_OPERATOR_HEADER", ""),
        gpus=gpus_of(variables.get("LAMINA_GPUS", "")),
        slot=variables.get("LAMINA_SLOT", ""),
        ray=ray_of(variables.get("LAMINA_RAY", "")),
        store=store_of(variables.get("LAMINA_STORE", "").rstrip("/")),
        inputs=folders_of("LAMINA_INPUTS", variables.get("LAMINA_INPUTS", "")),
        pages=pages_of(variables.get("LAMINA_MEDICAL_PAGES", "")),
        quotas=quotas_of(variables.get("LAMINA_QUOTA_GB", "")),
        gpu_hour_price=price_of(variables.get("LAMINA_GPU_HOUR_PRICE", "")),
    )
