"""Layouts say exactly what scenes are, and sketches show it where it is."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from painters import painter

from core.conditioning import Conditioning
from core.seeds import generator, initialized
from video.engines import layouts as module
from video.engines.layouts import (
    CHANNELS,
    COS,
    GRAIN,
    KIND,
    MIDDLE,
    PAINT,
    PLACE_UNIT,
    PRESENT,
    REACH,
    SIN,
    SIZE,
    SKETCH_CHANNELS,
    USUAL_RADIUS,
    X,
    Y,
    apart,
    draw_layouts,
    layouts,
    sketch,
)
from video.engines.own import PAINTING_GUIDANCE, laid_out, painting, sample_from
from video.request import VideoRequest
from video.world.scene_table import tabulate
from video.world.scenes import COLORS, SHAPES, SYMMETRY, path
from video.world.world import GAP, draw_scene

EVEN = (1.0, 1.0, 1.0)


def scenes(count=24):
    return [draw_scene(Random(seed), count_shares=EVEN) for seed in range(count)]


def test_a_layout_holds_the_course_and_the_looks_of_every_thing():
    drawn = scenes()
    found = layouts(tabulate(drawn))
    assert found.shape == (len(drawn), CHANNELS, 16, 3, 1)
    for scene, layout in zip(drawn, found[..., 0], strict=True):
        members = [(t, spot) for t in scene.objects for spot in t.centers]
        for slot, (thing, spot) in enumerate(members):
            rows, way = layout[:, :, slot].double().numpy(), path(thing)
            assert (rows[PRESENT] == 1).all()
            for axis, channel in enumerate((X, Y)):
                place = rows[channel] * PLACE_UNIT + MIDDLE
                np.testing.assert_allclose(place, spot[axis] + way[:, axis], atol=1e-4)
            radius = USUAL_RADIUS * np.exp(rows[SIZE] / 2)
            np.testing.assert_allclose(radius, thing.radius * way[:, 2], rtol=1e-5)
            np.testing.assert_allclose(rows[COS], np.cos(way[:, 3]), atol=1e-6)
            np.testing.assert_allclose(rows[SIN], np.sin(way[:, 3]), atol=1e-6)
            levels = (rows[PAINT] + 1) * 127.5
            np.testing.assert_allclose(levels.T, [COLORS[thing.color]] * 16, atol=1e-3)
            assert (rows[KIND].argmax(0) == SHAPES.index(thing.shape)).all()
        rest = layout[:, :, len(members) :]
        assert (rest[PRESENT] == -1).all()
        assert (rest[PRESENT + 1 :] == 0).all()


def test_a_sketch_shows_each_thing_where_it_is_turned_as_it_is():
    drawn = scenes()
    shown = sketch(layouts(tabulate(drawn)))
    assert shown.shape == (len(drawn), SKETCH_CHANNELS, 16, 64 // GRAIN, 64 // GRAIN)
    centers = (np.arange(64 // GRAIN) + 0.5) * GRAIN
    for scene, maps in zip(drawn, shown.double().numpy(), strict=True):
        free = np.ones(maps.shape[1:], dtype=bool)
        for thing, spot in [(t, spot) for t in scene.objects for spot in t.centers]:
            way = path(thing)
            x, y = (spot[axis] + way[:, axis, None] for axis in (0, 1))
            size, angle = thing.radius * way[:, 2, None, None], way[:, 3, None, None]
            dx, dy = (centers - x)[:, None, :] / size, (centers - y)[:, :, None] / size
            distance = np.hypot(dx, dy)
            inside = (distance * size < REACH * size - GRAIN) & (maps[0] == 1)
            assert inside.any()
            for channel, level in enumerate(COLORS[thing.color], 1):
                np.testing.assert_allclose(maps[channel][inside], level / 127.5 - 1, atol=1e-5)
            kind = 4 + SHAPES.index(thing.shape)
            assert (maps[kind][inside] == 1).all()
            whole = np.zeros_like(distance)
            if thing.shape in SYMMETRY:
                at, order = 10 + list(SYMMETRY).index(thing.shape), SYMMETRY[thing.shape]
                waves = np.cos(order * angle) + whole, np.sin(order * angle) + whole
                for channel, wave in zip((at, at + 4), waves, strict=True):
                    np.testing.assert_allclose(maps[channel][inside], wave[inside], atol=1e-4)
            others = [k for k, shape in enumerate(SYMMETRY, 10) if shape != thing.shape]
            assert (maps[others][:, inside] == 0).all()
            scale = 2 * np.log(size / USUAL_RADIUS) + whole
            np.testing.assert_allclose(maps[18][inside], scale[inside], atol=1e-4)
            for channel, place in zip((19, 20), (dx + whole, dy + whole), strict=True):
                np.testing.assert_allclose(maps[channel][inside], place[inside], atol=1e-4)
            free &= distance * size > REACH * size + GRAIN
        assert (maps[:-1, free] == 0).all()
        assert (maps[-1] == 1).all()


def test_the_order_of_the_slots_does_not_change_a_sketch():
    found = layouts(tabulate(scenes()))
    assert torch.allclose(sketch(found), sketch(found[:, :, :, [2, 0, 1]]), atol=1e-6)


def test_things_of_the_world_are_apart_by_its_gap_and_one_alone_is_from_nothing():
    drawn = scenes()
    found = apart(layouts(tabulate(drawn)))
    for scene, gap in zip(drawn, found.tolist(), strict=True):
        assert gap >= GAP - 1e-3
        assert (gap == np.inf) == (scene.count == 1)


def two_circles(distance):
    """A layout of two things of the usual size, so far from middle to middle, and no third."""
    layout = torch.zeros(1, CHANNELS, 16, 3, 1)
    layout[:, PRESENT] = torch.tensor([1.0, 1.0, -1.0])[:, None]
    layout[:, X, 7, 1] = distance / PLACE_UNIT  # together in this frame alone
    layout[:, X, :7, 1] = layout[:, X, 8:, 1] = 40 / PLACE_UNIT
    return layout


@pytest.mark.parametrize("distance", [0.0, 15.0, 25.0])
def test_two_things_are_as_far_apart_as_their_outlines_are_where_they_are_nearest(distance):
    assert apart(two_circles(distance)).item() == pytest.approx(distance - 2 * USUAL_RADIUS)


def test_only_a_layout_whose_things_are_too_near_is_drawn_again(monkeypatch):
    near, far, other = two_circles(10), two_circles(30), two_circles(35)
    draws = iter([[near, far], [near, other], [other, near]])
    monkeypatch.setattr(module, "dpmpp_2m", lambda *_: torch.cat(next(draws)))
    network = new_painter().layouts
    starts = torch.zeros(2, 5, CHANNELS, 16, 3, 1)
    found = draw_layouts(network, told(), starts)
    torch.testing.assert_close(found, torch.cat([other, far]))
    assert next(draws, None) is None  # two tries were left


@torch.no_grad()
@pytest.mark.parametrize(
    ("height", "steps", "guidance", "calls"),
    [(64, 2, 2.0, 4), (64, 2, 1.0, 2), (64, 1, 2.0, 1), (32, 2, 2.0, 4), (32, 1, 2.0, 2)],
)
def test_a_guided_step_asks_twice_and_others_once(height, steps, guidance, calls):
    network, seen = new_painter(), []
    network.register_forward_hook(lambda *_: seen.append(1))
    request = VideoRequest(prompt="a red circle", steps=steps, height=height)
    start = torch.zeros(2, 3, 16, height, 64)
    cond = replace(told(), guidance=torch.full((2,), guidance))
    sample_from(start, request, cond, network, record={})
    assert len(seen) == calls


@torch.no_grad()
def test_painting_is_guided_away_from_a_clip_of_which_nothing_is_known(monkeypatch):
    network, asked = new_painter(), []

    def heard(*said):
        asked.append(said[-1])
        return heard

    monkeypatch.setattr("video.engines.own.denoiser", heard)
    monkeypatch.setattr("video.engines.own.guided", heard)
    given = torch.ones(2, SKETCH_CHANNELS, 16, 16, 16)
    for scale in (1.2, 3.0):
        cond = replace(told(), sketch=given, guidance=torch.full((2,), scale))
        painting(network, cond, {}, steps=4)
    first, nothing, low, *_, high = asked
    assert first.sketch is given
    assert nothing == Conditioning()
    assert low == pytest.approx(1.2)
    assert high == PAINTING_GUIDANCE


@torch.no_grad()
def test_one_step_is_not_led_away_from_the_mean_of_all_clips():
    """Which would leave bright grounds too bright: nothing comes after to mend it."""
    network, given = new_painter(), torch.rand(2, SKETCH_CHANNELS, 16, 16, 16)
    for weight in network.parameters():
        weight.add_(0.05 * torch.randn(weight.shape, generator=generator(4)))
    start = torch.randn(2, 3, 16, 64, 64, generator=generator(3))
    found = {
        (steps, guidance): sample_from(
            start,
            VideoRequest(prompt="x", steps=steps),
            replace(told(), sketch=given, guidance=torch.full((2,), guidance)),
            network,
            record={},
        )
        for steps in (1, 2)
        for guidance in (1.0, 3.0)
    }
    assert torch.equal(found[1, 1.0], found[1, 3.0])
    assert not torch.equal(found[2, 1.0], found[2, 3.0])


def new_painter(**changes):
    return initialized(lambda: painter(**changes), 0).eval()


def told(rows=2):
    return Conditioning(tokens=torch.randn(rows, 5, 384, generator=generator(1)))


@pytest.mark.parametrize("shape", [(3, 16, 32, 64), (3, 8, 64, 64), (3, 24, 64, 64)])
def test_clips_of_another_size_are_painted_without_a_layout(shape):
    assert laid_out(told(), new_painter(), torch.zeros(2, *shape)).sketch is None


def test_a_network_without_layouts_is_shown_none():
    network = new_painter(layout_network=None)
    assert laid_out(told(), network, torch.zeros(2, 3, 16, 64, 64)).sketch is None


@torch.no_grad()
def test_layouts_follow_from_the_noise_and_the_prompt_of_each_clip_alone():
    network, cond = new_painter(), told()
    assert network.layouts is not None
    torch.nn.init.normal_(network.layouts.head.mix.weight, generator=generator(4))
    start = torch.randn(2, 3, 16, 64, 64, generator=generator(2))
    both = laid_out(cond, network, start)
    assert both.sketch is not None
    assert both.sketch.shape == (2, SKETCH_CHANNELS, 16, 16, 16)
    alone = laid_out(cond.take(slice(1, 2)), network, start[1:])
    assert alone.sketch is not None
    torch.testing.assert_close(alone.sketch, both.sketch[1:], atol=1e-4, rtol=1e-4)
    other = laid_out(cond, network, -start)
    assert other.sketch is not None
    assert not torch.allclose(other.sketch, both.sketch)


@torch.no_grad()
def test_a_new_network_shows_nothing_of_its_sketch_and_a_trained_one_does():
    network = new_painter()
    z = torch.randn(1, 3, 16, 64, 64, generator=generator(3))
    cond = told(1)
    drawn = sketch(layouts(tabulate(scenes(1))))
    torch.nn.init.ones_(network.head.mix.weight)
    plain = network(z, torch.tensor(0.5), None, cond)
    assert torch.equal(network(z, torch.tensor(0.5), None, replace(cond, sketch=drawn)), plain)
    assert network.sketch is not None
    torch.nn.init.ones_(network.sketch.out.weight)
    shown = network(z, torch.tensor(0.5), None, replace(cond, sketch=drawn))
    assert not torch.allclose(shown, plain)
