"""``lamina batch``: many clips or scans, planned, run, watched, ended and tried again."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from core.progress import counted
from core.refusal import Refusal
from flows.batches.ledger import Batch
from flows.batches.nights import of_night
from flows.requests.batch_requests import BatchRequest, ClipBatchRequest, ScanBatchRequest
from flows.settings.settings import read_settings

Project = Annotated[str, Parameter(help="Project under which results are filed.")]
Settable = Annotated[
    list[str] | None,
    Parameter(
        name="--set", help="A field of the form, such as steps=2 or limits.tries=5; repeatable."
    ),
]
WAITING_FOR = ("planned", "running", "paused")
MOST_NAMED = 20  # failed items that a run names; its status names all


def plan(source: Path, /, *, name: str = "nightly", project: Project = "default",
         set_: Settable = None) -> None:  # fmt: skip
    """Say what a batch would make, how long it would take and how much room; write nothing.

    Args:
        source: A prompt file (text, .csv, .jsonl, .yaml), a folder or BIDS dataset of scans, or a
            folder of pictures, each the first frame of a clip, with NAME.txt beside NAME.png.
        name: Name of the batch.
    """
    _show_plan(_batch(project, name), read_request(source, name, set_ or []), here=False)


def run(source: Path, /, *, name: str = "nightly", project: Project = "default",
        set_: Settable = None, drafts: int = 0, here: bool = False,
        dry_run: bool = False) -> int:  # fmt: skip
    """Make what is missing of a batch; the same command again makes nothing twice.

    The exit code is 1 if an item failed or is still missing.

    Args:
        source: A prompt file (text, .csv, .jsonl, .yaml), a folder or BIDS dataset of scans, or a
            folder of pictures, each the first frame of a clip, with NAME.txt beside NAME.png.
        name: Name of the batch.
        drafts: So many drafts of each prompt after few steps, to pick from; see `batch finish`.
        here: Without Prefect, in processes of this machine.
        dry_run: Only say what would be done, as `lamina batch plan` does.
    """
    settings = [*(set_ or []), *([f"drafts={drafts}"] if drafts else [])]
    request = read_request(source, name, settings)
    if dry_run:
        _show_plan(_batch(project, name), request, here)
        return 0
    return _run(project, request, here)


def status(name: str = "", /, *, project: Project = "default", failed: bool = False) -> None:
    """Say how a batch stands, or all batches of a project.

    Args:
        name: Name of the batch; none for all.
        failed: List the items that failed or were rejected, with the reasons.
    """
    if name:
        print(_state(_batch(project, name)))
    else:
        for batch in Batch.all(read_settings(), project):
            print(_state(batch))
    if name and failed:
        for line in _unmade(_batch(project, name), ("failed", "rejected")):
            print(f"  {line}")


def retry(name: str, /, *, project: Project = "default", here: bool = False) -> int:
    """Try again what failed, also what was refused, with budgets that begin anew.

    Args:
        name: Name of the batch.
        here: Without Prefect, in processes of this machine.
    """
    from flows.batches.start import renew_budgets, reopen

    batch = _batch(project, name)
    request = batch.request()
    renew_budgets(batch)
    print(f"{counted(reopen(batch), 'refused item')} to try once more, and all that is missing.")
    return _run(project, request, here)


def cancel(name: str, /, *, project: Project = "default") -> None:
    """End a batch and keep what is made.

    Args:
        name: Name of the batch.
    """
    from flows.stack.choice import one_server

    batch = _batch(project, name)
    with one_server(read_settings()) as server:
        from flows.batches.shard_runs import cancel_batch  # reads at once what Prefect is told

        if not cancel_batch(batch, "cancelled on the command line", tell=bool(server)):
            raise _unfit(batch, "cancelled", WAITING_FOR)
    print(_state(batch))


def pause(name: str, /, *, project: Project = "default") -> None:
    """Let a batch rest after the items under way, until it is resumed.

    Args:
        name: Name of the batch.
    """
    _change(project, name, "paused", ("running",))


def resume(name: str, /, *, project: Project = "default") -> None:
    """Let a paused batch go on.

    Args:
        name: Name of the batch.
    """
    from flows.batches.locks import being_coordinated

    _change(project, name, "running", ("paused",))
    if not being_coordinated(_batch(project, name)):
        of_project = "" if project == "default" else f" --project {project}"
        print(
            f"nothing coordinates {name} now; `lamina batch retry {name}{of_project}` sees to "
            "that at once (and tries refused items again), the janitor of a running server only "
            "if its run ended in the last two days."
        )


def finish(name: str, /, *, pick: str = "", picks: Path | None = None,
           project: Project = "default", here: bool = False) -> int:  # fmt: skip
    """Draw the picked drafts of a batch to their end, as a batch NAME-final.

    Each goes on from the step its draft ended with, where its state is kept on the machine that
    draws. Drafts are picked by --pick, by --picks, or by approving the batch.

    Args:
        name: Name of a batch that was run with drafts.
        pick: Drafts by their numbers or addresses, such as 3,5-7.
        picks: A table in which something stands in the column `pick` beside each draft that is
            chosen; where there is no such file, it is written for that, and nothing else is done.
        here: Without Prefect, in processes of this machine.
    """
    from flows.batches.drafts import finishing, picked, said_of_states, seen, write_picks

    batch = _batch(project, name)
    if picks is not None and not pick and not picks.exists():
        count = write_picks(batch, picks)
        print(f"{counted(count, 'draft')} in {picks}: mark some in the column pick, then again")
        return 0
    chosen, known = picked(batch, pick, picks), batch.outcomes()
    print(f"{counted(len(chosen), 'draft')} picked of {name}")
    for one in chosen:
        print(f"  {one.address}  seed {seen(one, known[one.address]).seed}  {one.request.prompt}")
    for line in said_of_states(batch, chosen):
        print(line)
    return _run(project, finishing(batch, chosen), here)


def read_request(source: Path, name: str, settings: Sequence[str]) -> BatchRequest:
    """The request for a prompt file or a folder of scans or pictures, with ``name=value``s."""
    from flows.batches.kinds import is_of_pictures

    fields: dict[str, Any] = {"name": name}
    for word in settings:
        key, found, value = word.partition("=")
        if not found:
            raise Refusal(
                f"--set {word}: a field is set as name=value; write such as --set steps=2."
            )
        group, _, inner = key.partition(".")
        if inner:
            fields.setdefault(group, {})[inner] = value
        else:
            fields[key] = value.split(",") if key == "spacing_mm" else value
    if source.is_dir() and not is_of_pictures(source):
        asked: BatchRequest = ScanBatchRequest(scans=str(source.resolve()), **fields)
    else:
        asked = ClipBatchRequest(prompt_file=str(source.resolve()), **fields)
    return of_night(asked, datetime.now(UTC).date())


def _run(project: str, request: BatchRequest, here: bool) -> int:
    batch = _batch(project, request.name)
    if here:
        from core.progress import terminal_meter
        from flows.batches.coordinator import coordinate
        from flows.batches.shard_runs import Here
        from flows.settings.folders import make_places

        _show_plan(batch, request, here)
        make_places(read_settings())
        with terminal_meter(f"batch {request.name}") as meter:
            coordinate(read_settings(), project, request, Here(), meter)
    else:
        from flows.batches.start import hand_over

        hand_over(read_settings(), project, request)
        _run_deployed(project, request)
    print(_state(batch))
    said, failed = batch.read(), _unmade(batch, ("failed",))
    for line in failed[:MOST_NAMED]:
        sys.stderr.write(f"  {line}\n")
    if len(failed) > MOST_NAMED:
        sys.stderr.write(f"  and more; see `lamina batch status {request.name} --failed`\n")
    return 0 if said["state"] == "finished" and not said["reason"] and not failed else 1


def _unmade(batch: Batch, states: Sequence[str]) -> list[str]:
    """Each item that came to one of these states, with where it was asked for and the reason."""
    rows = {item.address: item.row for item, _ in batch.items()}
    return [
        f"{address}  {rows[address]}  {outcome['state']}: {outcome['error']}"
        for address, outcome in batch.outcomes().items()
        if outcome["state"] in states and address in rows
    ]


def _run_deployed(project: str, request: BatchRequest) -> None:
    from flows.commands.watch import watch
    from flows.stack.stack import borrowed, ended_by_signals

    parameters = {"request": request.model_dump(mode="json"), "project": project}
    settings = read_settings()
    with ended_by_signals(), borrowed(settings, sys.stderr.write) as (server, check):
        started = server.start(request.flow, parameters)
        of_project = "" if project == "default" else f" --project {project}"
        way_out = f"`lamina batch cancel {request.name}{of_project}` ends it"
        (ended,) = watch(server, [started], check, way_out)
        if ended.state != "COMPLETED":
            sys.stderr.write(f"{ended.flow} {ended.state.lower()}: {ended.message}\n")
        print(f"  {server.page(ended)}", flush=True)


def _show_plan(batch: Batch, request: BatchRequest, here: bool) -> None:
    from flows.batches.items import items_of
    from flows.batches.needs import check_items, shard_needs
    from flows.batches.plan import check_room, ends_early
    from flows.batches.shard_runs import Deployed, Here
    from flows.batches.start import free_bytes, plan_batch
    from flows.storage.quota import Quota

    asked, settings = items_of(request), read_settings()
    planned, free = plan_batch(batch, request, asked), free_bytes(batch.root)
    told = [] if here else Deployed().offers(settings)
    slots = max(1, min(len(told), request.limits.shards_at_once))
    costs = {"draws": request.most_draws, "price": settings.gpu_hour_price}
    said = planned.says(free, slots, **costs)
    for line in [*said, *planned.names(), *ends_early(request)]:
        print(line)
    if planned.shards:
        first = (item for item, shard in planned.items if shard == 0)
        print(f"a shard needs {shard_needs(first, draws=request.most_draws)}")
    sys.stdout.flush()
    check_items(asked[0], told or Here().offers(settings))
    check_room(planned.bytes_needed, free, request.limits.reserve_gb)
    Quota(settings, batch.root.parent.parent.name).check(planned.bytes_needed)


def _state(batch: Batch) -> str:
    """One line on a batch."""
    said = batch.read()
    known = dict.fromkeys(("made", "failed", "rejected"), 0)
    addresses = {item.address for item, _ in batch.items()}
    for address, outcome in batch.outcomes().items():
        if address in addresses:
            known[outcome["state"]] += 1
    counts = ", ".join(f"{count} {state}" for state, count in known.items() if count)
    reason = f" ({said['reason']})" if said["reason"] else ""
    words = f"{said['state']}{reason}, {counted(said['items'], 'item')}, {counts or 'none made'}"
    return f"{said['name']}: {words}; {batch.root}"


def _change(project: str, name: str, state: str, only_from: tuple[str, ...]) -> None:
    batch = _batch(project, name)
    if not batch.change(only_from=only_from, state=state):
        raise _unfit(batch, state, only_from)
    print(_state(batch))


def _unfit(batch: Batch, state: str, only_from: tuple[str, ...]) -> Refusal:
    return Refusal(
        f"{batch.root.name} is {batch.state()}: only a batch that is {' or '.join(only_from)} "
        f"can become {state}; see `lamina batch status {batch.root.name}`."
    )


def _batch(project: str, name: str) -> Batch:
    return Batch.named(read_settings(), project, name)
