"""From ``infra/prefect.yaml`` to deployments on a server.

``prefect --no-prompt deploy --all --prefect-file infra/prefect.yaml`` does the same for any
server and pool; this is the quick way for the embedded stack, reading the same file.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import EntrypointType, load_flow_from_entrypoint
from prefect.schedules import Schedule
from prefect.workers.process import ProcessWorker

from flows.machines.hosts import Beat
from flows.machines.pools import BATCH, PRIORITIES, Place

PREFECT_FILE = Path(__file__).parents[2] / "infra" / "prefect.yaml"
QUEUE_ROUTE = "/work_pools/{work_pool_name}/queues/{name}"


def read_deployments(path: Path = PREFECT_FILE) -> list[dict[str, Any]]:
    """The deployments that the file declares, as plain tables."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]


async def prepare_pool(client: PrefectClient, places: Sequence[Place]) -> None:
    """Create or refresh the process pool that these places belong to, and its two queues.

    A pool of another kind that an operator made under that name (Kubernetes) keeps its template
    and its limits. The server counts the runs of a pool, orphans among them, and starts no more
    than there are places for.

    Args:
        client: A client of the server.
        places: All that serve the pool.
    """
    pool, together = places[0].pool, _together([place.lanes for place in places])
    wanted = WorkPoolCreate(
        name=pool,
        type="process",
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=sum(together.values()),
    )
    ours = await _is_ours(client, pool)
    if ours:
        await client.create_work_pool(wanted, overwrite=True)
    for name, priority in PRIORITIES.items():
        limit = together[name] if ours and name == BATCH else None
        try:
            await client.create_work_queue(
                name, work_pool_name=pool, priority=priority, concurrency_limit=limit
            )
        except ObjectAlreadyExists:
            if not ours:
                continue
            queue = await client.read_work_queue_by_name(name, work_pool_name=pool)
            await client.update_work_queue(queue.id, concurrency_limit=limit)


async def _is_ours(client: PrefectClient, pool: str) -> bool:
    try:
        return (await client.read_work_pool(pool)).type == ProcessWorker.type
    except ObjectNotFound:
        return True


def count_places(client: SyncPrefectClient, pool: str, said: Iterable[Beat]) -> int:
    """Set a process pool's limits to what the workers that are up can take; how many are up.

    Pools of other kinds, and pools of which no worker has said anything, stay as they are.
    """
    lanes = [beat.lanes for beat in said if beat.fresh and beat.worker.startswith(f"{pool}-")]
    up = len(lanes)
    known = client.read_work_pool(pool)
    if known.type != ProcessWorker.type or not up:
        return up
    together = _together(lanes)
    client.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=sum(together.values())))
    queue = {"work_pool_name": pool, "name": BATCH}
    limit = {"concurrency_limit": together[BATCH]}
    client.request("PATCH", QUEUE_ROUTE, path_params=queue, json=limit)
    return up


def _together(lanes: Iterable[Mapping[str, int]]) -> Counter[str]:
    """How many runs of each queue all places take at a time."""
    total: Counter[str] = Counter()
    for taken in lanes:
        total.update(taken)
    return total


async def register(client: PrefectClient, path: Path = PREFECT_FILE) -> list[str]:
    """Register every deployment of the file and return their names, ``flow/deployment``.

    A schedule that a person switched on or off since keeps that state.
    """
    names = []
    for declared in read_deployments(path):
        flow = load_flow_from_entrypoint(declared["entrypoint"], use_placeholder_flow=False)
        name = f"{flow.name}/{declared['name']}"
        switched = await _switches(client, name)
        deployment = RunnerDeployment.from_flow(
            flow,
            name=declared["name"],
            entrypoint_type=EntrypointType.MODULE_PATH,
            parameters=declared.get("parameters"),
            description=declared.get("description") or flow.description,
            tags=declared.get("tags"),
            version=declared.get("version"),
            schedules=[_schedule(table, switched) for table in declared.get("schedules", [])],
            concurrency_limit=declared.get("concurrency_limit"),
            enforce_parameter_schema=True,
            work_pool_name=declared["work_pool"]["name"],
            work_queue_name=declared["work_pool"].get("work_queue_name"),
            job_variables=declared["work_pool"].get("job_variables"),
        )
        await deployment.aapply()
        names.append(name)
    return names


async def _switches(client: PrefectClient, name: str) -> dict[str | None, bool]:
    try:
        known = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return {}
    return {schedule.slug: bool(schedule.active) for schedule in known.schedules}


def _schedule(table: dict[str, Any], switched: dict[str | None, bool]) -> Schedule:
    return Schedule(
        cron=table["cron"],
        timezone=table.get("timezone", "UTC"),
        active=bool(switched.get(table["slug"], table.get("active", True))),
        parameters=table.get("parameters", {}),
        slug=table["slug"],
    )
