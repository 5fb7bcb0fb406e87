"""What the flows that coordinate batches share, whatever the items are."""

import contextlib
from collections.abc import Callable
from typing import Any

from prefect.context import get_run_context

from core.refusal import Refusal
from flows.batches.coordinator import coordinate
from flows.batches.events import announcing
from flows.batches.ledger import Batch
from flows.batches.needs import shard_needs
from flows.batches.nights import DATE, night_of, of_night
from flows.batches.shard_runs import Deployed, cancel_batch
from flows.batches.sheet import contact_sheet, is_private
from flows.pages.artifacts import batch_page, progress_bar, show_result
from flows.pages.run_log import join_run_log
from flows.requests.batch_requests import (
    BATCHES,
    NIGHTLY,
    BatchRequest,
    ClipBatchRequest,
    ScanBatchRequest,
)
from flows.requests.prompt_tables import read_rows
from flows.requests.roots import check_files, check_paths, roots
from flows.settings.settings import Settings, read_settings
from flows.storage.files import DERIVATIVES
from video.request import VideoRequest


def coordinate_batch(
    request: BatchRequest, project: str, check: Callable[[Any, Settings], None] | None = None
) -> dict[str, Any]:
    """Coordinate a batch within a flow run, and show its counts and some of its results.

    Args:
        request: What is asked, with {date} where it stands for the night.
        project: Project to file it under.
        check: Refuses what of the request, as it is for the night, may not be made.
    """
    join_run_log()
    settings = read_settings()
    if DATE in request.model_dump_json():
        request = of_night(request, night_of(get_run_context().flow_run))  # pyright: ignore[reportAttributeAccessIssue]
        check_paths(request, settings)
    if check:
        check(request, settings)
    batch = Batch.named(settings, project, request.name)
    draws = request.most_draws
    hands = Deployed(
        lambda asked, gpus: shard_needs((x for x, _ in batch.items(asked.shard)), gpus, draws)
    )
    page = batch_page(project, request.name)
    with progress_bar("batch-progress", page) as meter, announcing(batch):
        ended = coordinate(settings, project, request, hands, meter)
    dataset = batch.root / DERIVATIVES
    facts = {**ended, "folder": batch.root}
    facts |= {"BIDS derivatives": dataset} if dataset.is_dir() else {}
    picture = "" if is_private(batch) else contact_sheet(batch)
    show_result(f"Batch {request.name}: {ended['state']}", picture, facts, page)
    return ended


def check_scans(request: ScanBatchRequest, settings: Settings) -> None:
    """Refuse scans that links lead to outside the operator's folders.

    A folder that another host has holds nothing that this one could read.
    """
    if roots(settings) is not None and request.source.is_dir():
        check_files(map(str, request.survey().taken), settings)


def check_rows(request: ClipBatchRequest, settings: Settings) -> None:
    """Refuse rows of a prompt file that name files or servers which a request may not.

    In a folder of pictures no picture and no caption may be a link to elsewhere.
    """
    file = request.source
    if request.prompt_file and file.is_dir():
        check_files(map(str, file.iterdir()), settings, "prompt_file")
    if roots(settings) is None or not file.is_file():
        return
    for row in read_rows(file):
        known = {
            name: str(row.fields[name]) for name in row.fields if name in VideoRequest.model_fields
        }
        try:
            check_paths(VideoRequest.model_construct(None, **known), settings)
        except Refusal as refusal:
            raise Refusal(f"{row.where}: {refusal}") from refusal


def abandon(flow: Any, flow_run: Any, state: Any) -> None:
    """Cancel the batch and its shards; Prefect calls it in a process of its own."""
    asked, project = flow_run.parameters["request"], flow_run.parameters.get("project", "default")
    with contextlib.suppress(ValueError):  # it was cancelled before it was planned
        name = asked.get("name", NIGHTLY)
        if DATE in name:
            name = name.replace(DATE, night_of(flow_run).isoformat())
        batch = Batch.named(read_settings(), project, name)
        cancel_batch(batch, "its run was cancelled")


def start_again(batch: Batch, key: str) -> str:
    """Ask for another run of the batch as it was asked for; the run's identity.

    Args:
        batch: Whose missing items are to be made.
        key: A second call with the same one finds the first one's run.
    """
    from prefect.deployments import run_deployment

    from flows.stack.server_clock import server_now

    said = batch.read()
    flow = BATCHES[said["kind"]].flow
    parameters = {"request": said["request"], "project": said["project"]}
    run: Any = run_deployment(
        f"{flow}/{flow}",
        parameters=parameters,
        scheduled_time=server_now(),
        timeout=0,
        as_subflow=False,
        idempotency_key=key,
        flow_run_name=said["name"],
    )
    return str(run.id)
