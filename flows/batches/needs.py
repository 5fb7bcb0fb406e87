"""What the items and shards of a batch need, and whether a worker's host offers it."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import nlargest
from typing import Any

from core.refusal import Refusal
from core.request import Request
from flows.batches.item import Item
from flows.batches.plan import GB, expected_bytes
from flows.jobs.operations import OPERATIONS
from flows.machines.hosts_elsewhere import all_beats
from flows.machines.pools import GPU
from flows.machines.resources import START_MINUTES, Resources, check_fits, needed, training_needs
from flows.requests.flow_requests import TRAININGS
from flows.settings.settings import Settings

logger = logging.getLogger(__name__)

SHARD_GB = 4.0  # several items at once, and what a GPU's context takes
AT_WORK = 5  # items that a sampling process has under way: one is drawn, those before are finished
UNCHECKED = {"disk_gb": math.inf, "minutes": math.inf}


def single_needs(request: Request, gpus: int = 0) -> Resources | None:
    """What one request needs; None where nobody can tell.

    So it is with files that cannot be read, which the run will say, and with whole batches.

    Args:
        request: A clip, a restoration or a training.
        gpus: 1 to compute on a GPU.
    """
    try:
        known = _needs().get(type(request))
        return known(request, gpus=gpus) if known else None
    except ValueError:
        return None


def _needs() -> dict[type[Request], Callable[..., Resources]]:
    """What tells the needs of a request, by its model."""
    operations = {each.request: partial(needed, each) for each in OPERATIONS.values()}
    return {**operations, **dict.fromkeys(TRAININGS.values(), training_needs)}


def shard_needs(items: Iterable[Item], gpus: int = 0, draws: int = 1) -> Resources:
    """What a shard needs: memory for its largest item, time for all, and one start.

    It holds several items at once, so it is never given less than ``SHARD_GB``. Its disk holds
    what stays of all of them, as in the plan, and the work on the few that are under way.

    Args:
        items: What it makes.
        gpus: That sample at once, each fed by a process of its own; 0 to sample on the CPU.
        draws: How often each item may be drawn until it is accepted.
    """
    at_once = max(1, gpus)
    known = [(item, needs) for item in items if (needs := single_needs(item.request, gpus))]
    wanted = [needs for _, needs in known]
    if not wanted:
        return Resources(gpus=gpus, cpus=at_once, memory_gb=SHARD_GB * at_once)  # pyright: ignore[reportCallIssue]
    under_way = nlargest(AT_WORK * at_once, (needs.disk_gb for needs in wanted))
    return Resources(
        gpus=gpus,
        gpu_memory_gb=max(needs.gpu_memory_gb for needs in wanted),
        cpus=at_once * max(needs.cpus for needs in wanted),
        memory_gb=at_once * max(SHARD_GB, *(needs.memory_gb for needs in wanted)),
        disk_gb=sum(expected_bytes(item) for item, _ in known) / GB + sum(under_way),
        minutes=START_MINUTES + draws * sum(needs.minutes - START_MINUTES for needs in wanted),
    )


def offers(settings: Settings) -> list[Resources]:
    """What the workers of the pool of GPUs that are up offer; none where they do not tell."""
    said = [beat for beat in all_beats(settings.hosts).values() if beat.fresh]
    said = [beat for beat in said if beat.worker.startswith(f"{GPU}-") and beat.offer]
    return [Resources.model_validate(beat.offer) for beat in said]


def shard_gpus(settings: Settings, template: Mapping[str, Any]) -> int:
    """How many GPUs a shard asks for, in a pool whose runs are containers or pods.

    It has as many as the pool gives any run; of these as many as it shall have Ray workers, if
    that is set. A pool that gives none samples on CPUs.

    Args:
        settings: Places.
        template: The pool's base job template.
    """
    given = _gpus_of_a_run(template)
    return int(settings.ray) if given and settings.ray.isdecimal() else given


def _gpus_of_a_run(template: Mapping[str, Any]) -> int:
    """By the defaults of a template: ``gpus`` of our own, devices of one for Docker."""
    variables = template.get("variables", {}).get("properties", {})
    if "gpus" in variables:
        return int(variables["gpus"].get("default") or 0)
    created = variables.get("container_create_kwargs", {}).get("default") or {}
    asked = created.get("device_requests") or []  # a count of -1 is all of the host
    return sum(max(1, each.get("count") or len(each.get("device_ids") or [])) for each in asked)


def check_items(items: Sequence[Item], offered: Sequence[Resources]) -> None:
    """Refuse items that none of these machines could ever make.

    Time is not held against them, and free disk is the plan's.

    Raises:
        Refusal: With the numbers and with where the first of them stands.
    """
    known: set[str] = set()
    for item in items:
        kind = item.request.model_dump_json(exclude={"prompt", "seed"})
        if kind in known:
            continue
        known.add(kind)
        try:
            check_single(item.request, offered)
        except ValueError as error:
            raise Refusal(f"{item.row}: {error}") from error


def check_single(request: Request, offered: Sequence[Resources]) -> None:
    """Refuse a request that none of these machines could ever do, if there are any.

    Raises:
        Refusal: With the numbers.
    """
    complaint: ValueError | None = None
    for offer in sorted(offered, key=lambda offer: -offer.gpus):
        wanted = single_needs(request, gpus=min(1, offer.gpus))
        if wanted is None:
            return
        try:
            check_fits(wanted, [offer.model_copy(update=UNCHECKED)])
        except ValueError as error:
            complaint = complaint or error
        else:
            return
    if complaint:
        raise complaint
