"""From a request to a batch on disk, planned; the same request continues what stands there."""

import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

from core.refusal import Refusal
from core.storage.journal import held, now, read_lines
from flows.batches.counts import sampled_s
from flows.batches.inputs import deliver_inputs
from flows.batches.item import Item
from flows.batches.items import items_of
from flows.batches.ledger import ENDED, Batch, Outcome, intact, unfinished
from flows.batches.locks import coordinated, planning
from flows.batches.plan import Plan, check_room, make_plan
from flows.requests.batch_requests import BatchRequest
from flows.settings.settings import Settings

ELSEWHERE_S = 60.0
UNFINISHED = ".part-"  # how names begin of files and folders under way


def plan_batch(batch: Batch, request: BatchRequest, asked: tuple[list[Item], list[str]]) -> Plan:
    """What is to be done, given what stands; nothing is written.

    Args:
        batch: Where it stands, or will.
        request: What was asked.
        asked: Its items and the rows that repeat others, from ``items_of``.
    """
    items, repeated = asked
    known = batch.outcomes() if batch.exists() else {}
    draws = request.most_draws
    there = batch.exists()
    standing = [x.address for x in items if there and intact(batch, x, known.get(x.address))]
    settled = [
        address
        for address, outcome in known.items()
        if outcome["state"] != "made" and not unfinished(outcome, draws)
    ]
    return make_plan(
        items,
        standing,
        settled=settled,
        repeated=repeated,
        shard_minutes=request.limits.shard_minutes,
        measured_s=_measured(known),
        left_out=request.left_out(),
        from_folder=request.source.name != "" and request.source.is_dir(),
    )


def start_batch(
    batch: Batch, request: BatchRequest, plan: Plan, *, state: str = "running"
) -> None:
    """Write the plan down, or keep the one on disk if it still holds.

    Args:
        batch: Where.
        request: What was asked.
        plan: From ``plan_batch``.
        state: The batch's then.

    Raises:
        Refusal: The disk is too small, or shards of another plan are still at work.
    """
    check_room(plan.bytes_needed, free_bytes(batch.root), request.limits.reserve_gb)
    with planning(batch) as nobody_works:
        if _holds(batch, request, plan):
            batch.change(state=state, reason="")
        elif nobody_works:
            described = _described(batch, request, plan) | {"state": state}
            batch.create(described, list(plan.items))
        else:
            raise Refusal(
                f"{batch.root.name}: shards of an earlier request are still at work: a batch "
                f"changes only when none is; wait, or `lamina batch cancel {batch.root.name}`."
            )


def items_here_or_planned(
    settings: Settings, project: str, request: BatchRequest
) -> tuple[list[Item], list[str]]:
    """The items of a request, read from its plan where what it names stands on another host.

    Raises:
        Refusal: Something was asked that cannot be made, or there is no such plan.
    """
    if not settings.store or request.source.exists():
        return items_of(request)
    batch = Batch.named(settings, project, request.name)
    if not batch.exists() or batch.read()["request"] != request.model_dump(mode="json"):
        return items_of(request)  # which says what is missing
    return [item for item, _ in batch.items()], []


def hand_over(settings: Settings, project: str, request: BatchRequest) -> None:
    """Plan a batch and deliver what it needs, for a coordinator on another host.

    Nothing is done where no store is named, or where the batch is under way.

    Raises:
        Refusal: Something was asked that cannot be made.
    """
    if not settings.store:
        return
    items = items_here_or_planned(settings, project, request)
    batch = open_batch(settings, project, request)
    with coordinated(batch) as ours:
        if ours:
            plan = plan_batch(batch, request, items)
            start_batch(batch, request, plan, state="planned")
            deliver_inputs(batch, (item for item, shard in plan.items if shard >= 0))


def reopen(batch: Batch) -> int:
    """Let items that were refused be tried once more; how many there are."""
    refused = [
        outcome
        for outcome in batch.outcomes().values()
        if outcome["state"] == "failed" and not unfinished(outcome)
    ]
    for outcome in refused:
        error = f"asked again after {outcome['error']}"
        again = {**outcome, "error": error, "seconds": 0.0, "sample_s": 0.0}
        batch.note("reopened", again | {"time": now(outcome["time"])})
    return len(refused)


def renew_budgets(batch: Batch) -> None:
    """Count minutes from now on, since a person asks for more of a batch that has ended."""
    spent = {"started": now(), "spent_s": round(sampled_s(batch), 4)}
    batch.change(only_from=ENDED, **spent)


def clear_leftovers(batch: Batch) -> int:
    """Remove what killed shards left half-written, unless one is at work; how many names."""
    with held(batch.root / "plan.lock", wait=False) as nobody_works:
        left = list(batch.results.glob(f"{UNFINISHED}*")) if nobody_works else []
        for path in left:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return len(left)


def free_bytes(folder: Path) -> int:
    """Free space where ``folder`` is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _holds(batch: Batch, request: BatchRequest, plan: Plan) -> bool:
    """Whether the plan on disk is of this request and has a shard for all that is missing."""
    if not batch.exists() or batch.read()["request"] != request.model_dump(mode="json"):
        return False
    shards = _planned(batch)
    wanted = {item.address: shard for item, shard in plan.items}
    return shards.keys() == wanted.keys() and all(
        shards[address] >= 0 for address, shard in wanted.items() if shard >= 0
    )


def _planned(batch: Batch) -> dict[str, int]:
    """Address to shard, as the plan on disk says."""
    return {line["item"]: line["shard"] for line in read_lines(batch.root / "items.jsonl")}


def _described(batch: Batch, request: BatchRequest, plan: Plan) -> dict[str, Any]:
    before = batch.read() if batch.exists() else {"created": now()}
    same = _planned(batch).keys() == {item.address for item, _ in plan.items}
    asked = request.model_dump(mode="json")
    kept = ["models", "dataset"] if same else []
    kept += ["started", "spent_s"] if same and before.get("request") == asked else []
    return {
        "started": now(),
        "spent_s": round(sampled_s(batch), 4),
        **{name: before[name] for name in kept if name in before},
        "name": batch.root.name,
        "project": batch.root.parent.parent.name,
        "kind": plan.kind,
        "request": asked,
        "created": before["created"],
        "items": len(plan.items),
        "shards": plan.shards,
        "repeated": len(plan.repeated),
        "left_out": list(plan.left_out),
        "seconds_per_item": round(plan.seconds_per_item, 4),
        "reason": "",
    }


def _measured(known: dict[str, Outcome]) -> float:
    """What an item took so far, 0 if none was made."""
    times = [outcome["seconds"] for outcome in known.values() if outcome["state"] == "made"]
    return median(times) if times else 0.0


def open_batch(settings: Settings, project: str, request: BatchRequest) -> Batch:
    """The batch's folder, made if need be."""
    batch = Batch.named(settings, project, request.name)
    batch.root.mkdir(parents=True, exist_ok=True)
    return batch


def under_way(batch: Batch, request: BatchRequest) -> dict[str, Any]:
    """What to say where another process coordinates the same request already."""
    deadline = time.monotonic() + ELSEWHERE_S
    while not batch.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    said = batch.read()
    if said["request"] != request.model_dump(mode="json"):
        raise Refusal(
            f"{batch.root.name} is under way with another request: a batch changes only when it "
            "is not; wait, cancel it, or choose another name."
        )
    reason = "another run coordinates this very request already"
    return {"batch": said["name"], "state": said["state"], "reason": reason}
