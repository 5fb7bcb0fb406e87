"""Which server the commands ask: the running stack, else the one that the operator set."""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from typing import Any

from flows.settings.environment import CLIENT_PASSWORD, SERVER_PASSWORD, adopt, sign_in
from flows.settings.own_prefect import BARE, import_prefect
from flows.settings.settings import Settings
from flows.stack.stack import running_address

KEPT = (SERVER_PASSWORD, CLIENT_PASSWORD)


@contextmanager
def one_server(settings: Settings) -> Iterator[str]:
    """The address of the API that Prefect asks within the block, empty for none.

    Where a stack runs, whatever else the environment says about Prefect is of other work: its
    keys and profiles are not shown to the stack, nor the stack's runs to another server. Comes
    before Prefect is imported for the first time.
    """
    if address := running_address(settings):
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            if name not in KEPT:
                del os.environ[name]
        adopt(settings)
        os.environ.update({"PREFECT_API_URL": f"{address}/api"} | sign_in())
    import_prefect()
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_SERVER_EPHEMERAL_ENABLED,
        temporary_settings,
    )

    url = os.environ.get("PREFECT_API_URL", "")
    asked: dict[Any, Any] = {PREFECT_SERVER_EPHEMERAL_ENABLED: False}
    asked |= {PREFECT_API_URL: url} if url else {}
    choice = temporary_settings(asked, restore_defaults=None if url else {PREFECT_API_URL})
    with chdir(BARE):
        choice.__enter__()
    try:
        yield url
    finally:
        choice.__exit__(None, None, None)
