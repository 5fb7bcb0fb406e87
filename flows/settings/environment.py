"""What processes are told and asked by variables that are not Lamina's own: Prefect's and torch's.

Passwords are read here and nowhere else.
"""

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from core.numerics import arithmetic
from core.refusal import Refusal
from flows.settings.own_prefect import ALONE, past_proxies
from flows.settings.settings import Settings

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
        or settings.gallery_operator_header
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
