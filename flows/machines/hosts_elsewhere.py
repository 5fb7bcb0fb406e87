"""What is alive on hosts that share no disk: the same small files, told and heard in the store."""

import json
import logging
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from core.storage.faults import StoreAwayError, StoreRefusedError
from core.storage.place import place_of
from core.storage.store import Store, open_store
from flows.machines.hosts import FRESH_S, Beat, beat_of, beats
from flows.settings.settings import Settings, read_settings

logger = logging.getLogger(__name__)

TELL_EVERY_S = 6.0
PATIENCE_S = 3.0
FOLDER = ".hosts"
PROBES = ("now-", "turns-")  # small objects that are written to learn something of the store


def tell(settings: Settings, worker: str) -> None:
    """From now on tell other hosts what this worker's file says, from a thread of its own.

    A file that is no longer written is not told: its worker may hang.
    """
    store = open_store(settings, PATIENCE_S)
    if store is None:
        return
    path = settings.hosts / f"{worker}.json"

    def forever() -> None:
        while True:
            time.sleep(TELL_EVERY_S)
            try:
                tell_once(store, path)
            except (OSError, StoreRefusedError) as error:
                logger.warning("other hosts do not hear of %s: %s", worker, error)

    threading.Thread(target=forever, name="tell", daemon=True).start()


def tell_once(store: Store, path: Path) -> None:
    """Tell what a worker's file says, unless it is no longer written."""
    if time.time() - path.stat().st_mtime < FRESH_S:
        store.write(f"{FOLDER}/{path.name}", path.read_bytes())


def all_beats(folder: Path, *, whole: bool = False) -> dict[str, Beat]:
    """What each worker last said: in this folder, and in the store where one is named.

    Args:
        folder: Where the workers of this host say it.
        whole: Do not go without other hosts where the store is away, but raise its error: what
            they do not say must not be taken for silence.
    """
    store = open_store(read_settings(), PATIENCE_S)
    here = beats(folder)
    if store is None:
        return here
    try:
        return _heard(store) | here
    except (StoreAwayError, StoreRefusedError) as error:
        if whole:
            raise
        logger.warning("nothing is heard of other hosts: %s", error)
        return here


def forget(folder: Path, age: timedelta) -> None:
    """Remove what workers said that have been gone for long, and what was left by killed ones."""
    store = open_store(read_settings(), PATIENCE_S)
    for worker, said in all_beats(folder).items():
        if said.age_s > age.total_seconds():
            (folder / f"{worker}.json").unlink(missing_ok=True)
            if store:
                store.remove(f"{FOLDER}/{worker}.json")
    for probe in folder.glob(".now-*"):
        with suppress(FileNotFoundError):
            if time.time() - probe.stat().st_mtime > age.total_seconds():
                probe.unlink()
    if store:
        try:
            _forget_probes(store, age)
        except (StoreAwayError, StoreRefusedError) as error:
            logger.warning("what is left there is removed another time: %s", error)


def _forget_probes(store: Store, age: timedelta) -> None:
    told = store.names(FOLDER)
    latest = max((facts.changed for facts in told.values()), default=0.0)
    for name, facts in told.items():
        if name.startswith(PROBES) and latest - facts.changed > age.total_seconds():
            store.remove(f"{FOLDER}/{name}")


def _heard(store: Store) -> dict[str, Beat]:
    """Ages are differences of two times of the store, so hosts need not agree on the time."""
    probe = f"now-{place_of(store.outputs)}"
    store.write(f"{FOLDER}/{probe}", b"")
    told = store.names(FOLDER)
    now, found = told[probe].changed, {}
    for name, facts in told.items():
        content = store.read(f"{FOLDER}/{name}") if name.endswith(".json") else None
        try:
            said = beat_of(json.loads(content or b""), now - facts.changed)
        except (ValueError, KeyError, TypeError):
            continue  # nothing, or not what a worker writes
        found[said.worker] = said
    return found
