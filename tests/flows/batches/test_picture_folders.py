"""A folder of pictures is a batch of clips that begin with them; every other file is named."""

import json

import numpy as np
import pytest
from PIL import Image

from core.refusal import Refusal
from flows.batches.items import items_of
from flows.commands.batch import read_request
from flows.commands.command_line import main
from flows.requests.batch_requests import ClipBatchRequest, ScanBatchRequest
from video.engines.pictures import given

SMALL = ["--set", "num_frames=4", "--set", "height=32", "--set", "width=32", "--set", "steps=1",
         "--set", "model=tiny-video"]  # fmt: skip


def photo(path, size=(48, 33), **options):
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def folder(places):
    found = places / "photos"
    found.mkdir()
    photo(found / "b.png")
    photo(found / "a.JPG")
    (found / "a.txt").write_text("a red circle\nmoves left\n")
    (found / "b.txt").write_text("\ufeffa blue square stays")
    return found


def asked(folder, **fields):
    return ClipBatchRequest(prompt_file=str(folder), num_frames=4, height=32, width=32, **fields)


def test_every_picture_is_a_clip_and_every_other_file_has_a_reason(folder):
    (folder / "notes.pdf").touch()
    (folder / "c.txt").write_text("of no picture")
    (folder / ".DS_Store").touch()
    (folder / "more").mkdir()
    (folder / "gone.png").symlink_to("nowhere.png")
    items, repeated = items_of(asked(folder))
    assert [item.row for item in items] == ["photos/a.JPG", "photos/b.png"]
    assert [item.request.prompt for item in items] == [
        "a red circle moves left", "a blue square stays still",
    ]  # fmt: skip
    assert repeated == []
    assert all(item.inputs["first"] for item in items)
    said = "\n".join(asked(folder).left_out())
    for words in (
        "notes.pdf: no picture", "c.txt: no picture has this caption's name", ".DS_Store: hidden",
        "more: a folder", "gone.png: no file, or its link leads nowhere",
    ):  # fmt: skip
        assert f"1 file left out, {words}" in said


def test_one_prompt_stands_for_pictures_without_a_caption(folder):
    (folder / "b.txt").unlink()
    with pytest.raises(Refusal, match=r"photos: b\.png: without a caption nobody knows what"):
        items_of(asked(folder))
    items, _ = items_of(asked(folder, prompts="a green star"))
    assert [item.request.prompt for item in items] == ["a red circle moves left", "a green star"]


def test_all_pictures_that_cannot_be_read_are_named_before_anything_runs(folder):
    whole = (folder / "b.png").read_bytes()
    (folder / "c.png").write_bytes(whole[:20])
    (folder / "d.jpg").write_bytes(b"text")
    (folder / "b.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(Refusal, match="is not UTF-8 text") as refused:
        items_of(asked(folder, prompts="a green star"))
    assert "c.png cannot be read" in str(refused.value)
    assert "d.jpg cannot be read" in str(refused.value)


def test_turned_clear_odd_and_deep_pictures_are_frames(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(folder / "a.JPG", (300, 20), exif=exif)
    clear = np.zeros((7, 5, 4), np.uint8)
    Image.fromarray(clear).save(folder / "b.png")
    deep = np.linspace(0, 65535, 40 * 40).astype(np.uint16).reshape(40, 40)
    Image.fromarray(deep).save(folder / "c.png")
    (folder / "c.txt").write_text("a white circle")
    frames = [given(item.request)["first"] for item in items_of(asked(folder))[0]]
    assert all(frame.pixels.shape == (32, 32, 3) for frame in frames)
    assert frames[0].facts["scaled_from"] == "20 x 300"
    assert "read" not in frames[0].facts
    assert frames[1].facts["read"] == [
        "what is transparent in it is read as the color that lies beneath"
    ]
    assert frames[2].facts["read"] == ["16 bits a value are read as 8"]
    assert 100 < frames[2].pixels.mean() < 156


def test_a_link_to_a_picture_is_a_picture_with_a_caption_of_its_own(folder):
    (folder / "c.png").symlink_to("b.png")
    (folder / "c.txt").write_text("a green star")
    items, _ = items_of(asked(folder))
    assert [item.request.prompt for item in items] == [
        "a red circle moves left", "a blue square stays still", "a green star",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "scan", ["head.nii.gz", "a.mgz", "b.dcm", "p1/t1.nii.gz", "sub-01/anat/sub-01_T1w.nii"]
)
def test_a_folder_with_scans_is_one_of_scans(places, scan):
    photo(places / "overview.png")
    (places / "sub-logo").write_text("no folder")
    (places / "more").mkdir()
    assert isinstance(read_request(places, "night", []), ClipBatchRequest)
    (places / scan).parent.mkdir(parents=True, exist_ok=True)
    (places / scan).touch()
    assert isinstance(read_request(places, "night", []), ScanBatchRequest)
    (places / "overview.TXT").write_text("a red circle")
    with pytest.raises(Refusal, match=r"holds scans and captioned pictures: .* of their own"):
        read_request(places, "night", [])


def test_a_folder_without_pictures_is_one_of_scans(folder, tmp_path):
    (folder / "photos.zip").touch()  # may hold anything
    photo(folder / "sub-03.png")
    assert isinstance(read_request(folder, "night", []), ClipBatchRequest)
    assert isinstance(read_request(tmp_path, "night", []), ScanBatchRequest)
    with pytest.raises(Refusal, match="it holds no picture"):
        items_of(asked(tmp_path))


@pytest.mark.usefixtures("encoder_read_once")
def test_a_folder_is_planned_made_and_made_once(folder, capsys):
    (folder / "notes.pdf").touch()
    assert main(["batch", "plan", str(folder), *SMALL]) == 0
    said = capsys.readouterr().out
    assert "takes photos/a.JPG: a red circle moves left" in said
    assert "1 file left out, notes.pdf: no picture" in said
    assert main(["batch", "run", str(folder), "--here", *SMALL]) == 0
    assert main(["batch", "run", str(folder), "--here", *SMALL]) == 0
    assert "2 items (video), 2 made already, 0 to make" in capsys.readouterr().out
    results = folder.parent / "outputs/default/batches/nightly/results"
    records = [json.loads(path.read_text()) for path in results.glob("*.json")]
    assert len(records) == 2
    assert all("given_frames" in record["extra"]["engine"] for record in records)
