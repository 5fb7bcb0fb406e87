"""Pictures of many kinds have no extreme values of their own; what is put into them is found."""

import random

import pytest
import torch

from medical.acquisition.intensity import MOST_FILLS, measure_scale, without_fill

PICTURES = {}
QUICK, ALL = 60, 500
SPEAKING = 18  # levels: with fewer nobody can say what is far away
RANGE = 10.0
# share of pictures of which a voxel or a few lie far beyond all others by chance
OWN = {"exponential": 0.14, "dark_spots": 0.05, "normal": 0.02, "spots": 0.01}


def picture(make):
    """Register a kind of picture, drawn from a ``random.Random``."""
    PICTURES[make.__name__] = make
    return make


def shape(draw):
    return [draw.randint(6, 26) for _ in range(3)]


def places(draw):
    axes = [torch.linspace(-1, 1, n) for n in shape(draw)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def noise(draw, *size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(draw.randrange(1 << 30)))


def around(draw, points):
    middle = torch.tensor([draw.uniform(-0.7, 0.7) for _ in range(3)])
    return torch.exp(-((points - middle) / draw.uniform(0.15, 1.2)).square().sum(-1))


@picture
def spots(draw):
    """Bright on a plain ground, some only a voxel wide."""
    points = places(draw)
    bright = [draw.uniform(100, 900) * around(draw, points) for _ in range(draw.randint(1, 5))]
    return draw.choice([0, 100, 300]) + sum(bright)


@picture
def dark_spots(draw):
    return -spots(draw)


@picture
def ramp(draw):
    return places(draw) @ torch.tensor([draw.uniform(-500, 500) for _ in range(3)]) + draw.choice(
        [0, 600, 1500]
    )


@picture
def few_values(draw):
    levels = torch.tensor(
        [0.0, *sorted(draw.uniform(1, 1000) for _ in range(draw.randint(1, 11)))]
    )
    generator = torch.Generator().manual_seed(draw.randrange(1 << 30))
    return levels[torch.randint(0, len(levels), shape(draw), generator=generator)]


@picture
def few_values_with_noise(draw):
    plain = few_values(draw)
    return (plain + draw.uniform(0.1, 30) * noise(draw, *plain.shape)).clamp(min=0)


@picture
def normal(draw):
    return draw.uniform(0.5, 300) * noise(draw, *shape(draw)) + draw.choice([0, 0, 500])


@picture
def exponential(draw):
    sizes = shape(draw)
    return draw.uniform(20, 200) * (noise(draw, *sizes) ** 2 + noise(draw, *sizes) ** 2)


@picture
def sparse(draw):
    """A few bright voxels, each of its own value, in a dark ground."""
    ground = 15 * noise(draw, 20, 20, draw.randint(10, 20)).abs()
    bright = noise(draw, *ground.shape) > 2
    return torch.where(bright, 500 + 150 * noise(draw, *ground.shape).abs(), ground)


def _spoiled(draw, x, where):
    """With an extreme value, at one voxel or in a border, and how many voxels have it."""
    extent = float(x.max()) - min(0.0, float(x.min()))
    value = torch.tensor(extent * draw.choice([10, 30, 100]) * draw.choice([1, -1]))
    spoiled = x.clone()
    spoiled[where] = value
    return spoiled, int((spoiled == value).sum())


def _check(kind, count, *, most):
    """Hold pictures with and without an extreme value; ``most`` may have one of their own."""
    own = 0
    for seed in range(count):
        draw = random.Random(f"{kind}{seed}")
        x = PICTURES[kind](draw)
        x = x.round() if seed % 2 and kind != "few_values" else x
        if float(x.max()) == float(x.min()):
            continue
        clean = measure_scale(without_fill(x)[0])
        outside = (x < clean.least) | (x > clean.most)
        assert x[outside].unique().numel() <= MOST_FILLS
        assert float(outside.float().mean()) < 0.02
        own += clean.held > 0
        if x.unique().numel() < SPEAKING:
            continue
        spoiled, put = _spoiled(draw, x, 0 if seed % 3 else (0, 0, 0))
        data, fill = without_fill(spoiled)
        found = measure_scale(data)
        seen = fill | (data < found.least) | (data > found.most)
        assert seen[spoiled != x].all()
        assert put <= int(seen.sum()) <= put + MOST_FILLS
        assert float(found.apply(data).max()) <= RANGE
    assert own <= most


@pytest.mark.parametrize("kind", PICTURES)
def test_nothing_of_a_picture_is_extreme(kind):
    _check(kind, QUICK, most=OWN.get(kind, 0.0) * QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PICTURES)
def test_nothing_of_500_pictures_is_extreme(kind):
    _check(kind, ALL, most=OWN.get(kind, 0.0) * ALL)
