"""``lamina gallery``: the gallery on an origin of its own, for behind a proxy."""

from core.refusal import Refusal
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
    from flows.gallery.guard import is_loopback

    settings = read_settings()
    if not is_loopback(host) and settings.gallery_tokens is None:
        raise Refusal(
            f"--host {host}: a gallery that others can reach must know who may see what; name "
            "the file of users in LAMINA_GALLERY_TOKENS, or listen at 127.0.0.1."
        )
    application = alone(settings)
    print(f"The gallery is at http://{host}:{port}{PREFIX}/. Ctrl-C ends it.", flush=True)
    uvicorn.run(application, host=host, port=port, log_level="warning")
