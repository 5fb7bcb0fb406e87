import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from core.refusal import Refusal
from flows.commands.command_line import main
from flows.commands.gallery import gallery
from flows.gallery.application import PREFIX, Beside, alone
from flows.gallery.guard import is_loopback
from flows.settings.settings import read_settings

CLIP = bytes(range(256)) * 40
PROMPT = 'a <script>alert("x")</script> & a red circle'
CLIP_PAGE = "/p/studio/r/text_to_video/demo-1a2b3c4d/clip"
SCAN_PAGE = "/p/ward/r/super_resolve_mri/p17-5e6f7a8b/scan"


def write_result(folder, stem, task, request, outputs):
    folder.mkdir(parents=True, exist_ok=True)
    described = {}
    for role, (name, content) in outputs.items():
        (folder / name).write_bytes(content)
        described[role] = {"file": name, "bytes": len(content), "sha256": "0" * 64}
    record = {
        "task": task,
        "created": "2026-11-20T10:00:00+00:00",
        "methods": "Made with care.",
        "request": request,
        "outputs": described,
        "extra": {"frames": 2},
    }
    (folder / f"{stem}.json").write_text(json.dumps(record))
    return folder / f"{stem}.json"


@pytest.fixture
def outputs(places):
    """A studio with a clip and a batch, and a ward with a scan."""
    root = places / "outputs"
    clip = root / "studio/text_to_video/demo-1a2b3c4d"
    write_result(clip, "clip", "text_to_video", {"prompt": PROMPT}, {"video": ("clip.mp4", CLIP)})
    (clip / "clip.webp").write_bytes(b"webp")
    (clip / "notes.txt").write_text("private")
    scan = root / "ward/super_resolve_mri/p17-5e6f7a8b"
    volumes = {"result": ("scan.nii.gz", b"v"), "std": ("scan_std.nii.gz", b"s")}
    request = {"scan": "/data/p17.nii.gz", "seed": 1}
    write_result(scan, "scan", "super_resolve_mri", request, volumes)
    write_batch(root / "studio/batches/night")
    return root


def write_batch(folder):
    for name in ("results", "shards"):
        (folder / name).mkdir(parents=True)
    about = {"name": "night", "kind": "video", "state": "running", "items": 4}
    about |= {"seconds_per_item": 30, "created": "2026-11-21T22:00:00+00:00"}
    (folder / "batch.json").write_text(json.dumps(about))
    prompts = ["a red ring", "a blue ring", "a green ring", "a gray ring"]
    items = [
        {"item": f"{n:016x}", "row": f"p.csv:{n}", "request": {"prompt": p}}
        for n, p in enumerate(prompts)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in items))
    video = {"video": ("0-a-red-ring.mp4", CLIP)}
    write_result(folder / "results", "0-a-red-ring", "text_to_video", items[0]["request"], video)
    made = {"video": {"path": "results/0-a-red-ring.mp4"}}
    lines = [
        {"item": items[0]["item"], "state": "failed", "time": "2026-11-21T23:00:00"},
        {"item": items[0]["item"], "state": "made", "time": "2026-11-21T23:01:00", "files": made},
        {
            "item": items[1]["item"],
            "state": "failed",
            "time": "2026-11-21T23:02:00",
            "error": "?!",
        },
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "shards/0000.jsonl").write_text(text + '{"item": "cut sho')


def client(**options):
    return TestClient(
        alone(read_settings()),
        base_url=f"http://127.0.0.1{PREFIX}",
        follow_redirects=False,
        **options,
    )


@pytest.fixture
def guarded(outputs, places, monkeypatch):
    """Makes the gallery need tokens: ann's is ``a-token`` for the studio, bob's for all."""
    import hashlib

    def digest(token):
        return hashlib.sha256(token.encode()).hexdigest()

    users = {
        "ann": {"sha256": digest("a-token"), "projects": ["studio"]},
        "bob": {"sha256": digest("b-token"), "projects": ["*"]},
        "cay": {"projects": ["ward"]},
    }
    path = places / "users.json"
    path.write_text(json.dumps({"users": users}))
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(path))
    return path


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_the_first_page_shows_projects_and_the_latest_results(outputs):
    page = client().get("/").text
    assert "/gallery/p/studio/" in page
    assert "/gallery/p/ward/" in page
    assert f"/gallery{CLIP_PAGE}" in page
    assert "2 results · 1 batch" in page


def test_a_batch_is_what_its_manifests_say(outputs):
    page = client().get("/p/studio/batches/night/").text
    counts = dict(re.findall(r"(Made|Failed|Rejected|Waiting) <b>(\d+)</b>", page))
    assert counts == {"Made": "1", "Failed": "1", "Rejected": "0", "Waiting": "2"}
    assert "about 60 s of work left" in page
    assert "/gallery/p/studio/r/batches/night/results/0-a-red-ring" in page
    failed = client().get("/p/studio/batches/night/?state=failed").text
    assert "a blue ring" in failed
    assert "?!" in failed
    assert "a red ring" not in failed
    assert "BIDS" not in page
    (outputs / "studio/batches/night/bids").mkdir()
    shown = client().get("/p/studio/batches/night/").text
    assert f"<code>{outputs}/studio/batches/night/bids</code>" in shown


def test_a_result_shows_its_record_and_how_to_make_it_again(outputs):
    page = client().get(CLIP_PAGE).text
    assert '<video class="clip' in page
    command = f"lamina reproduce {outputs}/studio/text_to_video/demo-1a2b3c4d/clip.mp4"
    assert command in page.replace("<wbr>", "")
    assert "Made with care." in page
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    scan = client().get(SCAN_PAGE).text
    std = "/gallery/p/ward/f/super_resolve_mri/p17-5e6f7a8b/scan/scan_std.nii.gz"
    assert f'value="std" data-map="{std}"' in scan
    assert "niivue.umd.js" in scan


def test_a_result_says_how_its_prompt_was_read(outputs):
    record = outputs / "studio/text_to_video/demo-1a2b3c4d/clip.json"
    held = json.loads(record.read_text())
    held["extra"] |= {"read_as": ["reed -> red"], "not_understood": ["cat", "<b>"]}
    record.write_text(json.dumps(held))
    page = client().get(CLIP_PAGE).text
    assert "read as: reed -&gt; red<" in page
    assert "not understood: cat, &lt;b&gt;<" in page
    assert page.index("not understood") < page.index("<video")


def test_a_player_gets_the_range_it_asks_for(outputs):
    address = CLIP_PAGE.replace("/r/", "/f/") + "/clip.mp4"
    whole = client().get(address)
    assert (whole.status_code, whole.content) == (200, CLIP)
    assert whole.headers["content-type"] == "video/mp4"
    part = client().get(address, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, CLIP[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(CLIP)}"
    beyond = client().get(address, headers={"Range": "bytes=99999-"})
    assert beyond.status_code == 416
    attached = client().get(f"{address}?download").headers["content-disposition"]
    assert attached == 'attachment; filename="clip.mp4"'


@pytest.mark.parametrize(
    "path",
    [
        "/p/studio/f/text_to_video/demo-1a2b3c4d/clip/notes.txt",
        "/p/studio/f/text_to_video/demo-1a2b3c4d/clip/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.mp4",
        "/p/studio/f/..%2f..%2fsecret/secret.mp4",
        "/p/%2e%2e/f/secret/secret.mp4",
        "/p/%2e%2e/r/secret",
        "/p/studio/r/text_to_video/%2e%2e/%2e%2e/%2e%2e/secret",
        "/p/studio/r/%2fetc%2fpasswd",
        "/p/studio/r/text_to_video/demo-1a2b3c4d/clip%00",
        "/p/studio/r/text_to_video\\demo-1a2b3c4d\\clip",
        "/p/studio/r/text_to_video/linked/secret",
        "/p/studio/f/text_to_video/linked/secret/secret.mp4",
        "/p/studio/f/text_to_video/demo-1a2b3c4d/sly/secret.mp4",
        "/p/studio/f/text_to_video/demo-1a2b3c4d/sly/stolen.mp4",
        "/p/studio/f/text_to_video/demo-1a2b3c4d/sly/passwd",
        "/p/out/r/secret",
        "/p/studio/batches/..%2f..%2fward/",
        "/p/studio/r/.hidden/x/clip",
        "/static/..%2fapplication.py",
        "/static/niivue.umd.js.gz",
        "/p/" + "a" * 5000 + "/",
    ],
)
def test_no_address_leads_out_of_the_results(outputs, places, path):
    secret = places / "secret"
    request = {"prompt": "secret"}
    write_result(secret, "secret", "text_to_video", request, {"video": ("secret.mp4", CLIP)})
    (outputs / "studio/text_to_video/linked").symlink_to(secret)
    (outputs / "out").symlink_to(secret)
    run = outputs / "studio/text_to_video/demo-1a2b3c4d"
    named = {role: {"file": name} for role, name in {
        "video": "../../../../secret/secret.mp4", "result": "stolen.mp4", "std": "/etc/passwd",
    }.items()}  # fmt: skip
    sly = {"task": "text_to_video", "created": "", "request": {}, "outputs": named}
    (run / "sly.json").write_text(json.dumps(sly))
    (run / "stolen.mp4").symlink_to(secret / "secret.mp4")
    assert client().get("/p/studio/r/text_to_video/demo-1a2b3c4d/sly").status_code == 200
    answer = client().get(path)
    assert answer.status_code == 404
    assert CLIP not in answer.content


def test_a_link_to_another_project_is_not_followed(outputs):
    (outputs / "studio/super_resolve_mri").symlink_to(outputs / "ward/super_resolve_mri")
    assert client().get(SCAN_PAGE.replace("ward", "studio")).status_code == 404
    assert "p17" not in client().get("/p/studio/").text


def test_search_goes_by_words_kind_project_and_day(outputs):
    def found(query):
        return set(
            re.findall(r"<b>(a \w+ ring|p17|a &lt;script.*?)</b>", client().get(query).text)
        )

    rings = {"a red ring", "a blue ring", "a green ring", "a gray ring"}
    assert found("/search?q=ring") == rings
    assert found("/search?q=RING+red") == {"a red ring"}
    assert found("/search?kind=mri") == {"p17"}
    assert found("/search?project=ward") == {"p17"}
    assert found("/search?since=2026-11-21") == rings
    assert len(found("/search?until=2026-11-20")) == 2
    assert found("/search?q=nothing") == set()


def test_broken_records_break_no_page(outputs):
    run = outputs / "studio/text_to_video/demo-1a2b3c4d"
    for name, text in {
        "cut": '{"task":',
        "list": "[]",
        "odd": '{"task": 1, "request": 2}',
    }.items():
        (run / f"{name}.json").write_text(text)
    (outputs / "studio/batches/night/batch.json").write_text("{")
    assert client().get("/p/studio/").status_code == 200
    assert client().get("/p/studio/batches/night/").status_code == 404
    assert client().get(CLIP_PAGE.replace("/clip", "/odd")).status_code == 404
    assert client().get("/").status_code == 200


@pytest.mark.parametrize("path", ["/", CLIP_PAGE, SCAN_PAGE, "/p/studio/", "/search", "/nowhere"])
def test_pages_ask_nothing_of_other_sites(outputs, path):
    answer = client().get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r'(src|href|action)="(https?:)?//', answer.text)
    assert " style=" not in answer.text
    assert not re.search(r"<script(?! src=)", answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"


def test_the_viewer_is_sent_packed_or_plain(outputs):
    packed = client().get("/static/niivue.umd.js", headers={"Accept-Encoding": "gzip"})
    plain = client().get("/static/niivue.umd.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 1.5e6
    assert packed.content == plain.content
    assert plain.content.startswith(b"(function(")


def test_an_open_gallery_answers_under_this_machines_names_alone(outputs):
    app = alone(read_settings())
    for host in ("127.0.0.1:4200", "localhost", "[::1]:80"):
        assert TestClient(app, base_url=f"http://{host}").get("/gallery/").status_code == 200
    evil = TestClient(app, base_url="http://evil.example").get("/gallery/")
    assert evil.status_code == 403
    assert "studio" not in evil.text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_it_does_not_listen_to_others_without_tokens(outputs, host):
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="LAMINA_GALLERY_TOKENS, or listen at"):
        gallery(host=host)


def test_strangers_see_nothing(guarded):
    for path in ("/", CLIP_PAGE, CLIP_PAGE.replace("/r/", "/f/") + "/clip.mp4", "/search?q=ring"):
        answer = client().get(path)
        assert answer.status_code == 401
        assert "ring" not in answer.text
        sent = client().get(path, headers={"Accept": "text/html"})
        assert sent.status_code == 303
        assert sent.headers["location"].startswith("/gallery/login?next=/")
    for token in ("", "wrong", "a-token2"):
        assert client().get("/", headers=bearer(token)).status_code == 401


def test_where_the_server_asks_for_a_password_the_gallery_asks_for_it_too(outputs, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ann:a-secret")
    assert client().get("/").status_code == 401
    for wrong in (("ann", "a-secreT"), ("ann", ""), ("", "a-secret")):
        assert client().get("/", auth=wrong).status_code == 401
    assert client(headers={"Authorization": "Basic !"}).get("/").status_code == 401
    assert client().get(SCAN_PAGE, auth=("ann", "a-secret")).status_code == 200
    assert client(headers=bearer("ann:a-secret")).get(SCAN_PAGE).status_code == 200
    browser = client()
    browser.post("/login", data={"token": "ann:a-secret"})
    assert browser.get(SCAN_PAGE).status_code == 200


def test_with_users_the_servers_password_opens_nothing(guarded, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ann:a-secret")
    assert client().get("/", auth=("ann", "a-secret")).status_code == 401
    assert client(headers=bearer("ann:a-secret")).get("/").status_code == 401
    assert client(headers=bearer("a-token")).get("/").status_code == 200


def test_other_projects_do_not_exist(guarded):
    ann, bob = client(headers=bearer("a-token")), client(headers=bearer("b-token"))
    assert bob.get(SCAN_PAGE).status_code == 200
    volume = SCAN_PAGE.replace("/r/", "/f/") + "/scan.nii.gz"
    for path in (SCAN_PAGE, volume, "/p/ward/"):
        assert ann.get(path).status_code == 404
    assert ann.get("/p/ward/").text == ann.get("/p/none/").text
    assert ann.get(CLIP_PAGE).status_code == 200
    for path in ("/", "/search?kind=mri", "/search?project=ward"):
        assert "p17" not in ann.get(path).text
        assert "p17" in bob.get(path).text


def test_a_person_signs_in_and_out(guarded):
    browser = client()
    refused = browser.post("/login", data={"token": "wrong"})
    assert refused.status_code == 401
    assert "set-cookie" not in refused.headers
    entered = browser.post(f"/login?next={CLIP_PAGE}", data={"token": "a-token"})
    assert entered.headers["location"] == f"/gallery{CLIP_PAGE}"
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "a-token" not in cookie
    assert browser.get(CLIP_PAGE).status_code == 200
    browser.post("/logout")
    assert browser.get(CLIP_PAGE).status_code == 401


def test_a_session_cannot_be_forged_or_outlive_its_token(guarded):
    browser = client()
    browser.post("/login", data={"token": "a-token"})
    (value,) = browser.cookies.values()
    name, until, signature = value.strip('"').split("|")
    for forged in (
        f"bob|{until}|{signature}",
        f"{name}|9{until}|{signature}",
        f"{name}|{until}|é",
    ):
        stranger = client(headers={"Cookie": f"lamina_gallery={forged}".encode()})
        assert stranger.get("/").status_code == 401
    assert browser.get("/").status_code == 200
    users = json.loads(guarded.read_text())
    del users["users"]["ann"]
    guarded.write_text(json.dumps(users))
    os.utime(guarded, ns=(1, 1))
    assert browser.get("/").status_code == 401


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil", ""])
def test_signing_in_leads_to_no_other_site(guarded, place):
    entered = client().post("/login", params={"next": place}, data={"token": "a-token"})
    assert entered.headers["location"] == "/gallery/"


def test_a_form_from_another_site_is_refused(guarded):
    headers = {"Origin": "https://evil.example"}
    assert client().post("/login", data={"token": "a-token"}, headers=headers).status_code == 401


def test_a_proxys_name_counts_only_when_it_is_trusted(guarded, monkeypatch):
    headers = {"X-User": "cay"}
    assert client(headers=headers).get(SCAN_PAGE).status_code == 401
    monkeypatch.setenv("LAMINA_GALLERY_PROXY_USER_HEADER", "X-User")
    assert client(headers=headers).get(SCAN_PAGE).status_code == 200
    assert client(headers=headers).get(CLIP_PAGE).status_code == 404
    assert client(headers={"X-User": "eve"}).get(SCAN_PAGE).status_code == 401
    assert client(headers=bearer("a-token")).get(CLIP_PAGE).status_code == 200
    assert client().post("/login", data={"token": ""}).status_code == 401


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ('{"users": {"a": {"sha256": "short", "projects": []}}}', "users.a.sha256"),
        ('{"users": {"a|b": {"projects": []}}}', "users"),
        (None, "No such file"),
    ],
)
def test_a_file_of_users_must_be_whole(outputs, places, monkeypatch, text, words):
    path = places / "users.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(path))
    with pytest.raises(ValueError, match=f"{words}.*correct it"):
        alone(read_settings())


def test_who_opened_what_is_logged(guarded, places):
    ann = client(headers=bearer("a-token"))
    ann.get(CLIP_PAGE)
    ann.get("/search?q=ring")
    ann.get(SCAN_PAGE)
    client().get(SCAN_PAGE + "%22{}")
    client().get("/static/style.css")
    (log,) = (places / "state/audit").glob("gallery-*.jsonl")
    assert log.stat().st_mode & 0o077 == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["user"], line["method"], line["path"], line["status"]) for line in lines] == [
        ("ann", "GET", CLIP_PAGE, 200),
        ("ann", "GET", "/search", 200),
        ("ann", "GET", SCAN_PAGE, 404),
        ("", "GET", SCAN_PAGE + '"{}', 401),
    ]
    assert set(lines[0]) == {"time", "user", "method", "path", "status"}
    # a search by what it showed, as the pages' own lines name it; what was typed may be a name
    assert lines[1]["shown"] == ["/p/studio/r/batches/night/results/0-a-red-ring"]
    assert "q=ring" not in log.read_text()


def test_what_cannot_be_logged_is_not_shown(outputs, places):
    (places / "state").mkdir(exist_ok=True)
    (places / "state/audit").write_text("in the way")
    answer = client(raise_server_exceptions=False).get(CLIP_PAGE)
    assert answer.status_code == 500
    assert "Made with care" not in answer.text


def test_beside_another_application_only_its_own_addresses_are_taken(outputs):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    started = []

    async def lifespan(_):
        started.append(True)
        yield

    async def other(request):
        return PlainTextResponse(f"other {request.url.path}")

    from contextlib import asynccontextmanager

    prefect = Starlette(
        routes=[Route("/{path:path}", other)], lifespan=asynccontextmanager(lifespan)
    )
    app = Beside(prefect, read_settings())
    with TestClient(app, base_url="http://127.0.0.1") as both:
        assert started
        assert both.get("/api/health").text == "other /api/health"
        assert both.get("/gallery-of-others").text == "other /gallery-of-others"
        assert "studio" in both.get("/gallery").text
        crossed = both.get(f"/gallery{SCAN_PAGE}", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in crossed.headers


@pytest.mark.parametrize(
    ("host", "code"),
    [("127.0.0.1:4200", 200), ("localhost", 200), ("[::1]:4200", 200), ("evil.example:4200", 403),
     ("127.0.0.1.evil.example", 403), ("localhost.evil.example:80", 403), ("[", 403), ("", 403)],
)  # fmt: skip
def test_the_api_that_asks_nobody_answers_under_this_machines_names_alone(
    outputs, monkeypatch, host, code
):
    async def prefect(scope, receive, send):
        from starlette.responses import PlainTextResponse

        await PlainTextResponse("told")(scope, receive, send)

    def asked():
        answer = TestClient(Beside(prefect, read_settings())).get("/api/x", headers={"Host": host})
        return answer.status_code

    assert asked() == code
    tokens = outputs / "users.json"
    tokens.write_text('{"users": {}}')
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(tokens))
    assert asked() == code  # users of the gallery are not asked for by the other
    for name in ("PREFECT_SERVER_API_AUTH_STRING", "LAMINA_GALLERY_PROXY_USER_HEADER"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "ann:secret")
            assert asked() == 200  # whoever asks has to know it, or comes through a proxy


def test_a_socket_under_another_name_is_closed(outputs):
    from starlette.websockets import WebSocketDisconnect

    async def prefect(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "told"})

    client_ = TestClient(Beside(prefect, read_settings()))
    with client_.websocket_connect("/api/events", headers={"Host": "127.0.0.1:4200"}) as socket:
        assert socket.receive_text() == "told"
    foreign = client_.websocket_connect("/api/events", headers={"Host": "evil.example"})
    with pytest.raises(WebSocketDisconnect), foreign:
        pass


def test_two_results_of_one_name_are_told_apart(places):
    for run, seed, steps in (("aaaaaaaa", 3, 4), ("bbbbbbbb", 4, 4), ("cccccccc", 4, 4)):
        request = {"prompt": "a red star", "seed": seed, "steps": steps}
        folder = places / f"outputs/studio/text_to_video/a-red-star-{run}"
        write_result(folder, "star", "text_to_video", request, {"video": ("s.mp4", CLIP)})
    page = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
    for address in ("/", "/p/studio/", "/search?q=star"):
        text = page.get(address).text
        said = re.findall(r'<small class="apart">(.*?)</small>', text)
        assert sorted(said) == ["seed 3", "seed 4 · run bbbbbbbb", "seed 4 · run cccccccc"]
    text = page.get("/p/studio/r/text_to_video/a-red-star-bbbbbbbb/star").text
    assert "Seed 4 · 20 Nov 2026, 10:00 UTC · run bbbbbbbb" in text


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", None), ("no-such-host.invalid", 4210)])
def test_where_nothing_can_listen_is_refused_before_an_address_is_named(
    places, monkeypatch, capsys, host, port
):
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(places / "people"))
    (places / "people").write_text('{"users": {}}')
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = port or other.getsockname()[1]
        with pytest.raises(Refusal, match=f"--host {host} --port {taken}: nothing can listen"):
            gallery(host=host, port=taken)
    assert capsys.readouterr().out == ""


def test_ctrl_c_twice_ends_the_gallery_without_a_trace(places):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    words = [sys.executable, "-m", "flows.commands.command_line", "gallery", "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"The gallery is at")
        while process.poll() is None:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/gallery/", timeout=20):
                break
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.decode() == "Stopped; nothing unfinished was left behind.\n"


@pytest.mark.parametrize("words", [["gallery"], ["up"]], ids=" ".join)
@pytest.mark.parametrize("text", [None, "", "[1]", '{"users": {"ann": 3}}'])
def test_a_file_of_users_that_is_none_is_refused_in_a_sentence(
    places, monkeypatch, capfd, words, text
):
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(places / "people"))
    if text is not None:
        (places / "people").write_text(text)
    assert main(words) == 2
    said = capfd.readouterr().err
    assert re.search("^LAMINA_GALLERY_TOKENS=.*; correct it.$", said, re.M), said
    assert "Traceback" not in said
