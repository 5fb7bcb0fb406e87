"""The model that heads are drawn with: written, found whole, and drawn from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.seeds import generator
from medical.anatomy.drawn import draw_anatomy
from medical.anatomy.head_model import load_pool, save_pool
from medical.anatomy.mixing import condition_of
from medical.anatomy.painting import Look
from medical.anatomy.tissues import find_tissues
from medical.training.head_batches import (
    OBJECTIVE,
    PaintedHead,
    folding_batches,
    painting_batches,
)
from tests.medical.heads import pool

TINY = {
    "concat_channels": 7,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "patch_size": (4, 4, 4),
    "down_strides": ((2, 2, 2),),
    "attention_levels": (False, False),
    "spatial_attention_levels": (False, False),
    "rope_periods": (2.0, 64.0),
    "prediction": "sample",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-heads"
    network = SpatioTemporalUNet(in_channels=1, **TINY, layout_network={"in_channels": 3, **TINY})
    record = {"name": "tiny-heads", "license": "Apache-2.0", "limits": ["Nothing was learned"]}
    return save_pool(folder, network, pool(6), record)


def test_a_model_is_whole_and_says_whom_it_holds(model: Path) -> None:
    ready = load_pool(model)
    record = json.loads((model / "model.json").read_text())
    assert record["kind"] == "head"
    assert [row[0] for row in record["people"]] == [p.hash for p in ready.people]
    assert ready.paint is not None
    assert "nobody has" in (model / "CARD.md").read_text()


def test_another_pool_is_not_taken(model: Path, tmp_path) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(model, other)
    with (other / "pool.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Refusal, match="not those of the model"):
        load_pool(other)


def test_folding_is_drawn_from_the_seed(model: Path) -> None:
    ready = load_pool(model)
    people = pool(6)
    maps = [m[0].astype(np.float32) / 255 for m in (people.wide, people.deep)]
    condition = condition_of(*maps, people.depth)
    one, again, other = (ready.fold(condition, seed) for seed in (1, 1, 2))
    assert one.shape == (3, *condition.shape[1:])
    assert np.array_equal(one, again)
    assert 0 <= one.min() <= one.max() <= 1
    assert other.shape == one.shape


def test_an_image_is_painted_where_there_is_tissue(model: Path) -> None:
    ready = load_pool(model)
    assert ready.paint is not None
    fractions = np.zeros((3, 40, 44, 36), np.float32)
    fractions[2, 8:32, 8:32, 8:32] = 1
    image = ready.paint(fractions, Look(), 3)
    assert image.shape == fractions.shape[1:]
    assert not image[:4].any()
    assert image[10:30, 10:30, 10:30].mean() > 0


def test_patches_are_what_the_networks_are_told(model: Path) -> None:
    drawn = draw_anatomy(pool(6), 2, spacing_mm=(2.0, 2.0, 2.0))
    t1 = np.array([0, 0.2, 0.5, 0.75], np.float32)[drawn.labels]
    random = np.random.default_rng(0)
    t1 += (t1 > 0) * random.normal(0, 0.03, t1.shape).astype(np.float32)
    head = PaintedHead.of(find_tissues(t1, (2.0, 2.0, 2.0)))
    x, cond = painting_batches([head])(2, generator(1))
    assert x.shape == (2, 1, 32, 32, 32)
    assert cond.concat is not None
    assert cond.concat.shape == (2, 7, 32, 32, 32)
    # the painted channel follows the image it was made from
    pairs = torch.stack([x.flatten(), cond.concat[:, 3].flatten()])
    assert float(torch.corrcoef(pairs)[0, 1]) > 0.8
    maps = np.stack([(np.ones((3, 80, 96, 80)) * 80).astype(np.uint8)] * 2)
    conditions = np.zeros((2, 7, 80, 96, 80), np.float16)
    x, cond = folding_batches(maps, conditions)(3, generator(2))
    assert x.shape == (3, 3, 32, 32, 32)
    network = SpatioTemporalUNet(in_channels=3, **TINY)
    loss, _ = OBJECTIVE.loss(network, x, cond, OBJECTIVE.draw(x, generator(3)))
    assert torch.isfinite(loss)


def test_a_dataset_draws_its_heads_from_the_people_asked_for() -> None:
    from medical.datasets.people import PeopleHeads

    heads = PeopleHeads(pool(8))
    some = heads.people[:6]
    head = heads.draw(3, (3.0, 3.0, 3.0), some)
    assert set(head.contributors) == {person.hash for person in some}
    images = heads.render(head, ["T1w", "FLAIR"], 3)
    assert list(images) == ["T1w", "FLAIR"]
    assert images["T1w"].shape == head.labels.shape
    white = np.median(images["T1w"][head.labels == 3])
    assert white == pytest.approx(1000, rel=0.1)
    assert "not anonymous" in heads.words


def test_the_shipped_model_is_whole_and_says_that_a_holder_of_a_scan_can_recognize_it() -> None:
    from core.models.checkpoints import find_model
    from medical.anatomy.pool import person_hash

    folder = find_model("drawn-heads-1mm", "head")
    people = {person.hash for person in load_pool(folder).people}
    assert len(people) == 45
    everybody = [person_hash("ds002748", f"sub-{k:02d}") for k in range(1, 73)]
    assert people <= set(everybody)
    card = (folder / "CARD.md").read_text()
    assert "can recognize their map" in card
    assert "pseudonymous, not anonymous" in card
    assert "CC0" in card
    assert sum(p.stat().st_size for p in folder.iterdir()) < 14e6
