"""A number in the pixels survives what happens to clips, and is not found where it is not."""

import numpy as np
import pytest
from PIL import Image

from video.provenance import watermark
from video.provenance.watermark import Mark, fits, marked, read_mark

SIDE, FRAMES = 192, 8


def scene(seed, frames=FRAMES, side=SIDE):
    """Soft blobs of color that move over a slanted ground."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    ground = draw.uniform(40, 160, 3) + (x + y)[..., None] * draw.uniform(-60, 60, 3)
    found = np.repeat(ground[None], frames, 0)
    for _ in range(6):
        place, way, color = draw.random(2), draw.normal(0, 0.03, 2), draw.uniform(-120, 120, 3)
        for t in range(frames):
            off = (y - place[0] - t * way[0]) ** 2 + (x - place[1] - t * way[1]) ** 2
            found[t] += (np.exp(-off / 0.01))[..., None] * color
    return np.clip(found + draw.normal(0, 2, found.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def carried():
    frames = scene(0)
    return frames, marked(frames, 0xC0FFEE07)


def decibels(a, b):
    return 10 * np.log10(255**2 / np.square(a - b.astype(float)).mean())


def resized(frames, size):
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC))
                     for f in frames])  # fmt: skip


def test_a_number_comes_back_and_the_picture_hardly_changes(carried):
    frames, found = carried
    assert decibels(found, frames) >= 42.5
    mark = read_mark(found)
    assert mark is not None
    assert mark.hex == "c0ffee07"
    assert mark.chance < 1e-30
    assert np.array_equal(marked(frames, 0xC0FFEE07), found)  # the same bytes again


def plainly_marked(frames, number):
    """The same by whole frames of float64, three colors each, without saving anything."""
    aims, share = watermark._places() + watermark._bits(number) / 2, 1.0
    size = watermark.GRID / np.sqrt(frames.shape[1] * frames.shape[2])
    down, across = (watermark._waves(n) for n in frames.shape[1:3])
    least = 255.0**2 / 10 ** (watermark.LEAST_PSNR_DB / 10)
    while True:
        before = watermark._sums(frames.astype(float) @ watermark.LIGHT)
        nearest = (np.round(before / watermark.STEP - aims) + aims) * watermark.STEP
        found = frames.astype(float)
        for _ in range(watermark.ROUNDS):
            seen = watermark._sums(np.clip(np.rint(found), 0, 255) @ watermark.LIGHT)
            off = before + share * (nearest - before) - seen
            waves = (off @ watermark._weights()).reshape(-1, len(across.T), len(down.T)) / size
            found += np.einsum("hd,tdu,wu->thw", down, waves, across)[..., None]
        found = np.clip(np.rint(found), 0, 255).astype(np.uint8)
        error = np.square(found - frames.astype(float)).mean()
        if error <= least or share < 0.3:
            return found
        share *= 0.99 * float(np.sqrt(least / error))


@pytest.mark.parametrize("stretch", [1.0, 2.5], ids=["usual", "clipped at black and white"])
def test_what_is_saved_changes_no_byte(stretch):
    frames = np.clip(scene(3, frames=10) * stretch - 60, 0, 255).astype(np.uint8)
    assert np.array_equal(marked(frames, 0x12345678), plainly_marked(frames, 0x12345678))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[:2],
        lambda f: f[-2:],
        lambda f: f[::3],
        lambda f: resized(f, (96, 96)),
        lambda f: resized(f, (300, 160)),
        lambda f: np.clip(f * 1.1, 0, 255).astype(np.uint8),
        lambda f: np.clip(f + np.random.default_rng(1).normal(0, 4, f.shape), 0, 255).astype(
            np.uint8
        ),
        lambda f: (f // 8) * 8 + 4,
    ],
    ids=["first", "last", "third", "half", "stretched", "brighter", "noisy", "coarser"],
)
def test_it_survives(carried, change):
    mark = read_mark(change(carried[1]))
    assert mark is not None
    assert mark.hex == "c0ffee07"


def test_a_number_that_a_record_tells_is_found_in_worse_frames(carried):
    noise = np.random.default_rng(3).normal(0, 34, carried[1][:1].shape)
    worn = np.clip(carried[1][:1] + noise, 0, 255).astype(np.uint8)
    assert read_mark(worn) is None
    mark = read_mark(worn, 0xC0FFEE07)
    assert mark is not None
    assert mark.hex == "c0ffee07"
    assert mark.chance < 5e-10
    assert read_mark(worn, 0xC0FFEE06) is None
    assert read_mark(carried[1], 0xC0FFEE06) == read_mark(carried[1])
    assert [read_mark(scene(n, frames=1), n) for n in range(1, 9)] == [None] * 8


def test_nothing_is_found_where_nothing_is(carried):
    assert read_mark(carried[0]) is None
    assert [read_mark(scene(seed, frames=2)) for seed in range(1, 25)] == [None] * 24
    for plain in (np.zeros, np.ones):
        assert read_mark(200 * plain((3, SIDE, SIDE, 3), np.uint8)) is None
    assert read_mark(np.zeros((1, 8, 8, 3), np.uint8)) is None


def test_the_bound_on_false_alarms_holds_where_bits_are_fair_coins():
    """At a rate that can be counted: of random turns, at most so many fit one number so well."""
    draw = np.random.default_rng(0)
    steady = draw.uniform(0.2, 1.0, 64)
    word = 1 - 2 * watermark._bits(0x12345678)
    fits_ = (steady * np.cos(draw.uniform(0, 2 * np.pi, (200_000, 64))) * word).sum(1)
    for level in (8.0, 12.0, 16.0):
        assert (fits_ >= level).mean() <= watermark._bound(level, steady)
    assert watermark._bound(float(steady.sum()) * 0.9, steady) < 1e-15


def test_all_words_of_the_code_differ_in_eight_places():
    book = watermark._book()
    assert book.shape == (65536, 32)
    weights = (book[1:] != book[0]).sum(1)
    assert weights.min() == 8


def test_clips_from_192_pixels_on_carry_one():
    assert fits(192, 320)
    assert not fits(64, 64)
    assert Mark(7, 0.0).hex == "00000007"
