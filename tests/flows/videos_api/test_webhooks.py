"""What ended is told once it is heard, signed, in order, without a word of a person's."""

import asyncio
import base64
import hashlib
import hmac
import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from core.refusal import Refusal
from flows.settings.settings import read_settings
from flows.settings.webhooks import Webhooks, read_webhooks
from flows.videos_api import webhooks as webhooks_module
from flows.videos_api.webhooks import Herald, Telling

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four bytes").decode()


class Receiver(ThreadingHTTPServer):
    """Another system: keeps what it is sent, and answers as it is told."""

    def __init__(self):
        self.heard, self.answers = [], []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}/hook?of=them"

    def types(self):
        return [json.loads(body)["type"] for _, body in self.heard]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.answers.pop(0) if self.server.answers else 204
        if status < 300:
            self.server.heard.append((dict(self.headers), body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


class Runs:
    """Runs that ended, by the name of their flow, as the server gives them."""

    def __init__(self):
        self.ended = []

    def end(self, flow, state="COMPLETED", name=None, ago_s=0.0, **more):
        when = datetime.now(UTC) - timedelta(seconds=ago_s)
        run = {
            "id": str(uuid4()), "state_type": state, "state": {"name": name or state.title()},
            "end_time": when.isoformat(), "tags": ["v1-videos"],
            "parameters": {"request": {"prompt": "a secret wish", "name": "anna"}},
        }  # fmt: skip
        self.ended.append((flow, run | more))
        return run

    async def found(self, wanted):
        (flow,) = wanted["flows"]["name"]["any_"]
        after = wanted["flow_runs"]["end_time"]["after_"]
        return [run for name, run in self.ended if name == flow and run["end_time"] > after]


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def runs():
    return Runs()


@pytest.fixture
def herald(places, runs, receiver):
    return lambda *more: Herald(
        runs, read_settings(), Webhooks((receiver.url, *more), b"a secret of twenty-four bytes")
    )


def turn(herald, times=1):
    async def act():
        for _ in range(times):
            await herald.look()
            await herald.tell()

    asyncio.run(act())


def test_what_ended_is_told_once_and_signed_as_openais_clients_check_it(herald, runs, receiver):
    teller = herald()
    run = runs.end("text_to_video")
    turn(teller, times=3)
    ((headers, body),) = receiver.heard
    event = json.loads(body)
    assert event["type"] == "video.completed"
    assert event["data"] == {"id": "video_" + run["id"].replace("-", "")}
    assert (event["id"], event["object"]) == (headers["webhook-id"], "event")
    signed = f"{event['id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{right}"
    assert b"wish" not in body


def test_failures_refusals_and_batches_have_types_of_their_own(herald, runs, receiver):
    teller = herald()
    runs.end("text_to_video", "FAILED", "Refused")
    runs.end("generate_clips", "CRASHED")
    batch = runs.end("restore_scans", tags=[])
    turn(teller)
    told = {event["type"]: event["data"] for event in (json.loads(b) for _, b in receiver.heard)}
    assert told.keys() == {"video.failed", "video.batch.failed", "scan.batch.completed"}
    assert told["video.failed"]["error"] == {"code": "refused"}
    assert told["video.batch.failed"]["error"] == {"code": "crashed"}
    assert told["scan.batch.completed"] == {"id": batch["id"]}
    assert b"anna" not in b"".join(body for _, body in receiver.heard)


def test_what_is_not_heard_is_told_again_after_a_restart_too(herald, runs, receiver, monkeypatch):
    teller = herald()
    receiver.answers = [500, 302, 204]
    runs.end("text_to_video")
    runs.end("generate_clips")
    turn(teller)
    assert receiver.answers == [302, 204]  # the second is not tried where the first was not heard
    turn(teller)
    assert (receiver.heard, receiver.answers) == ([], [302, 204])
    monkeypatch.setattr(webhooks_module, "AGAIN_S", 0.0)
    kept = json.loads((read_settings().home / "webhooks.json").read_text())
    assert b"wish" not in json.dumps(kept).encode()
    for load in kept["waiting"].values():
        load["next"] = 0.0
    (read_settings().home / "webhooks.json").write_text(json.dumps(kept))
    again = herald()
    turn(again, times=4)
    assert receiver.types() == ["video.completed", "video.batch.completed"]
    turn(herald(), times=2)
    assert len(receiver.heard) == 2


def test_none_overtakes_what_ended_before_it(herald, runs, receiver, monkeypatch):
    monkeypatch.setattr(webhooks_module, "AGAIN_S", 30.0)
    teller = herald()
    receiver.answers = [500]
    runs.end("generate_clips")
    turn(teller)
    runs.end("restore_scans", tags=[])
    runs.end("text_to_video")
    turn(teller, times=2)
    assert receiver.heard == []
    for load in teller._waiting.values():
        load["next"] = 0.0
    turn(teller)
    ended = ["video.batch.completed", "scan.batch.completed", "video.completed"]
    assert receiver.types() == ended


def test_what_waits_behind_an_event_that_is_never_heard_is_given_up_in_its_own_time(
    herald, runs, receiver, monkeypatch
):
    monkeypatch.setattr(webhooks_module, "AGAIN_S", 0.0)
    monkeypatch.setattr(webhooks_module, "MOST_TRIES", 3)
    teller = herald()
    receiver.answers = [500, 500, 500]
    runs.end("generate_clips")
    turn(teller, times=2)
    runs.end("text_to_video")
    turn(teller, times=2)
    assert receiver.types() == ["video.completed"]


def test_one_that_is_always_refused_takes_none_with_it_that_was_never_sent(
    herald, runs, receiver, monkeypatch
):
    monkeypatch.setattr(webhooks_module, "AGAIN_S", 0.0)
    monkeypatch.setattr(webhooks_module, "MOST_TRIES", 3)
    teller = herald()
    receiver.answers = [400, 400, 400, 500]
    for flow in ("restore_scans", "text_to_video", "generate_clips"):
        runs.end(flow)
    turn(teller, times=5)
    assert receiver.types() == ["video.completed", "video.batch.completed"]


def test_what_ended_a_week_ago_is_tried_once(herald, runs, receiver, monkeypatch):
    teller = herald()
    teller._begun -= timedelta(days=30)
    teller._since = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    receiver.answers = [500, 500]
    runs.end("generate_clips", ago_s=8 * 24 * 3600)
    runs.end("restore_scans", ago_s=8 * 24 * 3600)
    runs.end("text_to_video")
    turn(teller, times=3)
    assert receiver.types() == ["video.completed"]


def test_a_file_that_cannot_be_read_is_said_and_kept_aside(herald, runs, receiver, caplog):
    turn(herald())
    kept = read_settings().home / "webhooks.json"
    kept.write_text("{torn")
    teller = herald()
    assert "webhooks.json cannot be read: what it held is told no more" in caplog.text
    assert kept.with_suffix(".unreadable").read_text() == "{torn"
    runs.end("text_to_video")
    turn(teller)
    assert receiver.types() == ["video.completed"]


def test_one_address_that_is_dead_keeps_nothing_from_another(
    herald, runs, receiver, monkeypatch, caplog
):
    monkeypatch.setattr(webhooks_module, "AGAIN_S", 0.0)
    monkeypatch.setattr(webhooks_module, "MOST_TRIES", 3)
    teller = herald("http://127.0.0.1:9/nobody")
    runs.end("text_to_video")
    turn(teller, times=5)
    assert receiver.types() == ["video.completed"]
    assert "127.0.0.1 is told no more of evt_" in caplog.text
    assert "of=them" not in caplog.text


def test_what_ended_before_webhooks_were_named_is_not_told(herald, runs, receiver):
    runs.end("text_to_video", ago_s=60)
    turn(herald(), times=2)
    assert receiver.heard == []


def test_the_herald_works_while_the_server_is_up(runs, receiver, herald, monkeypatch):
    monkeypatch.setattr(webhooks_module, "EVERY_S", 0.01)
    teller = herald()
    runs.end("text_to_video")
    faults = iter([OSError("the database is busy")])
    look = teller.look

    async def looking():
        for fault in faults:
            raise fault
        await look()

    monkeypatch.setattr(teller, "look", looking)

    async def application(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        for _ in range(200):
            if receiver.heard:
                break
            await asyncio.sleep(0.05)
        await send({"type": "lifespan.shutdown.complete"})

    async def nothing(*_):
        pass

    asyncio.run(Telling(application, teller)({"type": "lifespan"}, nothing, nothing))
    assert receiver.types() == ["video.completed"]


def test_an_address_that_cannot_be_asked_ends_nothing(herald, runs, receiver, monkeypatch):
    monkeypatch.setattr(webhooks_module, "EVERY_S", 0.01)
    teller = herald("http://\u00e4..b/")
    runs.end("text_to_video")
    turn(teller)
    turn(herald(), times=2)
    assert receiver.types() == ["video.completed"]  # once: that it was heard is written down
    looks = []

    async def looking():
        looks.append(1)
        raise RuntimeError("nobody foresaw this")

    async def a_while():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(teller.forever(), 0.5)

    monkeypatch.setattr(teller, "look", looking)
    asyncio.run(a_while())
    assert len(looks) > 1


def test_the_file_holds_no_secret_of_an_address_and_none_that_is_gone(herald, runs, receiver):
    path = read_settings().home / "webhooks.json"
    receiver.answers = [500] * 9
    gone = "http://127.0.0.1:9/hook?token=gone"
    teller = herald(gone)
    runs.end("text_to_video")
    turn(teller)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "of=them" not in path.read_text()
    assert "token" not in path.read_text()
    kept = json.loads(path.read_text())
    assert len(kept["waiting"]) == 2
    (event,) = {key.partition(" ")[0] for key in kept["waiting"]}
    before = {
        f"{event} {url}": load
        for url in (receiver.url, gone)
        for load in [
            {
                "event": {"id": event, "type": "video.completed"},
                "tries": 1,
                "next": 0.0,
            }
        ]
    }  # as it was written once
    path.write_text(json.dumps(kept | {"waiting": before}))
    path.chmod(0o644)
    receiver.answers = []
    again = herald()
    assert "of=them" not in path.read_text()
    assert len(json.loads(path.read_text())["waiting"]) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    turn(again)
    assert receiver.types() == ["video.completed"]


@pytest.mark.parametrize(
    "address",
    ["https://me:hidden@a/hidden?hidden", "https://:hidden@a/hidden", "https://a:b@c@d/hidden",
     "hidden@a", "http://[::1/hidden", "https://me:hid/den@a", "http://\u00e4..b/hidden"],
)  # fmt: skip
def test_a_refused_address_shows_no_password_and_no_path(address):
    with pytest.raises(Refusal, match=r"\(address 2 of 2\): .*; correct it") as refused:
        read_webhooks({"LAMINA_WEBHOOKS": f"https://b {address}", "LAMINA_WEBHOOK_SECRET": SECRET})
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"LAMINA_WEBHOOKS": "ftp://a"}, "LAMINA_WEBHOOKS=ftp://a .*: webhooks .*; correct it"),
        ({"LAMINA_WEBHOOKS": "https://me:pass@a"}, "name no user"),
        ({"LAMINA_WEBHOOKS": "http://[::1"}, "begin with https"),
        ({"LAMINA_WEBHOOKS": "https://a"}, "LAMINA_WEBHOOK_SECRET of 0 characters"),
        (
            {"LAMINA_WEBHOOKS": "https://a", "LAMINA_WEBHOOK_SECRET": "whsec_c2hvcnQ="},
            "at least 24 random bytes",
        ),
        (
            {"LAMINA_WEBHOOKS": "https://a", "LAMINA_WEBHOOK_SECRET": SECRET[6:]},
            "signed with whsec_",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(variables, words):
    with pytest.raises(Refusal, match=words):
        read_webhooks(variables)


def test_nobody_is_told_unless_an_operator_says_so():
    assert read_webhooks({}) == Webhooks()
    found = read_webhooks(
        {"LAMINA_WEBHOOKS": "https://a http://b/c https://a", "LAMINA_WEBHOOK_SECRET": SECRET}
    )
    assert found.urls == ("https://a", "http://b/c")
    assert "secret" not in repr(found)
