"""The page on latents says what its numbers say."""

import json
from pathlib import Path

import pytest
import torch

from core.seeds import generator
from medical.anatomy.whole_heads import MEAN, SPREAD
from tests.benchmarks.latents.measures import apart, features
from tests.benchmarks.latents.page import page

DOCS = Path(__file__).parents[2] / "docs"


def balls(count, seed, *, rough):
    """(count, 48, 48, 48) balls of white in gray in fluid, with detail of a strength."""
    random = generator(seed)
    places = torch.stack(torch.meshgrid(*[torch.arange(48.0)] * 3, indexing="ij"))
    found = []
    for _ in range(count):
        middle = 23 + 2 * torch.rand(3, 1, 1, 1, generator=random)
        radius = (places - middle).square().sum(0).sqrt()
        image = torch.where(radius < 16, 0.75, torch.where(radius < 20, 0.5, 0.25))
        image = image + rough * torch.randn(image.shape, generator=random)
        found.append(torch.where(radius < 23, image, torch.zeros(())))
    return (torch.stack(found) - MEAN) / SPREAD


def test_volumes_of_one_kind_are_not_told_apart_and_those_of_another_are():
    real = features(balls(8, 1, rough=0.05))
    alike = apart(features(balls(8, 2, rough=0.05)), real)
    smooth = apart(features(balls(8, 3, rough=0.02)), real)
    assert 0.3 < alike["auc"] < 0.7
    assert smooth["auc"] > 0.95
    assert smooth["distance"] > 3 * alike["distance"]


def test_the_page_is_that_of_its_numbers():
    if not (DOCS / "latents.json").is_file():
        pytest.skip("nothing was measured yet")
    found = json.loads((DOCS / "latents.json").read_text())
    assert page(found) == (DOCS / "latents.md").read_text()
