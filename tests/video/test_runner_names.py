"""The runner of exported models: names are looked at before work, and its record is whole."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from core.refusal import Refusal
from video.files.clip import Clip
from video.request import VideoRequest
from video.runner import clips
from video.runner.clips import Wish, make

SIZE = (4, 32, 48)


class Pretended:
    """A runner that draws black frames, and counts how often."""

    drawn = 0

    def __init__(self, folder, cache=None):
        about = {"name": "m", "kind": "video", "weights": "float16", "source_sha256": {}}
        self.record = about | {"digest": "d"}
        self.facts = {"world": False, "size": SIZE}
        self.graphs = SimpleNamespace(versions=lambda *names: dict.fromkeys(names, "1"))

    def read(self, prompt):
        return prompt and type("Found", (), {"prompt": prompt})()

    def draw(self, wish):
        Pretended.drawn += 1
        return Clip(np.zeros((*SIZE, 3), np.uint8), wish.fps)


@pytest.fixture(autouse=True)
def _pretended(monkeypatch):
    Pretended.drawn = 0
    monkeypatch.setattr(clips, "ClipRunner", Pretended)


@pytest.mark.parametrize("taken", ["a.mp4", "a.json"])
def test_names_that_exist_are_refused_before_anything_is_drawn(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(Refusal, match="exists"):
        make(tmp_path, Wish("x"), tmp_path / "a.mp4")
    assert Pretended.drawn == 0
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "mine"


def test_folders_and_rates_are_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(Refusal, match="does not exist"):
        make(tmp_path, Wish("x"), tmp_path / "none" / "a.mp4")
    with pytest.raises(Refusal, match="fps=120"):
        make(tmp_path, Wish("x", fps=120.0), tmp_path / "a.gif")
    assert Pretended.drawn == 0


def test_the_record_tells_size_and_date(tmp_path):
    record = make(tmp_path, Wish("x", seed=3), tmp_path / "a.mp4")
    assert record == json.loads((tmp_path / "a.json").read_text())
    asked = VideoRequest.model_validate(record["request"])
    assert (asked.num_frames, asked.height, asked.width) == SIZE
    assert record["created"] > "2020"
    assert record["seeds"] == 3
