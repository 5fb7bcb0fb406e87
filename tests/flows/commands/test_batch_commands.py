"""``lamina batch`` and the nights' schedules on a real stack: what a person sees and gets."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest
from clips import SMALL, prompts_of
from waiting import until

from core.storage.journal import read_lines
from flows.batches.ledger import Batch, intact
from flows.commands.command_line import main
from flows.settings.settings import read_settings
from flows.stack.api import Server

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

PLACES = {"LAMINA_GPUS": "2"}
LIMITS = {"retry_delay_s": 1.0, "reserve_gb": 0.0, "shard_minutes": 0.005}
FAR_EAST, FAR_WEST = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # never of the same date
ITEMS = 30


@pytest.fixture
def told(running, tiny_models, monkeypatch, capsys):
    """A command's exit code and what it says, in the folder of the running stack."""
    folder, _ = running
    monkeypatch.setenv("LAMINA_HOME", str(folder / "state"))
    monkeypatch.setenv("LAMINA_OUTPUTS", str(folder / "outputs"))
    monkeypatch.setenv("LAMINA_MODELS", str(tiny_models))
    monkeypatch.setenv("LAMINA_DEVICE", "cpu")
    monkeypatch.chdir(folder)
    (folder / "prompts.txt").write_text("\n".join(prompts_of(ITEMS)))

    def tell(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["batch", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return tell


def words_of(name: str) -> list[str]:
    fields = {**SMALL, **{f"limits.{name}": value for name, value in LIMITS.items()}}
    given = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
    return ["prompts.txt", "--name", name, *given]


def batch_of(name: str) -> Batch:
    return Batch.named(read_settings(), "default", name)


def made(batch: Batch) -> list[str]:
    lines = [line for path in batch.shard_files() for line in read_lines(path)]
    return [line["item"] for line in lines if line["state"] == "made" and line["sample_s"]]


def whole(batch: Batch, count: int) -> None:
    assert len(made(batch)) == len(set(made(batch))) == count
    assert all(intact(batch, item) for item, _ in batch.items())


def active(server: Server, name: str) -> int:
    """How many runs make shards of a batch now."""
    state = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}
    wanted = {"tags": {"all_": [f"batch:default/{name}"]}, "state": state}
    return server._answer("/flow_runs/count", {"flow_runs": wanted})


def test_a_batch_is_planned_run_paused_resumed_and_told_of(running, told):
    _, server = running
    until(lambda: " on 2 devices" in told("plan", *words_of("night"))[1], "both workers' offers")
    code, out, _ = told("plan", *words_of("night"))
    assert code == 0
    assert f"{ITEMS} items (video), 0 made already, {ITEMS} to make" in out
    assert "cost: " in out
    assert "device minutes" in out
    assert not batch_of("night").exists()
    assert told("status", "night")[0] == 2
    command = [
        sys.executable,
        "-m",
        "flows.commands.command_line",
        "batch",
        "run",
        *words_of("night"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    until(lambda: batch_of("night").exists() and len(made(batch_of("night"))) >= 2, "two items")
    batch = batch_of("night")
    code, out, _ = told("pause", "night")
    assert code == 0
    assert out.startswith(f"night: paused, {ITEMS} items, ")
    until(lambda: active(server, "night") == 0, "the items under way")
    stood = len(made(batch))
    assert stood < ITEMS
    code, _, err = told("pause", "night")
    assert code == 2
    assert "night is paused: only a batch that is running can become paused" in err
    assert process.poll() is None  # it waits with the batch
    assert len(made(batch)) == stood
    code, out, _ = told("resume", "night")
    assert (code, out.startswith("night: running, ")) == (0, True)
    until(lambda: process.poll() is not None, "the batch", moving=lambda: len(made(batch)))
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert f"night: finished, {ITEMS} items, {ITEMS} made; {batch.root}" in out
    whole(batch, ITEMS)
    assert told("status", "night", "--failed") == (0, f"{out.splitlines()[-1]}\n", "")
    code, _, err = told("cancel", "night")
    assert code == 2
    assert "night is finished: only a batch that is planned or running or paused can" in err
    code, out, _ = told("run", *words_of("night"))
    assert (code, "finished" in out) == (0, True)
    whole(batch, ITEMS)  # and nothing was made again


def test_what_is_cancelled_ends_and_is_tried_again(running, told):
    _, server = running
    limits = {**LIMITS, "shard_minutes": 0.01}
    request = {"name": "ended", "prompts": "\n".join(prompts_of(ITEMS)), "limits": limits, **SMALL}
    run = server.start("generate_clips", {"request": request})
    until(lambda: batch_of("ended").exists() and len(made(batch_of("ended"))) >= 2, "two items")
    batch = batch_of("ended")
    code, out, _ = told("cancel", "ended")
    assert code == 0
    assert out.startswith("ended: cancelled (cancelled on the command line), ")
    until(lambda: server.read(run).ended and active(server, "ended") == 0, "its runs")
    assert server.read(run).state == "COMPLETED"
    assert 2 <= len(made(batch)) < ITEMS
    code, out, _ = told("status")
    assert code == 0
    assert "ended: cancelled" in out
    code, out, _ = told("retry", "ended")
    assert code == 0
    assert out.startswith("0 refused items to try once more, and all that is missing.")
    assert f"ended: finished, {ITEMS} items, {ITEMS} made" in out
    whole(batch, ITEMS)


def schedules(server: Server) -> str:
    deployment = server._answer("/deployments/name/generate_clips/generate_clips")
    return f"{server.address}/api/deployments/{deployment['id']}/schedules"


def send(method: str, address: str, body: object) -> None:
    head = {"Content-Type": "application/json"}
    request = Request(address, data=json.dumps(body).encode(), headers=head, method=method)
    urlopen(request).close()


def nightly(name: str, cron: str, zone: str, *, active: bool) -> dict:
    request = {"name": name, "prompts": "\n".join(prompts_of(3)), "limits": LIMITS, **SMALL}
    return {
        "schedule": {"cron": cron, "timezone": zone},
        "active": active,
        "parameters": {"request": request},
    }


def test_missed_nights_are_made_once(running, told):
    _, server = running
    shipped = server._answer("/deployments/name/generate_clips/generate_clips")["schedules"][0]
    address = f"{schedules(server)}/{shipped['id']}"
    send("PATCH", address, nightly("missed-{date}", "0 2 * * *", "UTC", active=False))
    asked = {"request": {"flow": "generate_clips", "nights": 2, "action": "list"}}
    run = server.start("fill_missed_nights", asked)
    until(lambda: server.read(run).ended, "the list")
    (page,) = server.artifacts(run, "markdown")
    assert "2 of 2 nights were missed" in page["data"]
    asked["request"]["action"] = "start"
    for _ in range(2):
        run = server.start("fill_missed_nights", asked)
        until(lambda: server.read(run).ended, "the start")  # noqa: B023
        assert server.read(run).state == "COMPLETED", server.read(run).message
    now = datetime.now(UTC)
    last = now.date() if now.hour >= 2 else now.date() - timedelta(days=1)
    batches = [batch_of(f"missed-{last - timedelta(days=back)}") for back in (0, 1)]
    until(lambda: all(x.exists() and x.state() == "finished" for x in batches), "both nights")
    for batch in batches:
        whole(batch, 3)
    wanted = {"flow_runs": {"tags": {"all_": ["missed-night"]}}}
    assert server._answer("/flow_runs/count", wanted) == 2


def test_a_scheduled_night_is_of_the_date_in_its_schedules_own_zone(running, told):
    _, server = running
    zones = {"east": FAR_EAST, "west": FAR_WEST}
    body = [nightly(f"{n}-{{date}}", "* * * * *", zone, active=True) for n, zone in zones.items()]
    before = {zone: datetime.now(ZoneInfo(zone)).date() for zone in zones.values()}
    send("POST", schedules(server), body)
    dates = {name: before[zone] for name, zone in zones.items()}
    later = {name: date + timedelta(days=1) for name, date in dates.items()}  # across a midnight

    def found(name: str) -> list[Batch]:
        both = [batch_of(f"{name}-{date[name]}") for date in (dates, later)]
        return [batch for batch in both if batch.exists() and batch.state() == "finished"]

    until(lambda: found("east") and found("west"), "a minute's nights")
    for table in server._answer("/deployments/name/generate_clips/generate_clips")["schedules"]:
        send("PATCH", f"{schedules(server)}/{table['id']}", {"active": False})
    assert dates["east"] != dates["west"]
    for name in zones:
        whole(found(name)[0], 3)  # a schedule that fires again and again makes it once
