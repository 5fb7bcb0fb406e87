"""A person who asks for a clip does not wait for the night: one run overtakes 500 shards."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from waiting import until

from flows.batches.items import items_of
from flows.batches.ledger import Batch
from flows.batches.start import plan_batch, start_batch
from flows.requests.batch_requests import BatchLimits, ClipBatchRequest
from flows.settings.settings import read_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

logger = logging.getLogger(__name__)
PLACES = {"LAMINA_GPUS": "2"}
SHARDS = 500
STARTS_WITHIN_S = 15.0
TINY = {"num_frames": 2, "height": 16, "width": 16, "steps": 1, "model": "tiny-video"}


@pytest.fixture
def planned(running, tiny_models, monkeypatch):
    """A batch with more shards than that; nobody coordinates it."""
    folder, _ = running
    monkeypatch.setenv("LAMINA_HOME", str(folder / "state"))
    monkeypatch.setenv("LAMINA_OUTPUTS", str(folder / "outputs"))
    monkeypatch.setenv("LAMINA_MODELS", str(tiny_models))
    rows = "\n".join(f"a red circle moves left and number {n}" for n in range(2 * SHARDS))
    limits = BatchLimits(shard_minutes=0.001, reserve_gb=0.0)
    request = ClipBatchRequest(name="night", prompts=rows, limits=limits, **TINY)
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    assert batch.read()["shards"] >= SHARDS
    return batch


def counted(server, deployment, state):
    wanted = {"deployments": {"id": {"any_": [deployment]}}}
    wanted["flow_runs"] = {"state": {"type": {"any_": [state]}}}
    return server._answer("/flow_runs/count", wanted)


def started(server):
    """Ask for a clip and see it made; seconds until a worker took it and until it ran."""
    asked = time.monotonic()
    clip = {"prompt": "a blue square moves right", **TINY}
    run = server.start("text_to_video", {"request": clip})
    until(lambda: server.read(run).state != "SCHEDULED", "taking the run")
    taken = time.monotonic() - asked
    until(lambda: server.read(run).state in ("RUNNING", "COMPLETED"), "starting the run")
    running = time.monotonic() - asked
    until(lambda: server.read(run).ended, "the clip")
    assert server.read(run).state == "COMPLETED"
    return taken, running


def test_the_server_knows_places_priorities_and_limits(running):
    _, server = running
    expected = {"gpu": (4, {"interactive": (1, None), "batch": (10, 2)})}
    expected["cpu"] = (8, {"interactive": (1, None), "batch": (10, 6)})
    for pool, (places, queues) in expected.items():
        assert server._answer(f"/work_pools/{pool}")["concurrency_limit"] == places
        found = {
            queue["name"]: (queue["priority"], queue["concurrency_limit"])
            for queue in server._answer(f"/work_pools/{pool}/queues/filter", {})
        }
        assert {name: found[name] for name in queues} == queues
        assert found.get("default", (99, None))[0] > 1  # never before a person


@contextmanager
def never_more(server, deployment, most):
    """Look again and again while the block lasts: no more runs of a deployment than that."""
    over, seen = threading.Event(), []

    def look():
        while not over.wait(0.2):
            seen.append(counted(server, deployment, "RUNNING"))

    with ThreadPoolExecutor(1) as aside:
        looking = aside.submit(look)
        try:
            yield
        finally:
            over.set()
        looking.result()
    assert seen
    assert max(seen) <= most


def test_an_interactive_run_starts_while_500_shards_wait(running, planned):
    _, server = running
    _, alone = started(server)
    deployment = server._answer("/deployments/name/make_shard/make_shard")["id"]

    def ask(shard):
        body = {"parameters": {"request": {"batch": "night", "shard": shard}}}
        server._answer(f"/deployments/{deployment}/create_flow_run", body)

    with ThreadPoolExecutor(4) as together:
        list(together.map(ask, range(SHARDS)))
    with never_more(server, deployment, most=2):
        until(lambda: counted(server, deployment, "RUNNING") == 2, "filling both GPUs")
        taken, begun = started(server)
    waiting = counted(server, deployment, "SCHEDULED")
    told = f"taken after {taken:.1f} s, started after {begun:.1f} s, alone {alone:.1f} s"
    logger.info("%s; %d shards waiting", told, waiting)
    assert waiting > 0.8 * SHARDS
    assert taken < STARTS_WITHIN_S, told
    # Where even an idle stack takes most of that, the start of a Python is what takes it.
    assert begun < max(STARTS_WITHIN_S, 2 * alone), told
