"""Places: where Lamina's own environment variables are read.

A request says what to make; a place says where things stand on this machine. Requests are
pydantic models and travel through the API; places are read here, once, from the environment.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from core.numerics import arithmetic
from core.refusal import Refusal
from flows.settings.own_prefect import ALONE, past_proxies
from flows.settings.rules import (
    PREFERRED_PORT,
    device_of,
    folder_of,
    folders_of,
    gpus_of,
    pages_of,
    port_of,
    price_of,
    quotas_of,
    ray_of,
    store_of,
)

SERVER_PASSWORD, CLIENT_PASSWORD = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"

# Jobs share the cores: a thread that waits by spinning makes every job many times slower.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}

# What a worker of a server elsewhere takes for granted, unless its environment says otherwise.
JOINING = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}

# What an operator may say about the server's own backends: database, messages, leases, retention.
BACKENDS = (
    "PREFECT_API_DATABASE_",
    "PREFECT_REDIS_",
    "PREFECT_SERVER_CONCURRENCY_",
    "PREFECT_SERVER_DATABASE_",
    "PREFECT_SERVER_DOCKET_",
    "PREFECT_SERVER_EVENTS_",
    "PREFECT_SERVER_SERVICES_",
)


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
            "LAMINA_STORE": self.store,
            "LAMINA_INPUTS": os.pathsep.join(map(str, self.inputs)),
            "LAMINA_MEDICAL_PAGES": self.pages,
            "LAMINA_QUOTA_GB": ",".join(
                f"{name}={gb:.12f}" if name else f"{gb:.12f}" for name, gb in self.quotas.items()
            ),
            "LAMINA_GPU_HOUR_PRICE": f"{self.gpu_hour_price:.12f}",
        }


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
        gpus=gpus_of(variables.get("LAMINA_GPUS", "")),
        slot=variables.get("LAMINA_SLOT", ""),
        ray=ray_of(variables.get("LAMINA_RAY", "")),
        store=store_of(variables.get("LAMINA_STORE", "").rstrip("/")),
        inputs=folders_of("LAMINA_INPUTS", variables.get("LAMINA_INPUTS", "")),
        pages=pages_of(variables.get("LAMINA_MEDICAL_PAGES", "")),
        quotas=quotas_of(variables.get("LAMINA_QUOTA_GB", "")),
        gpu_hour_price=price_of(variables.get("LAMINA_GPU_HOUR_PRICE", "")),
    )


def is_shared(settings: Settings, environment: Mapping[str, str] | None = None) -> bool:
    """Whether others than the person at this machine may start runs on it.

    So it is where the server runs elsewhere, asks for a password, or has a gallery with users.

    Args:
        settings: Places.
        environment: Variables to read; by default those of this process.
    """
    variables = os.environ if environment is None else environment
    host = urlsplit(variables.get("PREFECT_API_URL", "")).hostname
    return bool(
        settings.gallery_tokens
        or settings.gallery_user_header
        or variables.get(SERVER_PASSWORD)
        or variables.get(CLIENT_PASSWORD)
        or (host and not is_loopback(host))
    )


def server_password() -> str:
    """What a server started here shall ask everybody for, as ``name:password``; empty for none."""
    return os.environ.get(SERVER_PASSWORD, "")


def client_password() -> str:
    """What this process tells a server that asks; empty for none."""
    return os.environ.get(CLIENT_PASSWORD, "") or server_password()


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine, whatever a resolver says."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def adopt(settings: Settings) -> None:
    """Make these places this process's own, for ``core`` to find the operator's models.

    Prefect, too, then keeps to the state folder, starts no server and tells nobody. Comes before
    torch is imported, which reads how its threads should wait only once.
    """
    home = {"PREFECT_HOME": str(settings.home / "prefect")}
    ours = {**ALONE, **past_proxies(), **settings.environment()}
    os.environ.update({**WAITING, **home, **os.environ, **ours, **arithmetic()})


def child_environment(settings: Settings, extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without foreign Prefect settings, with ours and ``extra``."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return {**WAITING, **inherited, **past_proxies(), **settings.environment(), **extra}


def backends() -> dict[str, str]:
    """What this process's environment says about the server's backends; only a server needs it.

    Raises:
        Refusal: The server shall listen to other machines.
    """
    host = os.environ.get("PREFECT_SERVER_API_HOST", "")
    if host and not is_loopback(host):
        raise Refusal(
            f"PREFECT_SERVER_API_HOST={host}: lamina up serves this machine alone, as whoever "
            "reaches the server may run anything here; unset it, and put a proxy that asks for a "
            "password in front, such as infra/Caddyfile."
        )
    secret = server_password()
    asks = {SERVER_PASSWORD: secret} if secret else {}
    return asks | {k: v for k, v in os.environ.items() if k.startswith(BACKENDS)}


def sign_in() -> dict[str, str]:
    """The variable by which children of this process tell the server what it asks for."""
    secret = server_password()
    return {CLIENT_PASSWORD: secret} if secret else {}


def joining_environment(settings: Settings) -> dict[str, str]:
    """This process's environment with its Prefect settings, for workers of that server.

    Raises:
        Refusal: No server is named.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise Refusal(
            "PREFECT_API_URL is not set: a worker serves a server that runs elsewhere; set it, "
            "such as http://host:4200/api, or use lamina up."
        )
    return {**WAITING, **JOINING, **os.environ, **past_proxies(), **settings.environment()}
