"""A server whose clock is hours off its hosts': nothing waits and nothing starts too early."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.request import urlopen

import pytest
from skewed import make_clock, skew
from stacks import (
    BATCH_S,
    RUN_S,
    WINDOW_S,
    Stack,
    check_all_once,
    lines,
    outcomes,
    wait,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

ITEMS = 24  # more shards than workers


@pytest.fixture(scope="module", params=[3, -3], ids=["ahead", "behind"])
def stack(request, tmp_path_factory, database, tiny_models):
    folder = tmp_path_factory.mktemp("clock")
    clock = skew(make_clock(folder), request.param, who="flows.stack.server")
    stack = Stack(folder, {"LAMINA_MODELS": str(tiny_models), **clock, **database()})
    ahead = server_now(stack) - datetime.now(UTC)
    assert abs(ahead - timedelta(hours=request.param)) < timedelta(minutes=1)
    yield stack
    stack.end()


def server_now(stack: Stack) -> datetime:
    with urlopen(f"{stack.server.address}/api/health") as answer:
        return parsedate_to_datetime(answer.headers["date"])


@pytest.mark.usefixtures("all_free")
def test_a_killed_engine_and_a_killed_worker_are_noticed_as_ever(stack, tmp_path):
    run, engine = stack.begin(tmp_path / "engine")
    engine.kill()
    wait(lambda: stack.state(run) == "CRASHED", WINDOW_S)
    run, engine = stack.begin(tmp_path / "both")
    worker = engine.parent()
    engine.suspend()
    worker.kill()
    engine.kill()
    wait(lambda: stack.state(run) == "CRASHED", WINDOW_S)


@pytest.mark.usefixtures("all_free")
def test_a_batch_whose_shard_is_killed_is_whole(stack):
    run, batch = stack.ask_batch("night", ITEMS)
    wait(lambda: batch.exists() and len(outcomes(batch)) >= 2, BATCH_S)
    stack.kill_shard("night")
    stack.see_through(run, batch)
    assert stack.state(run) == "COMPLETED"
    check_all_once(batch, ITEMS)


@pytest.mark.usefixtures("all_free")
def test_the_janitor_leaves_alone_what_lives(stack, tmp_path):
    run, _ = stack.begin(tmp_path / "run")
    janitor = stack.server.start("tidy_runs", {"request": {"second_look_s": 1}})
    wait(lambda: stack.server.read(janitor).ended, RUN_S)
    assert (stack.state(janitor), stack.state(run)) == ("COMPLETED", "RUNNING")
    (tmp_path / "run" / "go").touch()
    wait(lambda: stack.state(run) == "COMPLETED", WINDOW_S)


@pytest.mark.usefixtures("all_free")
def test_what_is_due_later_holds_no_place_before(stack, tmp_path):
    later = tmp_path / "later"
    later.mkdir()
    (later / "go").touch()
    due = server_now(stack) + timedelta(seconds=40)
    run = stack.ask(later, due=due.isoformat())
    begun = time.monotonic()
    while server_now(stack) < due - timedelta(seconds=15):
        assert stack.state(run) == "SCHEDULED"
        assert time.monotonic() - begun < RUN_S
        time.sleep(0.5)
    wait(lambda: stack.state(run) == "COMPLETED", RUN_S)
    assert len(lines(later / "ends")) == 1
