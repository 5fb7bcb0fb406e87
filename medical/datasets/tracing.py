"""People of the user's own: how far heads can be traced to them, measured once and kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from medical.audit.tracing import seconds, trace
from medical.datasets.approval import RECORD
from medical.datasets.own_people import OwnHeads
from medical.datasets.plan import make_plan
from medical.datasets.publishing import Ground
from medical.files.bids import write_json

FORMAT = 1  # of the way of measuring; another number measures all anew
LINKAGE, SAID = "linkage", "said"
OnHead = Callable[[int, int], None]
OfPlan = TypeVar("OfPlan", bound=Ground)


def seconds_to_measure(ground: Ground, out: Path, kept: Path | None) -> float:
    """What measuring takes of one core; 0 where it was done or is not asked for."""
    if not ground.plan.pending or _standing(ground, out) or _kept(ground, kept):
        return 0.0
    return seconds(len(ground.heads.people), ground.request.linkage_drawings)


def settled(
    ground: OfPlan,
    out: Path | None,
    kept: Path | None = None,
    on_head: OnHead = lambda done, total: None,
) -> OfPlan:
    """The same with a plan that says how far the user's own people can be traced.

    Args:
        ground: OfPlan, its people mapped.
        out: Folder of the dataset; what a finished one says is not measured again.
        kept: Folder where figures are kept by digest of the people and pools, so that others find
            them and a run goes on; None to keep none.
        on_head: Told how many of how many anatomies are drawn.

    Raises:
        Refusal: They may be recognized, and nobody accepted it.
    """
    if not ground.plan.pending:
        return ground
    said = _standing(ground, out)
    if said:
        plan = replace(
            ground.plan, said=tuple(said[SAID]), traced=said.get(LINKAGE), pending=False
        )
        return replace(ground, plan=plan)
    traced = _kept(ground, kept) or _measured(ground, kept, on_head)
    plan = make_plan(ground.request, ground.heads, ground.atlas, traced)
    return replace(ground, plan=plan)


def _standing(ground: Ground, out: Path | None) -> Mapping[str, Any]:
    """What a finished dataset of the same plan says of it; empty for none."""
    said = _read(out / RECORD).get("plan", {}) if out else {}
    return said if said.get("key") == ground.plan.key else {}


def _kept(ground: Ground, kept: Path | None) -> Mapping[str, Any]:
    return _read(kept / f"{_digest(ground)}.json") if kept else {}


def _measured(ground: Ground, kept: Path | None, on_head: OnHead) -> Mapping[str, Any]:
    """Measure, and keep what was found; anatomies only until then."""
    assert isinstance(ground.heads, OwnHeads)
    pools = [[person.hash for person in pool] for pool in ground.plan.pools]
    count, name = ground.request.linkage_drawings, _digest(ground)
    place = nullcontext(kept / name) if kept else tempfile.TemporaryDirectory(prefix="lamina-")
    with place as folder:
        found = trace(ground.heads.everyone(), pools, count, Path(folder), on_head)
    found[LINKAGE] = name
    if kept:
        write_json(kept / f"{name}.json", found)
        shutil.rmtree(kept / name, ignore_errors=True)
    return found


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
