"""The server's clock, by which runs are due and states are stamped; a host's own may be off.

Prefect's worker asks for what is due by its host's clock, and a client that names no time for a
new run sends its own: on hosts that disagree by hours, runs would wait for hours.
"""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx import Response
    from prefect.client.orchestration import PrefectClient, SyncPrefectClient

HEALTH = "/health"


def server_time(client: "SyncPrefectClient") -> float:
    """The time by the server's clock, as ``time.time`` would tell it there."""
    return _told(client.request("GET", HEALTH))


def server_now() -> datetime:
    """The time by the server's clock, to say that a new run is due at once."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return datetime.fromtimestamp(server_time(client), UTC)


async def lead_s(client: "PrefectClient") -> float:
    """How many seconds the server's clock is ahead of this host's."""
    return _told(await client.request("GET", HEALTH)) - time.time()


def _told(answer: "Response") -> float:
    said = answer.headers.get("date")
    return parsedate_to_datetime(said).timestamp() if said else time.time()
