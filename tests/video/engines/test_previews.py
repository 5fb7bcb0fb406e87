"""What a clip under way is going to look like, by every engine that tells enough."""

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_engines import FAMILIES, SHAPES, save_picture

from core.progress import RESUMED, Sparing
from video.engines import predicted, previews
from video.engines.engine import never
from video.engines.previews import preview_of, with_previews
from video.engines.shelf import engine_of
from video.request import VideoRequest

QUICK = {"wan_22", "cogvideox", "ltx", "wan"}
DRAWN = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES
]


def asked(name):
    told = {"prompt": "a cat", "engine": name, "steps": 6, "seed": 5, **SHAPES[name]}
    if "image_to_video" in name:
        told["first"] = str(save_picture(Path(os.environ["LAMINA_ENGINES"], "first.png"), 48, 32))
    return VideoRequest.model_validate(told)


def silent(done, total, estimate):
    pass


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_shown_last_is_the_clip_and_changes_none_of_it(name, made):
    made(name)
    request = asked(name)
    engine = engine_of(request)
    loaded, settled = engine.ready(engine.load("cpu")), engine.settled(request)
    whole = loaded.denoise(settled, None, silent, never)
    engine.forget(request)
    looks = []

    def look(done, total, estimate):
        looks.append((done, estimate.frames(), preview_of(estimate)))

    watched = loaded.denoise(settled, None, look, never)
    z, again = whole.values[0][0], watched.values[0][0]
    assert torch.equal(z, again)
    assert [done for done, *_ in looks] == list(range(1, 7))
    _, last, picture = looks[-1]
    assert Image.open(io.BytesIO(picture)).format == "WEBP"
    clip = loaded.decode(settled, watched).frames
    loaded.close()
    if name == "ltx_image_to_video":  # its walk is told nothing of the latent that is given
        assert (last.shape[0], last.shape[1:]) == (clip.shape[0] - 4, clip.shape[1:])
        return
    assert last.shape == clip.shape  # of so small a clip nothing is left out
    given = slice(1 if request.first else None, None)
    off = np.abs(last[given].astype(int) - clip[given]).max()
    assert off <= 1, "the last step predicts the clip itself"


def test_large_latents_are_looked_at_small():
    z = torch.arange(2 * 3 * 60 * 104, dtype=torch.float32).reshape(1, 2, 3, 60, 104)
    found = predicted.smaller(z)
    assert found.shape == (1, 2, 3, 7, 12)
    assert float(found.mean()) == pytest.approx(float(z.mean()), rel=0.01)
    assert predicted.smaller(found) is found


def test_looks_take_a_hundredth_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    sparing, taken = Sparing(5.0, share=0.01), 0.0
    for _ in range(10_000):
        now[0] += 0.7  # a step
        with sparing as due:
            if due:
                now[0] += 0.3
                taken += 0.3
    assert 0.009 < taken / now[0] <= 0.01


def test_pixels_are_shown_as_they_are_and_nothing_where_nothing_is_told(monkeypatch):
    monkeypatch.setattr(previews, "EVERY_S", 0.0)
    monkeypatch.setattr(previews, "SHARE", 1e9)
    told, shown = [], []
    step = with_previews(lambda *news: told.append(news), lambda *news: shown.append(news))
    step(1, 3, None)
    step(1, 3, RESUMED)
    step(2, 3, torch.linspace(-1, 1, 3 * 20 * 200 * 100).reshape(1, 3, 20, 200, 100))
    step(3, 3, torch.zeros(1, 3, 4, 16, 16))
    assert [news[:2] for news in told] == [(1, 3), (1, 3), (2, 3), (3, 3)]
    ((picture, done, total),) = shown
    image = Image.open(io.BytesIO(picture))
    assert (done, total, image.n_frames) == (2, 3, 10)
    assert max(image.size) <= 2 * previews.MOST_SIDE  # small ones are shown larger


def test_a_look_that_fails_is_left_out(monkeypatch, caplog):
    monkeypatch.setattr(previews, "EVERY_S", 0.0)

    class Broken:
        def frames(self):
            raise RuntimeError("no memory")

    with_previews(silent, pytest.fail)(1, 3, Broken())
    assert "no preview of step 1: RuntimeError: no memory" in caplog.text
