"""Jobs at servers that are under way, kept on disk by what was asked."""

import hashlib
import json

from video.engines.places import states_folder
from video.engines.videos_client import JOB
from video.request import VideoRequest


class KeptJob:
    """Which job at a server makes a clip, kept on disk so that it is not asked for twice."""

    def __init__(self, server: str, request: VideoRequest) -> None:
        """Take the place.

        Args:
            server: Its name.
            request: Settled.
        """
        asked = request.model_dump(mode="json", exclude={"engine"})
        if request.first:  # servers take no other pictures
            from video.engines.pictures import digests

            asked |= digests(request)
        text = json.dumps([server, asked], sort_keys=True)
        self.name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.path = states_folder() / f"{self.name}.job"

    def read(self) -> str:
        """Its id; empty where none is kept."""
        text = self.path.read_text() if self.path.is_file() else ""
        return text if JOB.fullmatch(text) else ""

    def keep(self, job: str) -> None:
        """Write the id down."""
        from core.records import atomic_path

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path, overwrite=True) as temporary:
            temporary.write_text(job)

    def forget(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
