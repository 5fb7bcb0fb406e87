"""Pictures of many kinds have no extreme values of their own; what is put into them is found."""

import random

import pytest
import torch

from medical.acquisition.intensity import MOST_FILLS, measure_scale, without_fill

PICTURES = {}
QUICK, ALL = 60, 500
SPEAKING = 18  # levels: with fewer nobody can say what is far away
RANGE = 10.0
# of so many pictures, drawn from these seeds, how many have a voxel or a few far beyond all others
OWN = {
    QUICK: {"exponential": 5, "normal": 1},
    ALL: {"exponential": 66, "dark_spots": 14, "normal": 8, "spots": 1},
}


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


def _check(kind, count):
    """Hold pictures with and without an extreme value."""
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
    assert own <= OWN[count].get(kind, 0)


def _clustered(draw, x, below):
    """With noisy fill in a border below, or a few voxels of many values above; and where."""
    extent, levels = float(x.max()) - min(0.0, float(x.min())), draw.randint(6, 40)
    gap = extent * draw.choice([4, 10, 30])
    steps = noise(draw, *x.shape).abs().mul(levels / 3).round().clamp(max=levels)
    values = gap * (1 + steps / levels / 10)
    if below:
        where = torch.zeros_like(x, dtype=torch.bool)
        where[0] = True
        return torch.where(where, min(0.0, float(x.min())) - values, x), where
    where = torch.zeros(x.numel(), dtype=torch.bool)
    where[draw.sample(range(x.numel()), round(0.015 * x.numel()))] = True
    where = where.reshape(x.shape)
    return torch.where(where, float(x.max()) + values, x), where


@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("kind", PICTURES)
def test_a_cluster_of_many_values_far_away_is_extreme(kind, below):
    tried = 0
    for seed in range(QUICK):
        draw = random.Random(f"{kind}{seed}")
        x = PICTURES[kind](draw)
        x = x.round() if seed % 2 else x
        spoiled, where = _clustered(draw, x, below)
        put, rest = spoiled[where].unique().numel(), x[~where].unique().numel()
        if put <= MOST_FILLS or rest < max(SPEAKING, 2 * put):
            continue
        tried += 1
        data, fill = without_fill(spoiled)
        found = measure_scale(data)
        seen = fill | (data < found.least) | (data > found.most)
        assert seen[where].all()
        assert int(seen.sum()) <= int(where.sum()) + MOST_FILLS
        assert float(found.apply(data).max()) <= RANGE
    assert tried > QUICK / 4 or kind == "few_values"  # which has not enough of them


@pytest.mark.parametrize("kind", PICTURES)
def test_nothing_of_a_picture_is_extreme(kind):
    _check(kind, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PICTURES)
def test_nothing_of_500_pictures_is_extreme(kind):
    _check(kind, ALL)
