"""People of the user's own: how far heads can be traced to them, measured once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from medical.audit.tracing import seconds, trace
from medical.datasets.approval import RECORD
from medical.datasets.own_people import OwnHeads
from medical.datasets.plan import make_plan
from medical.datasets.publishing import Ground
from medical.files.bids import write_json

FORMAT = 2  # of the way of drawing and measuring; another number measures all anew
LINKAGE, SAID = "linkage", "said"
UNFINISHED_S = 86_400.0
"""For how long anatomies of a run that was killed are kept, so that another goes on with them."""
OnHead = Callable[[int, int], None]
AnyGround = TypeVar("AnyGround", bound=Ground)


def seconds_to_measure(ground: Ground, out: Path, kept: Path | None) -> float:
    """What measuring takes of one core; 0 where it was done or is not asked for."""
    if not known(ground, out, kept).plan.pending:
        return 0.0
    return seconds(len(ground.heads.people), ground.request.linkage_drawings)


def known(ground: AnyGround, out: Path | None, kept: Path | None) -> AnyGround:
    """The same with a plan that says what was measured before; as it is where nothing was.

    Args:
        ground: What a plan follows from.
        out: Folder of the dataset.
        kept: Folder where figures are kept by digest.

    Raises:
        Refusal: They may be recognized, and nobody accepted it.
    """
    if not ground.plan.pending:
        return ground
    if said := _standing(ground, out):
        plan = replace(
            ground.plan, said=tuple(said[SAID]), traced=said.get(LINKAGE), pending=False
        )
        return replace(ground, plan=plan)
    traced = _kept(ground, kept)
    return _saying(ground, traced) if traced else ground


def _saying(ground: AnyGround, traced: Mapping[str, Any]) -> AnyGround:
    plan = make_plan(ground.request, ground.heads, ground.atlas, traced)
    return replace(ground, plan=plan)


def settled(
    ground: AnyGround,
    out: Path | None,
    kept: Path | None = None,
    on_head: OnHead = lambda done, total: None,
) -> AnyGround:
    """The same with a plan that says how far the user's own people can be traced.

    Args:
        ground: Its people mapped.
        out: Folder of the dataset; what a finished one says is not measured again.
        kept: Folder where figures are kept by digest of the people and pools, so that others find
            them and a run goes on; None to keep none.
        on_head: Told how many of how many anatomies are drawn.

    Raises:
        Refusal: They may be recognized, and nobody accepted it.
    """
    found = known(ground, out, kept)
    return _saying(found, _measured(found, kept, on_head)) if found.plan.pending else found


def _standing(ground: Ground, out: Path | None) -> Mapping[str, Any]:
    """What a finished dataset of the same plan says of it; empty for none."""
    said = _read(out / RECORD).get("plan", {}) if out else {}
    return said if said.get("key") == ground.plan.key else {}


def _kept(ground: Ground, kept: Path | None) -> Mapping[str, Any]:
    return _read(kept / f"{_digest(ground)}.json") if kept else {}


def _measured(ground: Ground, kept: Path | None, on_head: OnHead) -> Mapping[str, Any]:
    """Measure, and keep what was found; anatomies only until then.

    Of runs that measure the same people one does, and others wait for its figures.
    """
    if not kept:
        with tempfile.TemporaryDirectory(prefix="lamina-") as folder:
            return _trace(ground, Path(folder), on_head)
    kept.mkdir(parents=True, exist_ok=True)
    _sweep(kept)
    if found := _kept(ground, kept):
        return found
    folder = kept / _digest(ground)
    with _held(folder):
        if found := _kept(ground, kept):
            return found
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # anatomies show people, and are their owner's alone
        found = _trace(ground, folder, on_head)
        write_json(folder.with_suffix(".json"), found)
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _trace(ground: Ground, folder: Path, on_head: OnHead) -> dict[str, Any]:
    assert isinstance(ground.heads, OwnHeads)
    pools = [[person.hash for person in pool] for pool in ground.plan.pools]
    count = ground.request.linkage_drawings
    found = trace(ground.heads.everyone(), pools, count, folder, on_head)
    return {**found, LINKAGE: _digest(ground)}


@contextmanager
def _held(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder of anatomies, which stands beside it, freed if the process dies.

    Args:
        folder: Of anatomies.
        wait: Wait for others; otherwise the block learns whether it holds the lock.
    """
    lock = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            ours = True
        except BlockingIOError:
            ours = False
        yield ours
    finally:
        os.close(lock)


def _sweep(kept: Path) -> None:
    """Remove anatomies that no run has drawn on for a day, and none is at work with."""
    for folder in [path for path in kept.iterdir() if path.is_dir()]:
        with _held(folder, wait=False) as ours:
            if ours and folder.is_dir() and time.time() - folder.stat().st_mtime > UNFINISHED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _digest(ground: Ground) -> str:
    """Of all that figures follow from."""
    pools = [[person.hash for person in pool] for pool in ground.plan.pools]
    told = [FORMAT, ground.heads.digest, ground.request.linkage_drawings, pools]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict[str, Any](json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or cut short: measured anew
        return {}
