"""Masks and boxes as people bring them: read as they are seen, or refused by file."""

import numpy as np
import pytest
from PIL import Image

from core.refusal import Refusal
from video.engines.boxes import read_boxes
from video.engines.regions import region_of_mask


def masks():
    """Files that mean the same: the right half is painted."""
    half = np.zeros((64, 64), np.uint8)
    half[:, 32:] = 255
    seen = Image.fromarray(half)
    white = Image.new("RGBA", (64, 64), (255, 255, 255, 255))
    white.putalpha(seen)  # white all over, and to be seen at the right alone
    return {
        "gray.png": seen,
        "clear.png": white,
        "clear_gray.png": white.convert("LA"),
        "indexed.png": seen.convert("P"),
        "bits.png": seen.convert("1"),
        "deep.png": Image.fromarray(half.astype(np.uint16) * 257),
        "numbers.tif": Image.fromarray((half / 255).astype(np.float32)),
        "faint.png": Image.fromarray(half.astype(np.uint16) * 257 // 3 * 2),
    }


def test_masks_are_light_as_they_are_seen(tmp_path):
    for name, image in masks().items():
        image.save(tmp_path / name)
        hole = region_of_mask(tmp_path / name, (3, 64, 64, 3))
        assert hole.shape == (3, 64, 64), name
        assert hole[:, :, 32:].all(), name
        assert not hole[:, :, :32].any(), name
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 6  # to be seen turned clockwise
    masks()["gray.png"].transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    assert region_of_mask(turned, (1, 64, 64, 3))[0, :, 32:].all()
    pages = [masks()["gray.png"], Image.new("L", (64, 64))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    hole = region_of_mask(tmp_path / "pages.tif", (2, 64, 64, 3))
    assert (hole[0].sum(), hole[1].sum()) == (2048, 0)


def test_masks_that_cannot_be_read_are_refused_by_file(tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(random).save(tmp_path / "cut.jpg", quality=95)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    Image.fromarray(random // 255).save(tmp_path / "low.png")
    two = [masks()["gray.png"]] * 2
    two[0].save(tmp_path / "two.tif", save_all=True, append_images=two[1:])
    refused = {
        "cut.jpg": "cut.jpg cannot be read",
        "low.png": "marks nothing .its lightest pixel is 1 of 255",
        "two.tif": "has 2 frames of 64 x 64: the clip has 3",
        "x" * 300 + ".png": "cannot be read .*name too long",
    }
    for name, words in refused.items():
        with pytest.raises(Refusal, match=words):
            region_of_mask(tmp_path / name, (3, 64, 64, 3))


ODD_BOXES = {
    "twice": ('{"0": [4, 4, 20, 20], "0": [30, 30, 50, 50]}', "'0' stands there twice"),
    "both": ('{"3": [4, 4, 20, 20], "03": [30, 30, 50, 50]}', "'03' is no number of a frame"),
    "point": ('{"1.0": [4, 4, 20, 20]}', "'1.0' is no number of a frame"),
    "long": ('{"%s": [4, 4, 20, 20]}' % ("9" * 5000), "'9{20}' is no number of a frame"),
    "truth": ('{"0": [true, 4, 20, 20]}', "valid number"),
    "words": ('{"0": ["4", 4, 20, 20]}', "valid number"),
}


@pytest.mark.parametrize("name", ODD_BOXES)
def test_boxes_say_one_thing_of_a_frame(tmp_path, name):
    boxes, words = ODD_BOXES[name]
    path = tmp_path / "boxes.json"
    path.write_text(f'{{"things": [{{"boxes": {boxes}}}]}}')
    with pytest.raises(Refusal, match=rf"boxes\.json cannot be read .*{words}") as refused:
        read_boxes(path, 16, 64, 64)
    assert len(str(refused.value)) < 500
    path.write_text('\ufeff{"things": [{"boxes": {"3": [4, 4, 20, 20.5]}}]}')
    assert read_boxes(path, 16, 64, 64)[0].sides[0].tolist() == [4, 4, 20, 20.5]


def test_pages_of_other_sizes_are_refused_by_page(tmp_path):
    page, small = masks()["gray.png"], Image.new("L", (16, 16))
    page.save(tmp_path / "thumb.tif", save_all=True, append_images=[page, small])
    with pytest.raises(Refusal, match=r"thumb\.tif has 16 x 16 on page 3: the clip has 64 x 64"):
        region_of_mask(tmp_path / "thumb.tif", (3, 64, 64, 3))


def test_a_photo_with_a_further_picture_in_its_file_is_its_first(tmp_path):
    half = masks()["gray.png"]
    half.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[Image.new("L", (64, 64))])
    with Image.open(tmp_path / "two.jpg") as image:
        assert getattr(image, "n_frames", 1) == 2
    hole = region_of_mask(tmp_path / "two.jpg", (3, 64, 64, 3))
    assert hole[:, :, 40:].all()
    assert not hole[:, :, :24].any()
