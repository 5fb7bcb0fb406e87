"""The example of molecules: the set, densities read back, what is no molecule, and a tiny run."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.refusal import Refusal

pytest.importorskip("rdkit", reason="the extra `examples` is not installed")
EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import molecules

    yield molecules
    for name in ("molecules", "molecules_read", "volumes"):
        sys.modules.pop(name)


@pytest.fixture
def some(example):
    return example.molecules(40)


def test_molecules_are_different_and_follow_from_the_seed(example, some):
    assert len(some) == 40
    assert list(example.molecules(5)) == list(some)[:5]
    assert {len(one.elements) for one in some.values()} <= set(example.SIZES)
    assert {kind for one in some.values() for kind in one.elements} == {0, 1, 2}


def test_a_density_holds_its_molecule_however_it_is_mirrored(example, some):
    rows = example.mirrored(list(some.values()), torch.Generator().manual_seed(3)).numpy()
    found = [example.atoms(rho) for rho in rows]
    right = [example.said(one) == name for one, name in zip(found, some, strict=True)]
    assert np.mean(right) > 0.9
    exact = max(len(one.elements) for one in found)
    assert exact <= max(example.SIZES)


def test_atoms_are_found_within_a_hundredth_of_an_angstrom(example):
    places = np.array([[0.1, -0.7, 0.2], [0.1, 0.7, 0.2], [1.3, 1.3, 0.2]])
    rho = example.density(torch.tensor([[0, 0, 2]]), torch.from_numpy(places)[None].float())
    found = example.atoms(rho[0].numpy())
    assert sorted(found.elements) == [0, 0, 2]
    away = np.linalg.norm(found.places[:, None] - places, axis=-1).min(0)
    assert away.max() < 0.01


@pytest.mark.parametrize(
    ("elements", "places"),
    [
        ([0, 0, 0], [[0, 0, 0], [1.5, 0, 0], [4, 0, 0]]),  # in two pieces
        ([2, 0, 0, 0], [[0, 0, 0], [1.4, 0, 0], [-1.4, 0, 0], [0, 1.4, 0]]),  # oxygen with three
        ([0, 0], [[0, 0, 0], [1.5, 0, 0]]),  # smaller than what was learned
        ([], np.zeros((0, 3))),
    ],
)
def test_what_may_not_be_is_not_valid(example, elements, places):
    assert not example.valid(example.Molecule(elements, np.array(places, dtype=float)))


def test_the_whole_way_in_a_tiny_setting(example, tmp_path):
    said = []
    example.main(
        [str(tmp_path), "--minutes", "0", "--steps", "2", "--molecules", "20", "--draw", "2"],
        said.append,
    )
    names = {path.name for path in tmp_path.iterdir()} - {"molecules.png"}  # of valid ones alone
    assert names == {"training", "molecules.sdf", "report.json"}
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["drawn"] == 2
    assert 0 <= found["valid"] <= 1
    assert found["molecules of the set"] == 20
    assert json.loads(said[-1]) == found
    others = ["--minutes", "0", "--steps", "2", "--molecules", "21", "--draw", "2"]
    with pytest.raises(Refusal, match="20 molecules, seed 0"):
        example.main([str(tmp_path), *others], said.append)
