"""What Prefect's pages show of a run, asked of a real server as those pages ask it."""

import json
import os
import subprocess
import sys

import pytest
from waiting import until

from flows.pages.run_log import LOGGERS

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CLIP = {"prompt": "two red circles move left", "model": "tiny-video", "num_frames": 8, "seed": 7}
SPEAKS = """
import logging, sys
from prefect import flow
from prefect.runtime import flow_run
from flows.pages.run_log import LOGGERS, join_run_log

@flow(name="speaks")
def speaks():
    join_run_log()
    for name in LOGGERS:
        logging.getLogger(f"{name}.somewhere").info("%s speaks", name)
        logging.getLogger(f"{name}.somewhere").debug("%s whispers", name)
    return str(flow_run.id)

print(speaks())
"""


def ended(server, run):
    until(lambda: server.read(run).ended, run.flow)
    return server.read(run)


def listed(server, state):
    """Identities of the runs that a filter by state lists."""
    wanted = {"flow_runs": {"state": {**state, "operator": "and_"}}}
    return {run["id"] for run in server._answer("/flow_runs/filter", wanted)}


def test_what_every_floor_says_reaches_the_runs_log_at_info(running):
    folder, server = running
    places = {"PREFECT_API_URL": f"{server.address}/api", "PREFECT_HOME": str(folder / "client")}
    done = subprocess.run(
        [sys.executable, "-c", SPEAKS], env=os.environ | places, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {"logs": {"flow_run_id": {"any_": [done.stdout.split()[-1]]}}}
    spoken = {(f"{name}.somewhere", 20, f"{name} speaks") for name in LOGGERS}
    assert {"core", "video", "medical", "diffusers", "monai"} <= set(LOGGERS)

    def heard():
        lines = server._answer("/logs/filter", wanted)
        return {(line["name"], line["level"], line["message"]) for line in lines}

    until(lambda: spoken <= heard(), "the log")
    assert not [words for _, _, words in heard() if "whispers" in words]


def test_a_run_shows_time_left_while_it_works_and_then_picture_and_outputs(running):
    folder, server = running
    long = CLIP | {"num_frames": 64, "height": 128, "width": 128, "steps": 128, "sampler": "heun"}
    run = server.start("text_to_video", {"request": long})
    said = []

    def has_ended():
        said.append(server.progress(run)[1])
        return server.read(run).ended

    until(has_ended, "the clip")
    assert server.read(run).state == "COMPLETED", server.read(run).message
    assert [words for words in said if words.startswith("step ") and words.endswith(" left")]
    assert server.progress(run)[0] == 100.0
    (page,) = server.artifacts(run, "markdown")
    assert len(page["data"]) < 200_000
    assert "](data:image/webp;base64," in page["data"]
    assert "| output | file | size | SHA-256 |" in page["data"]
    (video,) = (folder / "outputs" / "default" / "text_to_video").glob(f"*{run.id[:8]}/*.mp4")
    name = video.name.replace("_", r"\_")
    assert f"| video | [{name}](/gallery/p/default/f/text_to_video/" in page["data"]
    record = json.loads(video.with_suffix(".json").read_text())
    assert record["outputs"]["video"]["sha256"][:16] in page["data"]
    place = f"lamina://default/text_to_video/{video.parent.name}/video"
    wanted = {"filter": {"resource": {"id": [place]}}}
    (event,) = until(lambda: server._answer("/events/filter", wanted)["events"], "the news")
    assert event["payload"]["sha256"] == record["outputs"]["video"]["sha256"]
    assert f"prefect.flow-run.{run.id}" in {x["prefect.resource.id"] for x in event["related"]}


def test_a_refused_run_is_of_the_type_failed_and_says_what_to_do(running):
    _, server = running
    run = server.start("text_to_video", {"request": CLIP | {"model": "nowhere"}})
    state = ended(server, run)
    assert (state.state, state.name, state.refused) == ("FAILED", "Refused", True)
    assert run.id in listed(server, {"type": {"any_": ["FAILED", "CRASHED"]}})  # the dashboard
    assert run.id in listed(server, {"name": {"any_": ["Refused"]}})
    assert run.id not in listed(server, {"name": {"any_": ["Failed"]}})  # the filter of the runs
    (page,) = server.artifacts(run, "markdown")
    assert page["data"].startswith("## This run was refused")
    assert "start a new run" in page["data"]
    assert "nowhere" in page["data"]
