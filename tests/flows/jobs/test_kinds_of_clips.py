"""A clip is the kind of file that its name says, wherever a name is given."""

import json
from contextlib import nullcontext

import pytest
from starlette.testclient import TestClient

from core.refusal import Refusal
from flows.commands.command_line import main
from flows.gallery.application import PREFIX, alone
from flows.jobs import job_stages
from flows.jobs.operations import OPERATIONS
from flows.jobs.pipeline import for_file, name_and_ending, picture_path
from flows.settings.settings import read_settings
from medical.request import SuperResolutionRequest
from video.files.formats import read_clip
from video.request import VideoRequest
from video.several import seeded

SMALL = ["--num-frames", "5", "--steps", "1", "--model", "tiny-video"]
TINY = {"num_frames": 5, "steps": 1, "model": "tiny-video"}
RED = VideoRequest(prompt="a red circle")


def generate(place):
    return main(["video", "generate", "a red circle", str(place), *SMALL])


@pytest.mark.parametrize("ending", [".webm", ".gif", ".webp", ".GIF"])
def test_a_command_writes_records_and_makes_again_each_kind(places, capsys, ending):
    clip = places / f"made{ending}"
    assert generate(clip) == 0
    record = json.loads((places / "made.json").read_text())
    assert record["outputs"]["video"]["file"] == clip.name
    assert record["extra"]["frames"] == 5
    assert main(["reproduce", str(clip)]) == 0
    (places / "made.json").unlink()
    assert main(["reproduce", str(clip), str(places / f"again{ending}")]) == 0
    said = capsys.readouterr().out
    assert said.count("identical: every bit of the file") == 2
    assert (places / f"again{ending}").read_bytes() == clip.read_bytes()


def test_another_ending_is_refused_before_work(places, capsys, monkeypatch):
    monkeypatch.setattr("video.operations.text_to_video.TextToVideo.draw", None)
    assert generate(places / "made.avi") == 2
    assert "as .mp4, .webm, .gif or .webp" in capsys.readouterr().err
    assert main(["video", "generate", "a red circle", "a.gif", "--fps", "60"]) == 2
    assert "at most 50 frames" in capsys.readouterr().err


def test_a_clip_is_compared_with_one_of_its_kind(places, capsys):
    assert generate(places / "made.gif") == 0
    assert main(["reproduce", str(places / "made.gif"), str(places / "again.mp4")]) == 2
    assert "give a name ending in .gif" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("", ("a-red-circle", ".mp4")),
        ("My Clip", ("my-clip", ".mp4")),
        ("My Clip.GIF", ("my-clip", ".gif")),
        (".webm", ("a-red-circle", ".webm")),
        ("take 1.2", ("take-1-2", ".mp4")),
        ("A Still.png", ("a-still", ".png")),
        (".JPG", ("a-red-circle", ".jpg")),
    ],
)
def test_a_name_in_a_form_says_the_kind(name, wanted):
    work = OPERATIONS["text_to_video"]
    assert name_and_ending(work, for_file(work, RED, name), name) == wanted


def test_a_picture_that_is_ticked_in_a_form_needs_no_ending():
    still, work = RED.model_copy(update={"picture": True}), OPERATIONS["text_to_video"]
    assert name_and_ending(work, still, "") == ("a-red-circle", ".png")
    with pytest.raises(Refusal, match=r"a picture is written as \.png"):
        name_and_ending(work, still, "a.mp4")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".jpeg", ".webp"])
def test_a_picture_is_written_recorded_and_made_again(places, capsys, ending):
    still = places / f"made{ending}"
    words = ["--picture"] if ending == ".webp" else []
    assert main(["video", "generate", "a red circle", str(still), *SMALL, *words]) == 0
    record = json.loads((places / "made.json").read_text())
    assert record["extra"]["frames"] == 1
    assert record["extra"]["picture"] == "frame 2 of 0 to 4 drawn"
    assert main(["video", "generate", "a red circle", str(places / "clip.mp4"), *SMALL]) == 0
    shown, clip = read_clip(still).frames, read_clip(places / "clip.mp4").frames
    assert abs(shown[0].astype(int) - clip[2]).mean() < 8
    assert main(["reproduce", str(still)]) == 0
    (places / "made.json").unlink()
    assert main(["reproduce", str(still), str(places / f"again{ending}")]) == 0
    assert capsys.readouterr().out.count("identical: every bit of the file") == 2
    assert main(["video", "extend", str(still), str(places / "more.png")]) == 2


@pytest.mark.parametrize("name", ["a.avi", "a.mov", "a.bmp"])
def test_a_name_in_a_form_of_no_kind_is_refused(name):
    with pytest.raises(Refusal, match=rf"{name}: clips are written as \.mp4, \.webm, \.gif or"):
        name_and_ending(OPERATIONS["text_to_video"], RED, name)


def test_a_volume_is_named_likewise(tmp_path):
    request = SuperResolutionRequest(scan=str(tmp_path / "sub-01.nii"))
    work = OPERATIONS["super_resolve_mri"]
    assert name_and_ending(work, request, "Head.nii") == ("head", ".nii")
    assert name_and_ending(work, request, "") == ("sub-01", ".nii.gz")


def test_a_preview_never_takes_the_name_of_the_clip(tmp_path):
    assert picture_path(tmp_path / "a.webp", "preview").name == "a_preview.webp"
    assert picture_path(tmp_path / "a.gif", "preview").name == "a.webp"
    assert picture_path(tmp_path / "a.webp", "sheet").name == "a.png"


@pytest.mark.parametrize(
    ("ending", "element"),
    [(".webm", "<video"), (".gif", "<img"), (".webp", "<img"), (".png", "<img"), (".jpg", "<img")],
)
def test_the_gallery_shows_each_kind(places, ending, element):
    folder = places / "outputs/studio/text_to_video/made-1a2b3c4d"
    folder.mkdir(parents=True)
    assert generate(folder / f"made{ending}") == 0
    visitor = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
    address = "/p/studio/{}/text_to_video/made-1a2b3c4d/made"
    page = visitor.get(address.format("r")).text
    assert f'{element} class="clip' in page
    assert f'made{ending}"' in visitor.get("/p/studio").text
    file = visitor.get(f"{address.format('f')}/made{ending}")
    assert file.content == (folder / f"made{ending}").read_bytes()
    pictures = {f"image/{kind}" for kind in ("gif", "webp", "png", "jpeg")}
    assert file.headers["content-type"] in {"video/webm", *pictures}


def test_several_clips_keep_their_unfinished_work_apart(monkeypatch, places):
    monkeypatch.setattr(job_stages, "run_id", lambda: "1a2b3c4d")
    monkeypatch.setattr(job_stages, "progress_bar", lambda key: nullcontext(lambda *_, **__: None))
    one, two = seeded(VideoRequest(prompt="a red circle", **TINY), 2)
    drawn = [
        job_stages.draw.fn(OPERATIONS["text_to_video"], request, {}, ".gif", place)
        for request, place in ((one, "1"), (two, "2"))
    ]
    assert drawn[0]["video"].sha256 != drawn[1]["video"].sha256
    again = job_stages.draw.fn(OPERATIONS["text_to_video"], one, {}, ".gif", "1")
    assert again == drawn[0]


def test_several_clips_of_a_long_prompt_have_each_a_name(monkeypatch):
    named = []

    def made(work, request, output_name, project, place):
        named.append("".join(job_stages.name_and_ending(work, request, output_name)))
        return {}

    monkeypatch.setattr(job_stages, "join_run_log", lambda: None)
    monkeypatch.setattr(job_stages, "clear_work", lambda: None)
    monkeypatch.setattr(job_stages, "_staged", made)
    long = "a red circle moves left and a blue square moves right while a green triangle stands"
    requests = seeded(VideoRequest(prompt=long, **TINY), 12)
    job_stages.run_several(OPERATIONS["text_to_video"], requests, "", "default")
    assert len(set(named)) == 12
    assert named[1].endswith("-02.mp4")
    assert max(map(len, named)) == 60 + len(".mp4")
