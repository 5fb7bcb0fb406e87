"""``/v1/videos`` without a server: who is let in, and how fields are read."""

import pytest
from starlette.testclient import TestClient

from core.refusal import Refusal
from flows.gallery.application import Beside
from flows.settings.settings import read_settings
from flows.videos_api.runs import keep_picture
from flows.videos_api.wire import JOB, fields_of, job_of, request_of, run_of

RUN = "0192f0c1-7a5e-7000-8000-00000000000a"


async def nobody(scope, receive, send):
    from starlette.responses import JSONResponse

    await JSONResponse([])(scope, receive, send)


def client(**more):
    return TestClient(Beside(nobody, read_settings()), base_url="http://127.0.0.1", **more)


def test_the_password_is_the_key(places, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ann:secret")
    asks = client()
    assert asks.get("/v1/videos").status_code == 401
    assert asks.get("/v1/videos", headers={"Authorization": "Bearer wrong"}).status_code == 401
    answer = asks.get("/v1/videos", headers={"Authorization": "Bearer ann:secret"})
    assert answer.json() == {"object": "list", "data": [], "has_more": False}
    assert asks.get("/v1/videos", auth=("ann", "secret")).status_code == 200


def test_pages_of_other_sites_and_other_names_ask_nothing(places):
    asks = client()
    assert asks.get("/v1/videos").status_code == 200
    assert asks.get("/v1/videos", headers={"Origin": "https://evil.example"}).status_code == 403
    assert asks.get("/v1/videos", headers={"Host": "evil.example"}).status_code == 403


def test_fields_are_read_as_clients_write_them():
    told = {
        "prompt": "a cat", "model": "wan_22", "size": "832x480", "seconds": "5", "fps": 16,
        "negative_prompt": "a dog", "num_inference_steps": 30, "guidance_scale": 5.5, "seed": 3,
    }  # fmt: skip
    asked = request_of(told, "wan_22".__eq__)
    assert asked.model_dump() == {
        "prompt": "a cat", "engine": "wan_22", "width": 832, "height": 480, "num_frames": 80,
        "fps": 16, "negative": "a dog", "steps": 30, "guidance": 5.5, "seed": 3,
    }  # fmt: skip
    own = request_of(
        {"prompt": "a red circle", "model": "scenes-64", "seconds": "2"}, "wan_22".__eq__
    )
    assert (own.engine, own.num_frames, own.fps) == ("", 16, 8)
    led = request_of({"prompt": "a circle", "negative_prompt": "a red one"}, "wan_22".__eq__)
    assert led.model_dump()["negative"] == "a red one"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sise": "1x1"}, "sise: nothing here knows the field"),
        ({"size": "big"}, "a size is written WIDTHxHEIGHT"),
        ({"seconds": "4", "fps": [1]}, "a length is a number of seconds"),
        ({"seconds": "x", "fps": 8}, "a length is a number of seconds"),
        ({"seconds": "4", "model": "wan_22"}, "give fps beside it"),
        ({"num_frames": 129}, "num_frames must be at most 128"),
        ({"guidance_scale": 99}, "guidance must be at most 8"),
    ],
)
def test_what_cannot_be_read_is_refused(more, words):
    with pytest.raises(ValueError, match=words):
        request_of({"prompt": "a red circle", **more}, "wan_22".__eq__)


def test_forms_of_all_kinds_are_taken_apart():
    form = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na cat\r\n--x--\r\n'
    kind = "multipart/form-data; boundary=x"
    assert fields_of(kind, form) == {"prompt": "a cat"}
    assert fields_of("application/json", b'{"prompt": "a", "extra_body": {"seed": 1}}') == {
        "prompt": "a", "seed": 1,
    }  # fmt: skip
    assert fields_of("application/x-www-form-urlencoded", b"prompt=a+cat") == {"prompt": "a cat"}
    for bad in (b"", b"[1]", b"{", b"[" * 100_000):
        with pytest.raises(Refusal, match="a request is JSON or a form"):
            fields_of("application/json", bad)
    picture = form.replace(b'name="prompt"', b'name="input_reference"; filename="a.png"')
    assert fields_of(kind, picture) == {"input_reference": b"a cat"}
    other = form.replace(b'name="prompt"', b'name="script"; filename="a.py"')
    with pytest.raises(Refusal, match="script: a file is taken as input_reference alone"):
        fields_of(kind, other)


def test_a_job_is_named_by_its_run():
    job = JOB + RUN.replace("-", "")
    assert run_of(job) == RUN
    assert [run_of(wrong) for wrong in ("", RUN, job + "0", "video_../../x", job.upper())] == [
        ""
    ] * 5
    run = {"id": RUN, "parameters": {"request": {"prompt": "a cat", "fps": 8, "num_frames": 16}}}
    run |= {"created": "2026-01-01T00:00:00Z", "state_type": "FAILED"}
    told = job_of(run | {"state": {"name": "Refused", "message": "too long"}}, 0)
    assert (told["id"], told["status"], told["seconds"]) == (job, "failed", "2")
    assert told["error"] == {"code": "refused", "message": "too long"}
    assert told["created_at"] == 1767225600


def test_a_picture_is_kept_once_by_its_digest(tmp_path):
    from tiny_engines import save_picture

    content = save_picture(tmp_path / "a.png", 16, 16).read_bytes()
    kept = keep_picture(tmp_path / "project", content)
    assert keep_picture(tmp_path / "project", content) == kept
    assert kept.read_bytes() == content
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    asked = request_of(
        {"prompt": "a", "model": "wan_22", "input_reference": str(kept)}, "wan_22".__eq__
    )
    assert asked.first == str(kept)
    for junk in (b"junk", content[:40], "file-123", b"<svg/>"):
        with pytest.raises(Refusal, match="no picture that can be read"):
            keep_picture(tmp_path / "project", junk)


def test_a_wrong_request_is_told_as_clients_read_it(places):
    answer = client().post("/v1/videos", json={"prompt": ""})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "prompt" in error["message"]
    assert client().post("/v1/videos", content=b"x" * 20_000_001).status_code == 400
    assert client().get("/v1/videos/video_nothing").status_code == 404
