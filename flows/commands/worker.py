"""``lamina worker``: more machines for a server that runs elsewhere."""

import sys
import time
from typing import Literal

from flows.machines.children import Family
from flows.machines.pools import GPU, POOLS, places
from flows.settings.environment import joining_environment
from flows.settings.folders import make_places
from flows.settings.settings import read_settings
from flows.stack.stack import ended_by_signals
from flows.storage.delivery import check_store

LOOK_EVERY_S = 0.5


def worker(*, pool: Literal["cpu", "gpu"] = GPU, register: bool = False) -> None:
    """Serve a pool of the server at PREFECT_API_URL with this machine, until Ctrl-C.

    Only calls out, over HTTP. One worker per GPU is started, and started again if it dies.

    Args:
        pool: What to serve: gpu to sample, cpu to coordinate.
        register: First create or refresh the server's pools and deployments.
    """
    settings = read_settings()
    check_store()
    environment = joining_environment(settings)
    here = places(pool, settings)
    everywhere = [place for name in POOLS for place in places(name, settings)]
    make_places(settings)
    family = Family(settings.logs)
    with ended_by_signals():
        try:
            for place in here:
                to_prepare = everywhere if register and place is here[0] else []
                module = [
                    "flows.machines.worker",
                    *(each.write() for each in (place, *to_prepare)),
                ]
                family.start(place.name, module, environment | place.environment())
                print(f"{place.name}: log in {settings.logs / place.name}.log", flush=True)
            while True:
                time.sleep(LOOK_EVERY_S)
                for name in family.mend():
                    sys.stderr.write(f"{name} had ended by itself and was started again.\n")
        finally:
            family.end()
