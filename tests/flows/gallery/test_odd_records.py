"""Whatever stands in records and manifests, every page is served and other results are shown."""

import json
import random
from copy import deepcopy

import pytest
from starlette.testclient import TestClient

from flows.gallery.application import PREFIX, alone
from flows.settings.settings import read_settings

GROUP = 100  # single runs of a project, twenty projects
KEYS = [
    "task", "created", "request", "outputs", "extra", "methods", "intended_use", "wall_time_s",
    "prompt", "scan", "width", "file", "sha256", "bytes", "video", "result", "item", "row",
    "state", "time", "error", "files", "path", "items", "kind", "name", "reason",
    "seconds_per_item", "model",
]  # fmt: skip
ODD = [
    None, True, False, 0, -1, 10**400, -(10**30), 0.5, float("nan"), float("inf"), -1e308, "",
    "x" * 5000, "\ud800", "a\udfff.mp4", "<b>", "\x00", "\u2028", "..", "../../x", "clip.mp4",
    "results/x.mp4", "made", "failed", "text_to_video", "super_resolve_mri", "mri",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-20T10:00:00+00:00", [],
    {}, "video",
]  # fmt: skip


def anything(draw, depth=3):
    kind = draw.random()
    if depth and kind < 0.2:
        return {draw.choice([*KEYS, "\ud801"]): anything(draw, depth - 1) for _ in range(3)}
    if depth and kind < 0.3:
        return [anything(draw, depth - 1) for _ in range(3)]
    if kind < 0.32:
        deep = []
        for _ in range(draw.choice([40, 400])):
            deep = [deep] if draw.random() < 0.5 else {"extra": deep}
        return deep
    return deepcopy(draw.choice(ODD))


def record(draw):
    """A record that is right but for a few of its values."""
    outputs = {"video": {"file": "clip.mp4", "bytes": 1, "sha256": "0"}}
    right = {"task": "text_to_video", "created": "2026-11-20T10:00:00+00:00", "outputs": outputs}
    right["request"] = {"prompt": "a red ring", "width": 64}
    for _ in range(draw.randint(1, 4)):
        part = right["request"] if draw.random() < 0.3 else right
        if isinstance(part, dict):
            part[draw.choice(KEYS)] = anything(draw)
    return right


def text_of(draw, content):
    text = json.dumps(content).encode()
    if draw.random() < 0.1:
        place = draw.randrange(len(text))
        text = text[:place] + draw.randbytes(3) + text[place + draw.randrange(3) :]
    return text


def write(draw, root):
    """A project of odd single runs and one odd batch; the addresses of all its pages."""
    pages = ["/", "/search?q=ring", "/p/odd/", "/p/odd/batches/night/"]
    for number in range(GROUP):
        run = root / f"odd/text_to_video/run-{number}"
        run.mkdir(parents=True, exist_ok=True)
        (run / "clip.mp4").write_bytes(b"c")
        (run / "clip.json").write_bytes(text_of(draw, record(draw)))
        pages.append(f"/p/odd/r/text_to_video/run-{number}/clip")
    batch = root / "odd/batches/night"
    (batch / "shards").mkdir(parents=True, exist_ok=True)
    facts = {"state": "running", "kind": "video", "items": 3} | record(draw)
    (batch / "batch.json").write_bytes(text_of(draw, facts))
    lines = [{"item": "a"} | record(draw) for _ in range(3)]
    (batch / "items.jsonl").write_bytes(b"\n".join(text_of(draw, line) for line in lines))
    made = {"item": "a", "state": "made", "files": {"video": {"path": "results/x.mp4"}}}
    lines = [made | record(draw) for _ in range(3)]
    (batch / "shards/0.jsonl").write_bytes(b"\n".join(text_of(draw, line) for line in lines))
    return pages


def write_good(root):
    run = root / "good/text_to_video/demo"
    run.mkdir(parents=True)
    (run / "clip.mp4").write_bytes(b"c")
    facts = {"task": "text_to_video", "created": "2026-11-20T10:00:00+00:00"}
    facts |= {"request": {"prompt": "a plain circle"}, "outputs": {"video": {"file": "clip.mp4"}}}
    (run / "clip.json").write_text(json.dumps(facts))


SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 1)) for seed in range(20)]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_record_breaks_a_page(places, seed):
    root = places / "outputs"
    write_good(root)
    pages = write(random.Random(seed), root)
    client = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
    for page in pages:
        answer = client.get(page)
        assert answer.status_code in (200, 404), page
    assert client.get("/").status_code == 200
    assert "good" in client.get("/").text
    assert "a plain circle" in client.get("/search?q=plain").text


def test_a_folder_whose_name_is_no_text_is_left_out(places):
    root = places / "outputs"
    write_good(root)
    (root / "od\udcff").mkdir()
    (root / "good/text_to_video/r\udcff").mkdir()
    odd = root / "good/text_to_video/demo/x\udcff.json"
    odd.write_bytes((root / "good/text_to_video/demo/clip.json").read_bytes())
    client = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
    assert "a plain circle" in client.get("/").text
    assert client.get("/p/good/").status_code == 200
