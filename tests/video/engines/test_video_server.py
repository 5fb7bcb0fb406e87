"""A server behind ``/v1/videos`` as an engine: its protocol, its pauses and its lies."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from starlette.responses import Response, StreamingResponse
from videos_servers import VideosServer, serving

from core.refusal import Refusal
from core.trouble import Trouble
from video.engines import video_server, videos_client
from video.engines.engine import StoppedError, never
from video.engines.places import is_engine
from video.engines.shelf import engine_of, find_engine
from video.request import VideoRequest

SIZE = {"num_frames": 5, "height": 16, "width": 32, "fps": 8}


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(video_server, "ASK_EVERY_S", 0.01)
    monkeypatch.setattr(videos_client, "WAIT_S", 0.01)
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    for name in ("LAMINA_ENGINE_KEY", "LAMINA_ENGINE_SERVERS", "LAMINA_ENGINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(tmp_path):
    """Start a server with such habits; the server and its address."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**habits):
            made = VideosServer(tmp_path, **habits)
            return made, stack.enter_context(serving(made.application))

        yield start


def asked(address, **changes):
    told = {"prompt": "a cat", "engine": f"{address}/some/model", "seed": 3, **SIZE}
    return VideoRequest.model_validate(told | changes)


def drawn(request, on_step=lambda *_: None, stop=never):
    engine = engine_of(request)
    engine.check(request)
    loaded = engine.ready(engine.load("cpu"))
    settled = engine.settled(request)
    try:
        return loaded.decode(settled, loaded.denoise(settled, None, on_step, stop))
    finally:
        loaded.close()


@pytest.mark.parametrize("json_only", [False, True])
def test_a_clip_is_asked_for_waited_for_and_fetched(server, json_only):
    made, address = server(json_only=json_only)
    steps = []
    request = asked(address, steps=7, guidance=4.5, negative="a dog")
    clip = drawn(request, on_step=lambda *news: steps.append(news[:2]))
    assert clip.frames.shape == (5, 16, 32, 3)
    assert steps == [(0, 100), (25, 100), (50, 100), (75, 100), (100, 100)]
    assert {**made.asked[0]} == {
        "prompt": "a cat", "model": "some/model", "size": "32x16", "width": "32", "height": "16",
        "num_frames": "5", "fps": "8", "num_inference_steps": "7", "guidance_scale": "4.5",
        "negative_prompt": "a dog", "seed": "3",
    }  # fmt: skip
    assert clip.facts["server"] == f"{address}/some/model"
    engine_of(request).forget(request)
    assert made.removed == ["video_0"]
    assert not np.array_equal(drawn(asked(address, seed=4)).frames, clip.frames)


def test_a_job_that_was_begun_is_gone_on_with(server):
    made, address = server()

    def killed(done, total, estimate):
        if done == 50:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        drawn(asked(address), on_step=killed)
    steps = []
    drawn(asked(address), on_step=lambda *news: steps.append(news))
    assert len(made.asked) == 1
    assert steps[0] == (75, 100, "resumed")


DRAWING = """
import sys
from video.engines.shelf import engine_of
from video.request import VideoRequest
request = VideoRequest.model_validate_json(sys.argv[1])
engine = engine_of(request)
loaded, settled = engine.ready(engine.load("cpu")), engine.settled(request)
loaded.denoise(settled, None, lambda *_: None, lambda: False)
"""


@pytest.mark.parametrize("knows_names", [True, False])
def test_a_process_killed_while_it_waits_leaves_one_job_that_the_next_waits_for(
    server, knows_names
):
    made, address = server(until=2, knows_names=knows_names)
    request = asked(address)
    command = [sys.executable, "-c", DRAWING, request.model_dump_json()]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()}) as process:
        end = time.monotonic() + 60
        while not any(job["polls"] for job in made.jobs.values()):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.kill()
    made.until = None
    steps = []
    clip = drawn(request, on_step=lambda *news: steps.append(news))
    assert (len(made.asked), made.removed, clip.facts["job"]) == (1, [], "video_0")
    assert steps[0][2] == "resumed"


@pytest.mark.parametrize("ending", [KeyboardInterrupt, StoppedError])
def test_who_ends_it_here_ends_it_there(server, ending):
    made, address = server()

    def ended(*_):
        raise ending

    with pytest.raises(ending):
        drawn(asked(address), on_step=ended)
    assert made.removed == ["video_0"]
    drawn(asked(address))
    assert len(made.asked) == 2


def test_a_busy_server_is_asked_again_and_one_that_is_away_is_named(server):
    made, address = server(away=3)
    assert len(drawn(asked(address)).frames) == 5
    made.away = 10
    with pytest.raises(Refusal, match="answered 503"):
        drawn(asked(address, seed=9))
    with pytest.raises(Trouble, match=r"127.0.0.1:9 does not answer .*start it"):
        drawn(asked("http://127.0.0.1:9"))


def test_a_key_is_taken_from_the_environment(server, monkeypatch):
    _, address = server(key="open")
    with pytest.raises(Refusal, match="answered 401: it asks for a key; set LAMINA_ENGINE_KEY"):
        drawn(asked(address))
    monkeypatch.setenv("LAMINA_ENGINE_KEY", "open")
    monkeypatch.setenv("LAMINA_ENGINE_SERVERS", f"gpu={address}/v1")
    drawn(asked(address))


@pytest.mark.parametrize("known", ["", "http://{host}1", "https://{host}", "http://127.0.0.1"])
def test_the_key_goes_to_no_server_that_only_a_request_names(server, monkeypatch, known):
    _, address = server(key="open")
    monkeypatch.setenv("LAMINA_ENGINE_KEY", "open")
    host = address.removeprefix("http://")
    monkeypatch.setenv("LAMINA_ENGINE_SERVERS", f"gpu={known.format(host=host)}")
    with pytest.raises(Refusal, match=r"answered 401: .*name the server in LAMINA_ENGINE_SERVERS"):
        drawn(asked(address))


def test_an_address_is_read_whole_or_refused():
    named = video_server.VideoServer.named
    assert named("http://gpu/v1.5-wan").model == "v1.5-wan"
    assert [named(f"http://gpu{path}").model for path in ("", "/v1", "/v1/", "/v1/a/b")] == [
        "", "", "", "a/b",
    ]  # fmt: skip
    for wrong in ("http://[::1", "http://gpu:abc/x", "http://gpu:99999"):
        with pytest.raises(Refusal, match="a server is named as http"):
            named(wrong)
    assert not is_engine("x" * 300)


def test_what_the_server_refuses_is_refused_in_its_words(server):
    _, address = server()
    with pytest.raises(Refusal, match=r"answered 400 .width must be 16 or more."):
        drawn(asked(address, width=8))


def endless():
    async def parts():
        for _ in range(30):
            yield b"x" * 100_000

    return parts()


LIES = {
    "text": ({"content": Response(b"<html>", media_type="text/html")}, "sent text/html where"),
    "much": ({"content": StreamingResponse(endless(), media_type="video/mp4")}, "sent more than"),
    "junk": ({"content": Response(b"junk", media_type="video/mp4")}, "cannot be decoded"),
    "frames": ({"makes": {"num_frames": "9"}}, "made 9 frames of 32 x 16 where 5 of 32 x 16"),
    "size": ({"makes": {"width": "64"}}, "made 5 frames of 64 x 16 where 5 of 32 x 16"),
    "id": ({"job": {"id": "../../etc", "status": "queued"}}, "spoke of a job as"),
    "state": ({"said": {"status": "failed", "error": {"message": "too hot"}}}, "failed .too hot."),
    "list": ({"job": ["?"]}, "without id and status"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_refused(server, lie):
    lies, words = LIES[lie]
    _, address = server(lies=lies)
    with pytest.raises(Refusal, match=words):
        drawn(asked(address))


def test_a_server_is_found_by_its_name_and_checked(server, monkeypatch):
    _, address = server()
    monkeypatch.setenv("LAMINA_ENGINE_SERVERS", f"fast={address}/v1")
    engine = find_engine("fast")
    assert (engine.kind, engine.name) == ("server", address)
    engine.look()
    with pytest.raises(Refusal, match="there is no /v1/videos"):
        video_server.VideoServer(f"{address}/elsewhere").look()
    with pytest.raises(Refusal, match=r"num_frames=0 .*give it, such as 81"):
        engine.check(asked(address, num_frames=0))
    with pytest.raises(Refusal, match="a server is named as http"):
        find_engine("ftp://host")
    with pytest.raises(Refusal, match="a server is named as http"):
        find_engine("http://name:secret@host")
