"""Prefect as the environment sets it, whatever lies in the working folder or at home.

Prefect also reads ``prefect.toml``, ``pyproject.toml`` and ``.env`` of the folder it is imported
in: those of other people's projects would lead it to other databases and servers, or break it.
``python -m flows.settings.own_prefect MODULE ...`` runs a module for which they do not exist.
"""

import os
import runpy
import sys
from contextlib import chdir, suppress
from pathlib import Path
from urllib.request import getproxies_environment
from warnings import catch_warnings, filterwarnings

HERE = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = "*"
BARE = Path(__file__).parent  # a folder that holds no settings of Prefect

# No server is started unasked, and nobody is told that Prefect is used.
ALONE = {
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def past_proxies() -> dict[str, str]:
    """The variables by which this machine is reached directly; none where there is no proxy."""
    proxies = getproxies_environment()
    known = [word.strip() for word in proxies.pop("no", "").split(",") if word.strip()]
    if not proxies or EVERYWHERE in known:
        return {}
    names = ",".join([*known, *(name for name in HERE if name not in known)])
    return {"no_proxy": names, "NO_PROXY": names}


def import_prefect() -> None:
    """Import Prefect where no file says anything about it, so that it reads its settings now."""
    if home := os.environ.get("PREFECT_HOME"):
        with suppress(OSError):  # as Prefect does, which makes the last part alone
            Path(home).parent.mkdir(parents=True, exist_ok=True)
    with chdir(BARE), catch_warnings():
        filterwarnings("ignore", "Failed to create the Prefect home")  # who writes there complains
        from prefect.settings import get_current_settings

        get_current_settings()


def main(module: str, *words: str) -> None:
    """Run a module as Python's own ``-m`` does, with Prefect imported before."""
    import_prefect()
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
