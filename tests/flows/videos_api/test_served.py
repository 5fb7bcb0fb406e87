"""``/v1/videos`` of a real stack, driven as OpenAI's client does, and by our own engine."""

import json
import time

import httpx
import pytest

from flows.stack.api import Server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PASSWORD = "operator:correct horse"
PLACES = {"PREFECT_SERVER_API_AUTH_STRING": PASSWORD}
SMALL = {"num_frames": 4, "width": 32, "height": 32, "num_inference_steps": 1, "fps": 8}
WAIT_S = 240.0


@pytest.fixture
def client(running):
    _, server = running
    headers = {"Authorization": f"Bearer {PASSWORD}"}
    with httpx.Client(base_url=f"{server.address}/v1", headers=headers, timeout=60) as client:
        yield client


def ended(client, path):
    deadline = time.monotonic() + WAIT_S
    while True:
        job = client.get(path).raise_for_status().json()
        if job["status"] in ("completed", "failed"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.5)


def test_a_clip_is_created_polled_fetched_listed_and_deleted(running, client, tmp_path):
    from video.files.clip import read_mp4

    asked = {"prompt": "a red circle moves left", "model": "tiny-video", "seed": 3, **SMALL}
    key = {"Idempotency-Key": "one"}
    job = client.post("/videos", json=asked, headers=key).raise_for_status().json()
    again = client.post("/videos", json=asked, headers=key).json()
    assert (job["object"], again["id"]) == ("video", job["id"])
    other = client.post("/videos", json=asked | {"seed": 4}, headers=key)
    assert other.status_code == 400
    assert "began another request" in other.json()["error"]["message"]
    job = ended(client, f"/videos/{job['id']}")
    assert (job["status"], job["progress"], job["size"]) == ("completed", 100, "32x32"), job
    content = client.get(f"/videos/{job['id']}/content").raise_for_status()
    assert content.headers["content-type"] == "video/mp4"
    (tmp_path / "clip.mp4").write_bytes(content.content)
    assert read_mp4(tmp_path / "clip.mp4").frames.shape == (4, 32, 32, 3)
    picture = client.get(f"/videos/{job['id']}/content", params={"variant": "thumbnail"})
    assert picture.headers["content-type"] == "image/webp"
    assert [one["id"] for one in client.get("/videos").json()["data"]] == [job["id"]]
    assert client.delete(f"/videos/{job['id']}").json()["deleted"] is True
    assert client.get(f"/videos/{job['id']}").status_code == 404
    assert client.get("/videos").json()["data"] == []
    folder, _ = running
    assert list((folder / "outputs" / "default" / "text_to_video").iterdir()) == []


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # OpenAI's own server
def test_openais_own_client_drives_it(running, tmp_path):
    import openai

    from video.files.clip import read_mp4

    _, server = running
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key=PASSWORD) as asks:
        job = asks.videos.create_and_poll(
            prompt="a red circle moves left",
            model="tiny-video",
            size="32x32",  # pyright: ignore[reportArgumentType]
            poll_interval_ms=500,
            extra_body={"num_frames": 4, "num_inference_steps": 1, "fps": 8},
        )
        assert (job.status, job.progress, job.seconds) == ("completed", 100, "0.5"), job
        assert asks.videos.retrieve(job.id).model == "tiny-video"
        asks.videos.download_content(job.id).write_to_file(tmp_path / "clip.mp4")
        assert read_mp4(tmp_path / "clip.mp4").frames.shape == (4, 32, 32, 3)
        assert [one.id for one in asks.videos.list()] == [job.id]
        with pytest.raises(openai.NotFoundError, match="no such model or engine"):
            asks.videos.create(prompt="a red circle", model="nobody")
        with pytest.raises(openai.BadRequestError, match="a size is written WIDTHxHEIGHT"):
            asks.videos.create(prompt="a red circle", model="tiny-video", size="big")  # pyright: ignore[reportArgumentType]
        assert asks.videos.delete(job.id).deleted is True
        assert [one.id for one in asks.videos.list()] == []
    with (
        openai.OpenAI(base_url=f"{server.address}/v1", api_key="wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.videos.list()


def test_our_own_engine_drives_it(client, running, tmp_path, monkeypatch):
    from video.engines.engine import never
    from video.engines.shelf import engine_of
    from video.request import VideoRequest

    _, server = running
    monkeypatch.setenv("LAMINA_ENGINE_KEY", PASSWORD)
    monkeypatch.setenv("LAMINA_ENGINE_SERVERS", f"here={server.address}")
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
    told = {"prompt": "a red circle", "engine": f"{server.address}/tiny-video", "num_frames": 4}
    request = VideoRequest.model_validate(told | {"width": 32, "height": 32, "fps": 8, "steps": 1})
    engine = engine_of(request)
    engine.look()
    loaded = engine.ready(engine.load("cpu"))
    clip = loaded.decode(request, loaded.denoise(request, None, lambda *_: None, never))
    loaded.close()
    assert clip.frames.shape == (4, 32, 32, 3)
    engine.forget(request)
    assert client.get("/videos").json()["data"] == []


def test_a_batch_is_made_and_a_model_that_is_not_there_is_refused(client):
    prompts = ["a red circle", "a blue square"]
    asked = {"name": "two", "prompts": prompts, "model": "tiny-video", **SMALL}
    job = client.post("/videos/batches", json=asked).raise_for_status().json()
    wrong = client.post("/videos", json={"prompt": "a red circle", "model": "nobody"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "model_not_found")
    done = ended(client, f"/videos/batches/{job['id']}")
    assert done["request_counts"] == {"made": 2, "failed": 0, "rejected": 0}, json.dumps(done)


def test_a_stranger_is_told_to_bring_the_password(running):
    _, server = running
    assert isinstance(server, Server)
    assert httpx.get(f"{server.address}/v1/videos").status_code == 401
