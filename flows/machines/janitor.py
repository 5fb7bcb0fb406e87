"""Which runs are dead: the judgement behind ``tidy_runs``, apart from the server it asks.

A run is dead when its host says so, or when the host has been silent, and the run's own heartbeat
too, for a long time. Prefect's documented automation goes by heartbeats alone; it ends runs that
wait for a person, and healthy ones after the server was away.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.machines.hosts import Beat

GRACE_S = 30.0  # a younger state may not have reached every file yet


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A run that holds a place, as the server knows it.

    Attributes:
        run: The flow run.
        state: The present state; another attempt has another one.
        age_s: How long it has been in that state.
        worker: Name of the worker that took it; empty if none has said so.
        silence_s: How long ago its process last sent a heartbeat; None if never.
    """

    run: str
    state: str
    age_s: float
    worker: str
    silence_s: float | None


def verdict(seen: Sighting, beats: Mapping[str, Beat], lost_s: float) -> str:
    """Why the run is dead, or an empty string if it may be alive.

    Args:
        seen: The run.
        beats: What each worker last said.
        lost_s: A host or a run that has been silent for longer is lost.
    """
    fresh = [beat for beat in beats.values() if beat.fresh]
    if seen.age_s < GRACE_S or any(seen.run in beat.runs for beat in fresh):
        return ""
    said = beats.get(seen.worker)
    if said is not None and any(beat.host == said.host for beat in fresh):
        return f"{said.host} is up, and this run has no process there."
    silence = min(seen.age_s, seen.age_s if seen.silence_s is None else seen.silence_s)
    if silence < lost_s or (said is not None and said.age_s < lost_s):
        return ""
    where = said.host if said else seen.worker or "the worker that took it"
    return f"Nothing was heard of this run and of {where} for {silence:.0f} s."
