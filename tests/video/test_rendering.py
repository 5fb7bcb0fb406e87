"""Pixels follow the scene: right areas, soft edges and right colors, whatever the batch."""

import math
from random import Random

import pytest
import torch

from video.world.rendering import coverage, render
from video.world.scenes import BACKGROUNDS, COLORS, REACH, SHAPES, SYMMETRY, Scene, SceneObject
from video.world.world import draw_scene

AREAS = {
    "circle": math.pi,
    "square": (2 * 0.855) ** 2,
    "triangle": 3 * math.sqrt(3) * 0.625**2,
    "star": 5 * 1.3 * 0.56 * math.sin(math.pi / 5),
    "cross": 4 * (2 * 1.1 * 0.38 - 0.38**2),
    "ring": 4 * math.pi * 0.83 * 0.27,
}
PIXEL = torch.arange(64) + 0.5 - 32.0


def drawn(shape: str, radius: float = 20.0, angle: float = 0.0) -> torch.Tensor:
    sizes = torch.tensor(radius), torch.tensor(angle)
    return coverage(shape, PIXEL[None, :], PIXEL[:, None], *sizes)


def still(**changes) -> SceneObject:
    words = {"shape": "square", "color": "red", "size": "large", "motion": "stay", "speed": None}
    return SceneObject(**words | {"centers": ((32.0, 32.0),), "radius": 11.0} | changes)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [5.5, 11.0, 20.0])
def test_covered_area_is_that_of_the_shape(shape, radius):
    assert float(drawn(shape, radius).sum()) == pytest.approx(AREAS[shape] * radius**2, rel=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_stays_within_its_reach(shape):
    covered = torch.hypot(PIXEL[None, :], PIXEL[:, None])[drawn(shape) > 0]
    assert covered.max() < REACH[shape] * 20.0 + 1.0
    assert covered.max() > REACH[shape] * 20.0 - 2.0


@pytest.mark.parametrize(("shape", "order"), SYMMETRY.items())
def test_a_turn_by_its_symmetry_changes_nothing_and_half_of_it_does(shape, order):
    upright = drawn(shape)
    assert torch.allclose(drawn(shape, angle=2 * math.pi / order), upright, atol=1e-3)
    assert (drawn(shape, angle=math.pi / order) - upright).abs().sum() > 100


@pytest.mark.parametrize("shape", ["circle", "ring"])
def test_round_shapes_do_not_show_their_turn(shape):
    assert torch.allclose(drawn(shape, angle=0.7), drawn(shape), atol=1e-3)


def test_triangles_and_stars_point_up():
    for shape in ("triangle", "star"):
        rows = drawn(shape).sum(dim=1)
        top = int(rows.nonzero()[0])
        bottom = int(rows.nonzero()[-1])
        assert 32 - top > bottom - 31
        assert rows[top + 1] < rows[bottom - 1]


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_colors_are_exact_inside_and_outside(background):
    for color in COLORS:
        clip = render([Scene(background, (still(color=color),))])[0]
        pixels = ((clip + 1) * 127.5).round().permute(1, 2, 3, 0)
        assert pixels[0, 32, 32].tolist() == list(COLORS[color])
        assert pixels[0, 2, 2].tolist() == list(BACKGROUNDS[background])


def test_x_runs_right_and_y_runs_down():
    clip = render([Scene("black", (still(centers=((50.0, 14.0),), radius=5.5),))])[0]
    assert clip[0, 0, 14, 50] > 0
    assert clip[0, 0, 50, 14] == -1


def test_edges_are_soft():
    square = still(centers=((32.25, 32.0),), radius=10 / 0.855)
    row = (render([Scene("black", (square,))])[0, 0, 0, 32] + 1) * 127.5 / COLORS["red"][0]
    assert row[[21, 22, 23, 41, 42, 43]].tolist() == pytest.approx([0, 0.75, 1, 1, 0.25, 0])


def test_a_thing_that_stays_is_the_same_in_every_frame():
    clip = render([Scene("navy", (still(),))])[0]
    assert torch.equal(clip, clip[:, :1].expand_as(clip))


def test_a_clip_does_not_depend_on_its_batch():
    dice = Random(0)
    scenes = [draw_scene(dice, count_shares=(1.0, 1.0, 1.0)) for _ in range(20)]
    together = render(scenes)
    for number in (0, 7, 19):
        alone = render(scenes[number : number + 1])[0]
        assert torch.allclose(together[number], alone, atol=1e-5)
