"""Which number a clip carries: that of its request, its model and its files, wherever they are."""

import shutil

import pytest
from tiny_engines import save_picture

from video.engines.adapter_files import digest_of_input
from video.operations.text_to_video import TextToVideo
from video.provenance.marking import number_of, with_marking
from video.request import VideoRequest

ASKED = {"prompt": "a red circle", "seed": 3, "height": 192, "width": 192, "num_frames": 16}
T2V = TextToVideo()


def number(**changes):
    request = VideoRequest.model_validate(ASKED | changes)
    return number_of(T2V.settled(request), T2V._digests(request))


def test_equal_requests_have_one_number_and_others_another(monkeypatch):
    usual = number()
    assert number() == usual
    others = [{"fps": 12.0}, {"sampler": "euler"}, {"seed": 4}, {"model": "scenes-3"}]
    weights = {"scenes-64": "a", "scenes-3": "b"}
    monkeypatch.setattr(
        "core.models.installed.Installed.record",
        lambda self: {"sha256": {"weights.safetensors": weights[self.name]}},
    )
    assert len({number(), *(number(**other) for other in others)}) == 1 + len(others)
    weights["scenes-3"] = "a"  # the same model by another name
    assert number(model="scenes-3") == number()


def test_a_file_counts_by_its_bytes_and_not_by_its_place(tmp_path):
    first = save_picture(tmp_path / "a.png", 16, 16)
    (tmp_path / "there").mkdir()
    same = shutil.copy(first, tmp_path / "there" / "b.png")
    other = save_picture(tmp_path / "c.png", 16, 17)
    numbers = []
    for engine, path in (("x", first), ("/shelf/x", same), ("x", other)):
        asked = VideoRequest.model_validate(ASKED | {"engine": engine, "first": str(path)})
        files = {role: digest_of_input(role, p) for role, p in T2V.inputs(asked).items()}
        numbers.append(number_of(asked, {"weights": "a", "files": files}))
    assert numbers[0] == numbers[1]
    assert numbers[0] != numbers[2]


def test_a_key_picture_counts_by_its_bytes_and_its_frame(tmp_path):
    here = save_picture(tmp_path / "a.png", 192, 192)
    same = shutil.copy(here, tmp_path / "b.png")
    other = save_picture(tmp_path / "c.png", 192, 193)

    def of(frame, path):
        return number(key=[f"{frame}={path}"])

    assert of(8, here) == of(8, same)
    assert len({number(), of(8, here), of(8, other), of(5, here)}) == 4


@pytest.mark.parametrize(("side", "counts"), [(64, False), (192, True)])
def test_the_estimate_holds_what_marking_takes(side, counts):
    request = VideoRequest.model_validate(ASKED | {"height": side, "width": side})
    cost = T2V.source(request).needs(request)
    assert (T2V.cost(request).seconds > cost.seconds) is counts
    assert (T2V.cost(request) != with_marking(request, cost)) is False
    unmarked = request.model_copy(update={"unmarked": True})
    assert T2V.cost(unmarked) == cost
