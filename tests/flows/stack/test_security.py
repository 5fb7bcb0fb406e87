"""A real stack that asks for a password: who comes in, what may be named, what is told."""

import base64
import json
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch

from medical.files.nifti import write_volume
from medical.files.volume import Volume

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PATIENCE_S = 400.0
PASSWORD = "ann:pw-1d7c0a5e93"
PATIENT = "mueller-anna-1961"
SECRETS = {
    "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
    "AWS_ACCESS_KEY_ID": "AKIA5EC4E7N0TT01D",
    "AWS_SECRET_ACCESS_KEY": "aws-5ec4e7-9f31b2c8",
    "AWS_SESSION_TOKEN": "aws-t0ken-77aa01be",
    "RAY_AUTH_TOKEN": "ray-t0ken-2b8d44f0",
    "HF_TOKEN": "hf-t0ken-90c1ee35",
}
PLACES = {**SECRETS, "LAMINA_MEDICAL_PAGES": "private", "LAMINA_QUOTA_GB": "tiny=0.000001"}
CLIP = {"model": "tiny-video", "num_frames": 4}


@pytest.fixture(scope="module", autouse=True)
def known_here():
    """This process knows the password, too, as whoever started the stack does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_AUTH_STRING", PASSWORD)
        yield


@pytest.fixture(scope="module")
def server(running):
    return running[1]


@pytest.fixture(scope="module")
def runs(running):
    """One run of each kind, as they ended; their requests name files below the results alone."""
    folder, server = running
    inputs = folder / "outputs" / "incoming"
    inputs.mkdir()
    data = torch.zeros(12, 10, 4)
    data[3:9, 3:8, 1:3] = 300.0
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), inputs / f"{PATIENT}.nii.gz")
    (inputs / "p.txt").write_text("two red circles move left\na blue ring\n")
    asked = {
        "text_to_video": {"prompt": "two red circles move left", **CLIP},
        "super_resolve_mri": {"scan": str(inputs / f"{PATIENT}.nii.gz"), "model": "tiny-mri"},
        "generate_clips": {"name": "two", "prompt_file": str(inputs / "p.txt"), **CLIP},
        "restore_scans": {
            "name": "heads",
            "scans": str(inputs),
            "model": "tiny-mri",
            "samples": 1,
        },
    }
    asked["super_resolve_mri"] |= {"samples": 1, "steps": 1}
    started = [server.start(flow, {"request": request}) for flow, request in asked.items()]
    return {run.flow: ended(server, run) for run in started}


def ended(server, run):
    deadline = time.monotonic() + PATIENCE_S
    while not (run := server.read(run)).ended:
        assert time.monotonic() < deadline, f"{run} took too long"
        time.sleep(0.5)
    return run


def status(url, body=None, **headers):
    request = Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urlopen(request) as answer:
            return answer.status, dict(answer.headers)
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers)


def basic(text):
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


CALLS = [
    ("/api/flow_runs/filter", {}),
    ("/api/deployments/filter", {}),
    ("/api/deployments/name/text_to_video/text_to_video", None),
    ("/api/artifacts/filter", {}),
    ("/api/logs/filter", {}),
    ("/api/block_documents/filter", {}),
    ("/api/work_pools/filter", {}),
    ("/api/variables/filter", {}),
    ("/api/admin/settings", None),
]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_a_stranger_is_told_nothing(server, path, body):
    url, kind = server.address + path, {"Content-Type": "application/json"}
    assert status(url, body, **kind)[0] == 401
    for wrong in ("ann:", "ann:pw-1d7c0a5e9", ":", PASSWORD.upper()):
        assert status(url, body, **kind, **basic(wrong))[0] == 401
    assert status(url, body, **kind, **basic(PASSWORD))[0] == 200


def test_probes_may_ask_whether_it_lives(server):
    assert status(f"{server.address}/api/health")[0] == 200


@pytest.mark.parametrize("path", ["/gallery/", "/gallery/search?q=circle", "/gallery/p/default/"])
def test_the_gallery_asks_for_the_same(server, runs, path):
    assert status(server.address + path)[0] == 401
    assert status(server.address + path, **basic("ann:"))[0] == 401
    assert status(server.address + path, **basic(PASSWORD))[0] == 200


def test_no_website_reads_what_the_api_answers(server):
    def allowed(origin):
        url = f"{server.address}/api/flow_runs/filter"
        kind = {"Content-Type": "application/json", "Origin": origin}
        return status(url, {}, **kind, **basic(PASSWORD))[1].get("access-control-allow-origin")

    port = server.address.rpartition(":")[2]
    assert allowed(server.address) == server.address
    assert allowed(f"http://localhost:{port}") == f"http://localhost:{port}"
    assert allowed("https://elsewhere.example") is None
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # sent without asking first
        url, headers = f"{server.address}/api/flows/", {"Content-Type": kind, **basic(PASSWORD)}
        assert status(url, {"name": "of another site"}, **headers)[0] in (415, 422)


@pytest.mark.parametrize(
    "flow", ["text_to_video", "super_resolve_mri", "generate_clips", "restore_scans"]
)
def test_the_flows_run_all_the_same(runs, flow):
    assert runs[flow].state == "COMPLETED", runs[flow].message


def test_a_form_that_names_a_file_outside_is_refused_and_told_nothing(running):
    folder, server = running
    (folder / "private.txt").write_text("the quick brown fox\n")
    names = ("/etc/passwd", str(folder / "private.txt"), str(folder / "nothing.txt"))
    asked = [{"name": "out", "prompt_file": name, **CLIP} for name in names]
    started = [server.start("generate_clips", {"request": request}) for request in asked]
    found = [ended(server, run) for run in started]
    assert [(run.state, run.name) for run in found] == [("FAILED", "Refused")] * 3
    words = {run.message.partition(": ")[2] for run in found}
    assert len(words) == 1, "whether the file stands makes no difference"
    assert words.pop().startswith("a request names files below the inputs")
    assert "brown fox" not in everything(server) + "".join(run.message for run in found)


def test_a_run_that_brings_its_own_variables_or_command_does_not_start(server):
    deployment = server._answer("/deployments/name/text_to_video/text_to_video")["id"]
    body = {
        "parameters": {"request": {"prompt": "a red circle", **CLIP}},
        "job_variables": {"env": {"LAMINA_INPUTS": "/"}, "command": "cat /etc/passwd"},
    }
    created = server._answer(f"/deployments/{deployment}/create_flow_run", body)
    run = server.start("text_to_video", {"request": {"prompt": "a red circle", **CLIP}})
    run = ended(server, type(run)(id=created["id"], flow="text_to_video", state="", message=""))
    assert run.state == "CRASHED"
    assert "command and env: a run of this worker brings none" in run.message


def test_a_projects_quota_is_held(running):
    folder, server = running
    (folder / "outputs" / "tiny").mkdir()
    (folder / "outputs" / "tiny" / "old.mp4").write_bytes(bytes(2000))
    for flow, request in {
        "text_to_video": {"prompt": "a red circle", **CLIP},
        "generate_clips": {"name": "full", "prompts": "a red circle", **CLIP},
    }.items():
        run = ended(server, server.start(flow, {"request": request, "project": "tiny"}))
        assert (run.state, run.name) == ("FAILED", "Refused"), run.message
        assert "tiny" in run.message
        assert "LAMINA_QUOTA_GB" in run.message
    assert [x.name for x in (folder / "outputs" / "tiny").rglob("*.mp4")] == ["old.mp4"]


def test_prefects_pages_show_nothing_of_a_medical_result(server, runs):
    for flow in ("super_resolve_mri", "restore_scans"):
        pages = pages_of(server, runs[flow])
        assert pages
        assert not [page for page in pages if "data:image" in page or PATIENT in page]
    assert [page for page in pages_of(server, runs["text_to_video"]) if "data:image" in page]


def pages_of(server, run):
    """All that a run showed as a page, earlier versions included."""
    wanted = {"flow_runs": {"id": {"any_": [run.id]}}}
    found = server._answer("/artifacts/filter", wanted)
    return [artifact["data"] for artifact in found if artifact["type"] == "markdown"]


def everything(server):
    """All that the server's API tells, as text."""
    told = [
        server._answer(path, {"limit": 200} if "filter" in path else None)
        for path in (
            "/flow_runs/filter",
            "/task_runs/filter",
            "/deployments/filter",
            "/work_pools/filter",
            "/artifacts/filter",
            "/logs/filter",
            "/block_documents/filter",
            "/variables/filter",
            "/admin/settings",
        )
    ]
    told.append(server._answer("/events/filter", {"filter": {}, "limit": 50}))
    return json.dumps(told)


def test_no_secret_is_in_parameters_variables_artifacts_logs_or_records(running, runs):
    folder, server = running
    told = everything(server)
    for flow in runs:
        assert runs[flow].id in told
    parts = {**SECRETS, "password alone": PASSWORD.partition(":")[2]}
    forms = {
        name: {text, base64.b64encode(text.encode()).decode()} for name, text in parts.items()
    }
    leaks = [name for name, texts in forms.items() if any(text in told for text in texts)]
    assert not leaks, "told by the server's API"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".json" and "outputs" in path.parts for path in files)
    assert any(path.suffix == ".log" for path in files)
    found = [
        f"{name} in {path.relative_to(folder)}"
        for path in files
        for content in [Path(path).read_bytes()]
        for name, texts in forms.items()
        if any(text.encode() in content for text in texts)
    ]
    assert not found, "written to a disk: database, logs, manifests, records or results"
