"""The preview comes first among a run's artifacts, which Prefect sorts by random identities."""

import base64
import io
import random
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest
from PIL import Image

from flows.pages import front as front_module
from flows.pages.artifacts import data_uri
from flows.pages.front import LARGEST, SMALL, bring_to_front, card


class Pages:
    """The server's artifacts of one run, with random identities as it gives them."""

    def __init__(self, seed):
        self.dice, self.kept = random.Random(seed), {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def create_artifact(self, asked):
        given = {name: getattr(asked, name) for name in ("key", "type", "description", "data")}
        made = SimpleNamespace(id=UUID(int=self.dice.getrandbits(128)), **given)
        made.flow_run_id, made.task_run_id = UUID(int=7), None
        self.kept[made.id] = made
        return made

    def read_artifacts(self, artifact_filter):
        assert artifact_filter.flow_run_id.any_ == [UUID(int=7)]
        return list(self.kept.values())

    def request(self, method, path, path_params):
        assert path == "/artifacts/{id}"
        if method == "DELETE":
            del self.kept[path_params["id"]]
            return None
        run = {"flow_run_id": str(self.kept[path_params["id"]].flow_run_id)}
        return SimpleNamespace(json=lambda: run)

    def make(self, words):
        return self.create_artifact(
            SimpleNamespace(key=None, type="markdown", description=words, data=words)
        )


@pytest.mark.parametrize("seed", range(50))
def test_the_preview_comes_first_whatever_chance_gave(seed, monkeypatch):
    pages = Pages(seed)
    for words in ("bar", "link"):
        pages.make(words)
    preview = pages.make("preview")
    monkeypatch.setattr(front_module, "get_client", lambda sync_client: pages)
    bring_to_front(preview.id)
    shown = [pages.kept[key].data for key in sorted(pages.kept, reverse=True)]
    assert shown[0] == "preview"
    assert sorted(shown) == ["bar", "link", "preview"]


def test_a_server_that_is_away_costs_no_result(monkeypatch, caplog):
    def away(sync_client):
        raise ConnectionError("away")

    monkeypatch.setattr(front_module, "get_client", away)
    bring_to_front(UUID(int=1))
    assert "may not come first" in caplog.text


def moving(frames):
    noise = np.random.default_rng(0).integers(0, 256, (frames, 300, 200, 3), dtype=np.uint8)
    first, *rest = [Image.fromarray(frame) for frame in noise]
    buffer = io.BytesIO()
    first.save(buffer, "WEBP", save_all=True, append_images=rest, duration=125)
    return data_uri(buffer.getvalue(), "webp")


@pytest.mark.parametrize(("frames", "kept"), [(1, 1), (2, 2), (40, 1)])
def test_a_card_has_a_title_and_a_small_picture_that_moves_where_it_fits(frames, kept):
    title, _, picture = card("two circles", moving(frames)).partition("\n\n")
    assert title == "**two circles**"
    content = base64.b64decode(picture.partition("base64,")[2].removesuffix(")"))
    image = Image.open(io.BytesIO(content))
    assert len(content) <= LARGEST
    assert max(image.size) == SMALL
    assert getattr(image, "n_frames", 1) == kept


def test_a_picture_that_cannot_be_read_leaves_the_title():
    assert card("two circles", data_uri(b"GIF", "webp")) == "**two circles**"
