"""``/v1/videos`` beside a gallery that stands apart from Prefect's server, as in ``infra/``."""

import base64
import json

import httpx
import pytest
from starlette.testclient import TestClient

from flows.gallery.application import alone
from flows.settings.settings import read_settings

HEADER, PASSWORD = "X-Lamina-Operator", "operator:correct horse"
VISITORS = "X-Lamina-User"
LIST = "http://server:4200/api/flow_runs/filter"


@pytest.fixture
def prefect(places, monkeypatch):
    """What Prefect's server is asked for, with what key; it has no runs."""
    asked, client = [], httpx.AsyncClient

    def answer(request):
        asked.append((str(request.url), request.headers.get("Authorization")))
        return httpx.Response(200, json=[])

    def stand_in(**told):
        return client(**told | {"transport": httpx.MockTransport(answer)})

    monkeypatch.setattr("flows.videos_api.runs.httpx.AsyncClient", stand_in)
    monkeypatch.setenv("PREFECT_API_URL", "http://server:4200/api")
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    return asked


@pytest.mark.parametrize("fault", ["away", "busy", "new"])
def test_a_server_that_is_away_or_new_is_told_in_words(fault, places, monkeypatch):
    def answer(request):
        if fault == "away":
            raise httpx.ConnectError("nobody listens")
        return httpx.Response({"busy": 503, "new": 404}[fault], text="none")

    client = httpx.AsyncClient
    monkeypatch.setattr(
        "flows.videos_api.runs.httpx.AsyncClient",
        lambda **told: client(**told | {"transport": httpx.MockTransport(answer)}),
    )
    monkeypatch.setenv("PREFECT_API_URL", "http://server:4200/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", PASSWORD)
    with TestClient(alone(read_settings()), base_url="http://127.0.0.1") as asking:
        told = asking.post(
            "/v1/videos",
            json={"prompt": "a red circle moves right"},
            headers={"Authorization": f"Bearer {PASSWORD}"},
        )
    assert told.status_code == 503
    assert "the server" in told.json()["error"]["message"]


def test_the_gallery_is_found_without_its_last_slash(prefect, monkeypatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", PASSWORD)
    with TestClient(alone(read_settings()), base_url="http://127.0.0.1") as client:
        answer = client.get("/gallery", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1/gallery/")


def listed(**headers):
    with TestClient(alone(read_settings()), base_url="http://127.0.0.1") as client:
        return client.get("/v1/videos", headers=headers)


def test_who_is_named_by_the_proxy_is_answered_and_nobody_else(prefect, monkeypatch, places):
    users = places / "users.json"
    users.write_text(json.dumps({"users": {"ann": {"sha256": "0" * 64, "projects": ["ward"]}}}))
    monkeypatch.setenv("LAMINA_GALLERY_TOKENS", str(users))
    monkeypatch.setenv("LAMINA_GALLERY_PROXY_USER_HEADER", VISITORS)
    assert listed(**{VISITORS: "ann"}).status_code == 404  # no operator is named here
    monkeypatch.setenv("LAMINA_GALLERY_PROXY_OPERATOR_HEADER", HEADER)
    for stranger in ({}, {VISITORS: "ann"}, {VISITORS: "operator"}):
        assert listed(**stranger).status_code == 401
    assert prefect == []
    answer = listed(**{HEADER: "operator"})
    assert (answer.status_code, answer.json()["data"]) == (200, [])
    assert prefect == [(LIST, None)]


def test_the_servers_password_is_the_key_and_is_told_to_the_server(prefect, monkeypatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", PASSWORD)
    assert listed(Authorization="Bearer another").status_code == 401
    assert listed(Authorization=f"Bearer {PASSWORD}").status_code == 200
    token = base64.b64encode(PASSWORD.encode()).decode()
    assert prefect == [(LIST, f"Basic {token}")]


@pytest.mark.parametrize("missing", ["who asks", "the server"])
def test_it_is_not_offered_where_nobody_knows(missing, prefect, monkeypatch):
    if missing == "the server":
        monkeypatch.delenv("PREFECT_API_URL")
        monkeypatch.setenv("LAMINA_GALLERY_PROXY_OPERATOR_HEADER", HEADER)
    assert listed(**{HEADER: "operator"}).status_code == 404
    assert prefect == []
