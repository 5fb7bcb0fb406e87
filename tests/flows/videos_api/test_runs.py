"""Jobs as runs, of a stand-in for Prefect's server that keeps keys as it does."""

from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from flows.settings.settings import read_settings
from flows.videos_api.application import create_videos

CLIP = {"prompt": "a red circle", "model": "tiny-video", "num_frames": 4}
KEY = {"Idempotency-Key": "one"}


class Prefect:
    """Deployments and runs in memory: a key and its flow stand for one run, for ever."""

    def __init__(self):
        self.runs, self.keys = {}, {}
        self.meanwhile = None
        self.watched, self.seen = None, []  # a run that is told to end does so at the third look
        self.application = Starlette(
            routes=[
                Route("/api/deployments/name/{flow}/{_}", self.deployment),
                Route("/api/deployments/{flow}/create_flow_run", self.create, methods=["POST"]),
                Route("/api/flow_runs/filter", self.all, methods=["POST"]),
                Route("/api/flow_runs/{run}", self.run, methods=["GET", "PATCH"]),
                Route("/api/flow_runs/{run}/set_state", self.state, methods=["POST"]),
                Route("/api/artifacts/filter", self.nothing, methods=["POST"]),
            ]
        )

    async def nothing(self, request):
        return JSONResponse([])

    async def deployment(self, request):
        return JSONResponse({"id": request.path_params["flow"]})

    async def create(self, request):
        asked = await request.json()
        flow, run = request.path_params["flow"], str(uuid4())
        key = (flow, asked.get("idempotency_key", run))
        if key not in self.keys:
            told = {
                "id": run,
                "flow": flow,
                "state_type": "SCHEDULED",
                "created": "2026-01-01T00:00:00Z",
            }
            self.runs[run] = told | {name: asked[name] for name in ("parameters", "tags")}
        return JSONResponse(self.runs[self.keys.setdefault(key, run)])

    async def all(self, request):
        asked = await request.json()
        wanted = asked["flow_runs"]
        flows = asked["flows"]["name"]["any_"] if "tags" in wanted else ()
        states = wanted["state"]["type"]["any_"] if "state" in wanted else ()
        found = [
            run
            for run in self.runs.values()
            if ("v1-videos" in run["tags"] and run["flow"] in flows) or run["state_type"] in states
        ]
        if states and self.meanwhile:  # what comes while a removal looks for others
            await self.meanwhile()
        return JSONResponse(found[asked.get("offset", 0) :])

    async def run(self, request):
        run = self.runs.get(request.path_params["run"])
        if run is None:
            return Response(status_code=404)
        if request.method == "PATCH":
            run |= await request.json()
        elif run["state_type"] == "CANCELLING":
            self.seen.append(self.watched.exists())
            run |= {"state_type": "CANCELLED"} if len(self.seen) == 3 else {}
        return JSONResponse(run)

    async def state(self, request):
        run = self.runs[request.path_params["run"]]
        run["state_type"] = (await request.json())["state"]["type"]
        return JSONResponse({})


@pytest.fixture
def prefect():
    return Prefect()


@pytest.fixture
def asks(places, prefect):
    (places / "wan").mkdir()
    (places / "wan" / "model_index.json").write_text("{}")
    made = create_videos(prefect.application, read_settings())
    return TestClient(made, base_url="http://127.0.0.1")


def created(asks, **changes):
    return asks.post("/v1/videos", json=CLIP | changes, headers=KEY).raise_for_status().json()


def test_a_key_stands_for_one_job_until_that_is_removed(asks):
    first = created(asks)["id"]
    assert created(asks)["id"] == first
    for _ in range(2):
        assert asks.delete(f"/v1/videos/{first}").json()["deleted"] is True
        again = created(asks)["id"]
        assert again != first
        assert created(asks)["id"] == again
        assert asks.get(f"/v1/videos/{again}").status_code == 200
        first = again
    other = asks.post("/v1/videos", json=CLIP | {"seed": 4}, headers=KEY)
    assert "began another request" in other.json()["error"]["message"]


def test_a_batch_whose_name_cannot_be_is_not_begun(asks, prefect):
    asked = {"name": "night-{date}", "prompts": ["a red circle"], "model": "tiny-video"}
    answer = asks.post("/v1/videos/batches", json=asked)
    assert (answer.status_code, prefect.runs) == (400, {})
    assert "choose such a name" in answer.json()["error"]["message"]
    batch = asks.post("/v1/videos/batches", json=asked | {"name": "night"}).json()
    assert asks.get(f"/v1/videos/batches/{batch['id']}").json()["name"] == "night"


@pytest.mark.parametrize("name", ["nobody", "./nobody", "own", "tiny-mri", "x" * 300])
def test_a_model_that_is_not_there_is_refused_at_once_as_openai_does(asks, prefect, name):
    """404 and ``model_not_found``, which OpenAI's client raises as NotFoundError."""
    batch = {"name": "night", "prompts": ["a red circle"], "model": name}
    for path, body in (("", CLIP | {"model": name}), ("/batches", batch)):
        answer = asks.post(f"/v1/videos{path}", json=body)
        error = answer.json()["error"]
        assert answer.status_code == 404, error
        told = (error["type"], error["param"], error["code"])
        assert told == ("invalid_request_error", "model", "model_not_found")
        assert f"model={name}: no such model or engine" in error["message"]
        assert "choose one of scenes-64, tiny-video" in error["message"]
    assert prefect.runs == {}


def test_models_engines_and_servers_that_are_there_are_taken(places, asks, prefect, monkeypatch):
    (places / "shelf" / "ltx").mkdir(parents=True)
    (places / "shelf" / "ltx" / "model_index.json").write_text("{}")
    monkeypatch.setenv("LAMINA_ENGINES", str(places / "shelf"))
    monkeypatch.setenv("LAMINA_ENGINE_SERVERS", "fast=http://gpu:8091")
    for name in ("tiny-video", "ltx", "./shelf/ltx", "fast", "http://gpu:8091/wan"):
        assert asks.post("/v1/videos", json=CLIP | {"model": name}).status_code == 200, name
    assert len(prefect.runs) == 5


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # OpenAI's own server
def test_openais_own_client_creates_polls_fetches_lists_and_deletes(places, asks, prefect):
    import openai

    with openai.OpenAI(api_key="any", base_url="http://127.0.0.1/v1", http_client=asks) as client:
        job = client.videos.create(
            prompt="a red circle",
            model="tiny-video",
            seconds="2",  # pyright: ignore[reportArgumentType]
            size="32x32",  # pyright: ignore[reportArgumentType]
            extra_body={"num_inference_steps": 1},
        )
        assert (job.status, job.seconds, job.size) == ("queued", "2", "32x32")
        (run,) = prefect.runs.values()
        assert run["parameters"]["request"]["num_frames"] == 16
        folder = places / "outputs" / "default" / "text_to_video" / f"clip-{run['id'][:8]}"
        folder.mkdir(parents=True)
        (folder / "clip.mp4").write_bytes(b"a clip")
        run["state_type"] = "COMPLETED"
        job = client.videos.poll(job.id)
        assert (job.status, job.progress) == ("completed", 100)
        assert client.videos.download_content(job.id).read() == b"a clip"
        assert [one.id for one in client.videos.list()] == [job.id]
        with pytest.raises(openai.NotFoundError, match="no such model or engine") as missing:
            client.videos.create(prompt="a red circle", model="nobody")
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError, match="a size is written WIDTHxHEIGHT"):
            client.videos.create(prompt="a red circle", model="tiny-video", size="big")  # pyright: ignore[reportArgumentType]
        assert client.videos.delete(job.id).deleted is True
        assert list(client.videos.list()) == []


def test_a_clip_is_no_batch(asks):
    clip = created(asks)["id"]
    assert asks.get(f"/v1/videos/batches/{clip}").status_code == 404
    assert asks.get(f"/v1/videos/{clip}").json()["id"] == clip


def test_a_picture_is_written_only_for_a_request_that_is_taken(places, asks, monkeypatch):
    from tiny_engines import save_picture

    content = save_picture(places / "a.png", 16, 16).read_bytes()
    told = {"prompt": "a cat", "model": "./wan", "num_frames": "9"}
    folder = places / "outputs" / "default" / "pictures"

    def sent(server=asks, **more):
        file = {"input_reference": ("a.png", content, "image/png")}
        return server.post("/v1/videos", data=told | more, files=file)

    assert sent(num_frames="-1").status_code == 400
    assert not folder.exists()
    monkeypatch.setenv("LAMINA_QUOTA_GB", "0.00000001")
    full = TestClient(create_videos(Prefect().application, read_settings()))
    assert "LAMINA_QUOTA_GB" in sent(full).json()["error"]["message"]
    assert not folder.exists()
    assert sent().status_code == 200
    assert len(list(folder.iterdir())) == 1


def test_a_clip_that_another_host_made_is_said_to_be_there(asks, prefect):
    job = created(asks)["id"]
    (run,) = prefect.runs.values()
    assert "not made yet" in asks.get(f"/v1/videos/{job}/content").json()["error"]["message"]
    run["state_type"] = "COMPLETED"
    said = asks.get(f"/v1/videos/{job}/content").json()["error"]["message"]
    assert "is made, but not on this server's disk" in said


def test_a_picture_goes_with_the_last_job_that_names_it(places, asks, prefect):
    from tiny_engines import save_picture

    content = save_picture(places / "a.png", 16, 16).read_bytes()
    told = {"prompt": "a cat", "model": "./wan", "num_frames": "9"}
    folder = places / "outputs" / "default" / "pictures"

    def sent(**more):
        file = {"input_reference": ("a.png", content, "image/png")}
        return asks.post("/v1/videos", data=told | more, files=file).json()["id"]

    first, second = sent(), sent(seed="2")
    assert asks.delete(f"/v1/videos/{first}").json()["deleted"] is True
    assert len(list(folder.iterdir())) == 1
    assert asks.delete(f"/v1/videos/{second}").json()["deleted"] is True
    assert not list(folder.iterdir())
    assert (places / "a.png").is_file()


def test_a_picture_stays_for_any_run_under_way_that_names_it(places, asks, prefect):
    from tiny_engines import save_picture

    content = save_picture(places / "a.png", 16, 16).read_bytes()
    told = {"prompt": "a cat", "model": "./wan", "num_frames": "9"}
    file = {"input_reference": ("a.png", content, "image/png")}
    job = asks.post("/v1/videos", data=told, files=file).json()["id"]
    (picture,) = (places / "outputs" / "default" / "pictures").iterdir()
    named = {"request": {"name": "night", "prompts": f"a cat | first={picture}"}}
    other = {"id": "b", "flow": "generate_clips", "tags": [], "parameters": named}
    prefect.runs["b"] = other | {"state_type": "RUNNING"}
    assert asks.delete(f"/v1/videos/{job}").json()["deleted"] is True
    assert picture.is_file()
    prefect.runs["b"]["state_type"] = "COMPLETED"
    job = asks.post("/v1/videos", data=told, files=file).json()["id"]
    assert asks.delete(f"/v1/videos/{job}").json()["deleted"] is True
    assert not picture.exists()


def test_no_picture_goes_between_being_kept_and_its_run(places, asks, prefect):
    """A removal that looks for other jobs lets nobody begin one that it would not see."""
    import asyncio

    import httpx
    from tiny_engines import save_picture

    content = save_picture(places / "a.png", 16, 16).read_bytes()
    told = {"prompt": "a cat", "model": "./wan", "num_frames": "9"}
    file = {"input_reference": ("a.png", content, "image/png")}
    folder = places / "outputs" / "default" / "pictures"
    made = create_videos(prefect.application, read_settings())

    async def both():
        transport = httpx.ASGITransport(made)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            first = (await client.post("/v1/videos", data=told, files=file)).json()["id"]
            begun = []

            async def meanwhile():
                prefect.meanwhile = None
                begun.append(asyncio.create_task(client.post("/v1/videos", data=told, files=file)))
                await asyncio.sleep(0.2)

            prefect.meanwhile = meanwhile
            await client.delete(f"/v1/videos/{first}")
            return (await begun[0]).json()["id"]

    asyncio.run(both())
    assert len(list(folder.iterdir())) == 1


def test_the_folder_of_a_run_stays_until_the_run_has_ended(places, asks, prefect, monkeypatch):
    monkeypatch.setattr("flows.videos_api.runs.LOOK_EVERY_S", 0.01)
    job = created(asks)["id"]
    (run,) = prefect.runs.values()
    run["state_type"] = "RUNNING"
    folder = places / "outputs" / "default" / "text_to_video" / f"clip-{run['id'][:8]}"
    folder.mkdir(parents=True)
    prefect.watched = folder
    assert asks.delete(f"/v1/videos/{job}").json()["deleted"] is True
    assert prefect.seen == [True] * 3
    assert not folder.exists()
