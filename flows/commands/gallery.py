"""``lamina gallery``: the gallery on an origin of its own, for behind a proxy."""

import socket

from core.refusal import Refusal
from flows.settings.environment import is_loopback
from flows.settings.settings import read_settings

PORT = 4210


def gallery(*, host: str = "127.0.0.1", port: int = PORT) -> None:
    """Serve the gallery alone, until Ctrl-C.

    It shows what stands under the outputs root. `lamina up` serves it, too, beside Prefect.

    Args:
        host: Address to listen at. Any but this machine's own needs LAMINA_GALLERY_TOKENS.
        port: Port to listen at.
    """
    import uvicorn

    from flows.gallery.application import PREFIX, alone

    settings = read_settings()
    if not is_loopback(host) and settings.gallery_tokens is None:
        raise Refusal(
            f"--host {host}: a gallery that others can reach must know who may see what; name "
            "the file of users in LAMINA_GALLERY_TOKENS, or listen at 127.0.0.1."
        )
    application = alone(settings)
    with _ear(host, port) as ear:
        print(f"The gallery is at http://{host}:{port}{PREFIX}/. Ctrl-C ends it.", flush=True)
        config = uvicorn.Config(application, log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[ear])
    raise KeyboardInterrupt  # it was told to stop, and does not always say so itself


def _ear(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        Refusal: There is no such address here, or another program listens.
    """
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=kind)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refusal(
            f"--host {host} --port {port}: nothing can listen there ({reason}): the gallery "
            "needs an address of this machine and a port that no other program has; name another."
        ) from error
