"""Our own model is led away from what a clip should not show, and says where it cannot be."""

from collections import Counter

import pytest
import torch

from core.refusal import Refusal
from core.seeds import noise
from video.engines.layouts import draw_layouts, read_layouts
from video.engines.own import VideoModel, embed, layout_noise
from video.operations.table import OPERATIONS
from video.oracle.oracle import read_clip
from video.request import VideoRequest
from video.world.scenes import SHAPES

OPERATION = OPERATIONS["text_to_video"]


def asked(**changes):
    return VideoRequest.model_validate(
        {"prompt": "a circle", "negative": "a red circle"} | changes
    )


def test_fewer_layouts_show_what_is_led_away_from():
    model = VideoModel.load("scenes-64")
    assert model.network.layouts is not None
    count = 32
    starts = torch.cat([layout_noise(noise((3, 16, 64, 64), seed)) for seed in range(count)])
    told, other = (
        embed(VideoRequest.model_validate({"prompt": words}), model.encoder).repeat(count)
        for words in ("a circle", "a red circle")
    )
    red = {}
    for name, away in (("plain", None), ("led", other)):
        with torch.inference_mode():
            seen = read_layouts(draw_layouts(model.network.layouts, told, starts, away=away))
        assert (seen.present.sum(1) == 1).all()
        here = seen.present.float().argmax(1)
        paint = seen.paint[torch.arange(count), here]
        shapes = Counter(SHAPES[int(n)] for n in seen.shape[torch.arange(count), here])
        assert shapes == {"circle": count}
        red[name] = int(((paint[:, 0] > 0.4) & (paint[:, 1:] < 0).all(1)).sum())
    assert red["plain"] >= 5
    assert red["led"] <= 1


def test_a_clip_is_led_away_and_records_it():
    model = OPERATION.source(asked()).load("cpu")
    seed = 0
    for seed in range(8):
        plain = asked(seed=seed, negative="")
        frames = OPERATION.draw(plain, OPERATION.prepare(plain), model, lambda *_: None).frames
        if read_clip(frames).things[0].color == "red":
            break
    request = asked(seed=seed)
    OPERATION.check(request)
    frames = OPERATION.draw(request, OPERATION.prepare(request), model, lambda *_: None).frames
    (thing,) = read_clip(frames).things
    assert thing.shape == "circle"
    assert thing.color != "red"
    assert request.model_dump()["negative"] == "a red circle"
    assert "negative" not in asked(negative="").model_dump()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_frames": 32}, "negative=a red circle with 32 frames of 64 x 64"),
        ({"guidance": 1}, "negative=a red circle with guidance=1"),
        ({"first": "a.png"}, "no such file|negative=a red circle beside first="),
        ({"negative": "a red circle " * 60}, "tokens"),
    ],
)
def test_what_would_count_for_nothing_is_refused(changes, words):
    with pytest.raises(Refusal, match=words):
        OPERATION.check(asked(**changes))
