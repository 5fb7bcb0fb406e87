"""The gallery with a batch of 10,000 items: counted whole, shown in parts."""

import json
import re

import pytest
from starlette.testclient import TestClient

from flows.gallery.application import PREFIX, alone
from flows.gallery.places import Manifests
from flows.settings.settings import read_settings

ITEMS, SHARDS, PER_PAGE = 10_000, 100, 48
BATCH = "/p/studio/batches/night/"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("large")
    folder = root / "studio" / "batches" / "night"
    (folder / "shards").mkdir(parents=True)
    about = {"name": "night", "kind": "video", "state": "finished", "items": ITEMS}
    about["created"] = "2026-11-21T22:00:00+00:00"
    (folder / "batch.json").write_text(json.dumps(about))
    request = {"num_frames": 16, "height": 64, "width": 64, "steps": 4, "model": "scenes-64"}
    items = [
        {"item": f"{n:016x}", "row": f"p.csv:{n}", "shard": n // SHARDS,
         "request": {"prompt": f"a ring that turns {n} times", **request}}
        for n in range(ITEMS)
    ]  # fmt: skip
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in items))
    for shard in range(SHARDS):
        lines = [outcome(item["item"], n) for n, item in enumerate(items[shard::SHARDS])]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "shards" / f"{shard:04d}.jsonl").write_text(text)
    return root


def outcome(item, n):
    state = "failed" if n == 7 else "made"
    line = {"item": item, "state": state, "time": f"2026-11-21T23:{n % 60:02d}:00", "files": {}}
    return {**line, "error": "a cable came loose" if n == 7 else ""}


@pytest.fixture
def page(outputs, places, monkeypatch):
    monkeypatch.setenv("LAMINA_OUTPUTS", str(outputs))
    client = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")

    def look(address):
        answer = client.get(address)
        assert answer.status_code == 200
        assert len(answer.content) < 60_000
        return answer.text

    return look


def cards(text):
    return re.findall(r"<b>(a ring that turns \d+ times)</b>", text)


def test_all_items_are_counted_and_one_part_of_them_is_shown(page):
    text = page(BATCH)
    counts = dict(re.findall(r"(All|Made|Failed|Rejected|Waiting) <b>(\d+)</b>", text))
    assert counts == {
        "All": "10000", "Made": "9900", "Failed": "100", "Rejected": "0", "Waiting": "0"
    }  # fmt: skip
    assert len(cards(text)) == PER_PAGE
    assert "Page 1 of 209" in text


def test_the_parts_hold_every_item_once_in_the_order_asked_for(page):
    shown = [title for n in (1, 2, 209) for title in cards(page(f"{BATCH}?page={n}"))]
    numbers = [*range(2 * PER_PAGE), *range(208 * PER_PAGE, ITEMS)]
    assert shown == [f"a ring that turns {n} times" for n in numbers]
    assert cards(page(f"{BATCH}?page=999999")) == shown[2 * PER_PAGE :]


def test_a_state_is_paged_likewise(page):
    parts = [page(f"{BATCH}?state=failed&page={n}") for n in (1, 2, 3)]
    assert [len(cards(text)) for text in parts] == [48, 48, 4]
    assert "state=failed&amp;page=2" in parts[0]
    assert "Page 3 of 3" in parts[2]


def test_a_search_finds_all_and_shows_a_part(page):
    text = page("/search?q=ring")
    assert "10000 found" in text
    assert len(cards(text)) == PER_PAGE
    assert "Page 1 of 209" in text
    assert cards(page("/search?q=turns 9999 times")) == ["a ring that turns 9999 times"]


def test_the_first_pages_count_what_is_made(page):
    assert "9900 results · 1 batch" in page("/")
    assert "9900" in page("/p/studio/")


def write(path, count):
    path.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(count)))
    return path


def test_manifests_are_kept_read_until_they_change_or_there_are_too_many(tmp_path, monkeypatch):
    read = []
    parsed = "flows.gallery.places._parsed"
    monkeypatch.setattr(parsed, lambda text: read.append(len(text)) or ({"bytes": len(text)},))
    one, other = write(tmp_path / "1", 10), write(tmp_path / "2", 10)
    manifests = Manifests(largest=2 * one.stat().st_size)
    for _ in range(3):
        assert [manifests.lines(path)[0]["bytes"] for path in (one, other)] == [90, 90]
    assert len(read) == 2
    write(one, 11)  # it grew: read anew, and the other has to go
    assert manifests.lines(one)[0]["bytes"] == 100
    assert manifests.lines(one)[0]["bytes"] == 100
    assert len(read) == 3
    manifests.lines(other)
    manifests.lines(one)
    assert len(read) == 5
