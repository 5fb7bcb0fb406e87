"""Scenes as tensors are the scenes: the same motion to rounding, the same pixels."""

from random import Random

import numpy as np
import pytest
import torch

from video.world.rendering import coverage, render, render_table
from video.world.scene_table import (
    ANYWHERE,
    EMPTY,
    SHAPE,
    SLOTS,
    UNPLACED,
    blank,
    moves,
    tabulate,
    tracks,
)
from video.world.scenes import (
    BACKGROUNDS,
    COLORS,
    FRAME_SIZE,
    MOTIONS,
    NUM_FRAMES,
    PLACES,
    Scene,
    path,
)
from video.world.world import draw_scene


def scenes(number: int, seed: int = 0) -> list[Scene]:
    dice = Random(seed)
    return [draw_scene(dice, count_shares=(1.0, 1.0, 1.0)) for _ in range(number)]


def drawn_plainly(scene: Scene) -> torch.Tensor:
    """A clip without patches or chunks: every thing over the whole of every frame."""
    pixel = torch.arange(FRAME_SIZE) + 0.5
    ground = torch.tensor(BACKGROUNDS[scene.background]).float() / 127.5 - 1
    clip = ground[:, None, None, None].repeat(1, NUM_FRAMES, FRAME_SIZE, FRAME_SIZE)
    for thing in scene.objects:
        paint = torch.tensor(COLORS[thing.color]).float() / 127.5 - 1 - ground
        for center in thing.centers:
            for frame, (x, y, scale, angle) in enumerate(path(thing)):
                at = torch.tensor([x + center[0], y + center[1]], dtype=torch.float32)
                share = coverage(
                    thing.shape,
                    pixel[None, :] - at[0],
                    pixel[:, None] - at[1],
                    torch.tensor(scale * thing.radius).float(),
                    torch.tensor(angle).float(),
                )
                clip[:, frame] += paint[:, None, None] * share
    return clip


def test_every_slot_moves_as_its_thing():
    some = scenes(300)
    table = tabulate(some)
    assert {thing.motion for scene in some for thing in scene.objects} == set(MOTIONS)
    offsets, found = moves(table.words, table.numbers).numpy(), tracks(table).numpy()
    for number, scene in enumerate(some):
        slot = 0
        for thing in scene.objects:
            expected = path(thing)
            for x, y in thing.centers:
                np.testing.assert_allclose(offsets[number, slot], expected, atol=1e-12)
                placed = expected + np.array([x, y, 0, 0])
                placed[:, 2] *= thing.radius
                np.testing.assert_allclose(found[number, slot], placed, atol=1e-12)
                slot += 1
        assert (table.words[number, slot:, SHAPE] == EMPTY).all()
        assert slot == scene.count


def test_the_place_is_that_of_two_single_things():
    some = scenes(300)
    for scene, place in zip(some, tabulate(some).place.tolist(), strict=True):
        if [thing.count for thing in scene.objects] != [1, 1]:
            assert place == ANYWHERE
        else:
            name = scene.place(0, 1)
            assert place == (PLACES.index(name) if name else UNPLACED)


def test_pixels_are_those_of_plain_drawing():
    some = scenes(24, seed=1)
    for clip, scene in zip(render(some), some, strict=True):
        torch.testing.assert_close(clip, drawn_plainly(scene), atol=1e-5, rtol=0)


@pytest.mark.parametrize("most", [3, 2048])
def test_however_many_are_drawn_at_once_the_pixels_are_the_same(most, monkeypatch):
    some = scenes(40, seed=2)
    expected = render(some)
    monkeypatch.setattr("video.world.rendering.CHUNK", most)
    assert torch.equal(render(some), expected)


def test_the_layout_of_a_gpu_gives_the_same_pixels(monkeypatch):
    from video.world import rendering

    some = scenes(40, seed=2)
    expected = render(some)
    pieces = rendering._pieces
    monkeypatch.setattr(rendering, "CHUNK_ELSEWHERE", 7)
    monkeypatch.setattr(rendering, "_pieces", lambda bounds, **_: pieces(bounds, one_shape=False))
    assert torch.equal(render(some), expected)


def test_some_scenes_of_a_table_are_those_scenes():
    some = scenes(12)
    table, rows = tabulate(some), torch.tensor([7, 2, 2])
    part = table.take(rows)
    clips = render_table(part, part.words[..., SHAPE])
    assert torch.equal(clips, render([some[7], some[2], some[2]]))
    into = blank(4)
    into.put(slice(1, 4), part)
    assert torch.equal(render_table(into, into.words[..., SHAPE])[1:], clips)
    assert (render_table(blank(1), blank(1).words[..., SHAPE]) == -1).all()  # black


def test_a_table_has_three_slots_a_scene():
    table = tabulate(scenes(5))
    assert len(table) == 5
    assert table.words.shape == (5, SLOTS, 6)
    assert table.numbers.dtype == torch.float64
