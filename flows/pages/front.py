"""What of a run is seen first among its artifacts: a card with a title and a small picture.

Prefect's page sorts a run's artifacts by their identities, which are random. So whatever must come
first is made anew until chance puts it there.
"""

import base64
import binascii
import io
import logging
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

logger = logging.getLogger(__name__)

MOST_TRIES = 40
HALF = UUID(int=1 << 127)
SMALL, QUALITY, LARGEST = 160, 60, 24_000  # pixels and bytes of a card's picture


def card(title: str, picture: str) -> str:
    """A card's text in markdown: its title, which holds no markup, and its picture made small.

    Args:
        title: Without signs that markdown reads.
        picture: A data URI.
    """
    small = _small(picture)
    return f"**{title}**\n\n![]({small})" if small else f"**{title}**"


def bring_to_front(page: UUID) -> None:
    """Have an artifact come first in its run's page; where the server is away, it stays."""
    try:
        with get_client(sync_client=True) as client:
            _bring(client, page)
    except Exception as error:  # the result stands all the same
        logger.warning("the preview may not come first: %s", error)


def _bring(client: SyncPrefectClient, page: UUID) -> None:
    found = {artifact.id: artifact for artifact in _of_the_run(client, page)}
    first = found.pop(page)
    for _ in range(MOST_TRIES):
        before = max(found, default=first.id)
        if before <= first.id:
            return
        if first.id < HALF:
            first = _again(client, first)
        else:
            other = _again(client, found.pop(before))
            found[other.id] = other


def _of_the_run(client: SyncPrefectClient, page: UUID) -> list[Artifact]:
    run = client.request("GET", "/artifacts/{id}", path_params={"id": page}).json()["flow_run_id"]
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    return client.read_artifacts(artifact_filter=wanted)


def _again(client: SyncPrefectClient, artifact: Artifact) -> Artifact:
    """The same artifact with another identity."""
    kept: dict[str, Any] = {
        name: getattr(artifact, name)
        for name in ("key", "type", "description", "data", "flow_run_id", "task_run_id")
    }
    made = client.create_artifact(ArtifactCreate(**kept))
    client.request("DELETE", "/artifacts/{id}", path_params={"id": artifact.id})
    return made


def _small(picture: str) -> str:
    """The picture, moving as it does, small enough to stand in a list; empty if it cannot be."""
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2], validate=True)))
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
    except (binascii.Error, UnidentifiedImageError, OSError):
        return ""
    for frame in frames:
        frame.thumbnail((SMALL, SMALL))
    buffer, lasts = io.BytesIO(), image.info.get("duration", 125)
    more: dict[str, Any] = (
        {"save_all": True, "append_images": frames[1:], "duration": lasts, "loop": 0}
        if len(frames) > 1
        else {}
    )
    frames[0].save(buffer, "WEBP", quality=QUALITY, **more)
    if buffer.tell() > LARGEST:
        buffer = io.BytesIO()
        frames[0].save(buffer, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
