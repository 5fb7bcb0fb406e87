"""A batch that a release of 24 November 2026 made: today's reads it, makes it whole, repeats it.

``old/`` has its model of random weights, its prompts and its folder as they were written then.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from flows.batches.ledger import Batch, intact
from flows.commands.command_line import main
from flows.gallery.application import PREFIX, alone
from flows.settings.settings import read_settings
from video.files.clip import read_mp4

OLD = Path(__file__).with_name("old")
SIZE = {"model": "tiny-video", "num_frames": 4, "height": 16, "width": 16, "steps": 1}


@pytest.fixture
def night(places, monkeypatch):
    shutil.copytree(OLD, places, dirs_exist_ok=True)
    monkeypatch.setenv("LAMINA_MODELS", str(places / "models"))
    return Batch.named(read_settings(), "default", "night")


def run(*words):
    size = [word for name, value in SIZE.items() for word in ("--set", f"{name}={value}")]
    return main(["batch", "run", "two.txt", "--name", "night", "--here", *size, *words])


def test_it_is_told_of_and_nothing_is_made_again(night, capsys):
    assert main(["batch", "status"]) == 0
    assert "night: finished, 2 items, 2 made; " in capsys.readouterr().out
    assert all(intact(night, item) for item, _ in night.items())
    assert run("--dry-run") == 0
    assert "2 items (video), 2 made already, 0 to make" in capsys.readouterr().out


def test_the_gallery_shows_it_and_its_clips(night):
    client = TestClient(alone(read_settings()), base_url="http://127.0.0.1")
    page = client.get(f"{PREFIX}/p/default/batches/night/").text
    for item, _ in night.items():
        assert (link := f"{PREFIX}/p/default/r/batches/night/results/{item.stem}") in page
        assert client.get(link).status_code == 200


def test_a_clip_of_it_is_made_again_as_it_was(night, capsys):
    (item, _), *_ = night.items()
    clip, again = night.results / f"{item.stem}.mp4", night.root / "again.mp4"
    assert main(["reproduce", str(clip), str(again)]) in (0, 1), capsys.readouterr().err
    then, now = (np.asarray(read_mp4(path).frames, int) for path in (clip, again))
    assert np.abs(then - now).mean() < 1.0  # other processors round otherwise


@pytest.mark.slow
def test_what_is_gone_from_it_is_made_again(night, capsys):
    (item, _), *_ = night.items()
    record = night.results / f"{item.stem}.json"
    record.unlink()
    assert run() == 0, capsys.readouterr().err
    assert record.exists()
    assert all(intact(night, item) for item, _ in night.items())
