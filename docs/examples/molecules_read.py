"""Reads molecules back from densities: bells are fitted, distances tell bonds, RDKit checks.

A part of the example ``molecules.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem

ELEMENTS = ("C", "N", "O")
SIZES = range(3, 8)
"""Heavy atoms of a molecule."""
VOXELS = (16, 12, 12)
"""Along D, H, W: molecules lie with their longest axis along D and their shortest along W."""
SPACING, WIDTH = 0.6, 0.4
"""Between two voxels, and standard deviation of an atom's bell, in angstroms."""
LENGTHS = {  # of single, double and triple bonds, in angstroms
    "CC": (1.54, 1.34, 1.20), "CN": (1.46, 1.27, 1.16), "CO": (1.43, 1.21),
}  # fmt: skip
ORDERS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
SLACK = 0.25
"""Beyond a single bond's length, up to which two atoms are bonded."""


class Molecule(NamedTuple):
    """Atoms without hydrogens: elements as places in ``ELEMENTS``, and where, in angstroms."""

    elements: list[int]
    places: np.ndarray  # (atoms, 3)


def axes() -> list[np.ndarray]:
    """Where voxels lie along D, H and W, in angstroms around the middle."""
    return [(np.arange(side) - (side - 1) / 2) * SPACING for side in VOXELS]


def atoms(rho: np.ndarray, least: float = 0.5) -> Molecule:
    """The atoms of a density: the highest bell is fitted and taken away until none is left."""
    elements: list[int] = []
    places = np.zeros((0, 3))
    left = rho
    while left.max() > least and len(elements) < 2 * max(SIZES):
        kind, *where = np.unravel_index(left.argmax(), left.shape)
        elements.append(int(kind))
        places = np.vstack([places, [grid[at] for grid, at in zip(axes(), where, strict=True)]])
        for _ in range(4):  # Gauss-Newton on the places of all atoms at once
            places, left = _fitted(rho, elements, places)
    return Molecule(elements, places)


def _fitted(
    rho: np.ndarray, elements: Sequence[int], places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places moved by one step of least squares, and what the bells there leave over."""
    model, slopes = np.zeros_like(rho), []
    for kind, place in zip(elements, places, strict=True):
        aways = [grid - at for grid, at in zip(axes(), place, strict=True)]
        x, y, z = (np.exp(-(away**2) / (2 * WIDTH**2)) for away in aways)
        bell = x[:, None, None] * y[:, None] * z
        model[kind] += bell
        for axis, away in enumerate(aways):
            slope, along = np.zeros_like(rho), [-1 if i == axis else 1 for i in range(3)]
            slope[kind] = bell * (away / WIDTH**2).reshape(along)
            slopes.append(slope.ravel())
    rows = np.stack(slopes)
    left = rho - model
    step = np.linalg.solve(rows @ rows.T + 1e-3 * np.eye(len(rows)), rows @ left.ravel())
    return places + np.clip(step.reshape(-1, 3), -0.3, 0.3), left


def bonded(found: Molecule) -> Chem.Mol | None:
    """Atoms with the bonds that their distances tell, checked by RDKit; None if it may not be.

    It may be if RDKit's sanitization accepts every valence and all atoms hang together.
    """
    mol = Chem.RWMol()
    for kind in found.elements:
        mol.AddAtom(Chem.Atom(ELEMENTS[kind]))
    for i, j in zip(*np.triu_indices(len(found.elements), 1), strict=True):
        pair = "".join(sorted(ELEMENTS[found.elements[k]] for k in (i, j)))
        lengths = LENGTHS.get(pair, (1.45,))
        far = float(np.linalg.norm(found.places[i] - found.places[j]))
        if far < lengths[0] + SLACK:
            nearest = min(range(len(lengths)), key=lambda k: abs(lengths[k] - far))
            mol.AddBond(int(i), int(j), ORDERS[nearest])
    conformer = Chem.Conformer(len(found.elements))
    conformer.SetPositions(np.ascontiguousarray(found.places, dtype=np.float64))
    mol.AddConformer(conformer)
    whole = len(Chem.GetMolFrags(mol)) == 1
    if not whole or Chem.SanitizeMol(mol, catchErrors=True) != Chem.SANITIZE_NONE:
        return None
    return mol.GetMol()


def said(found: Molecule) -> str:
    """SMILES of what the distances tell; empty if it may not be."""
    mol = bonded(found)
    return "" if mol is None else Chem.MolToSmiles(mol)


def valid(found: Molecule) -> bool:
    """Whether it is a molecule of the sizes that were learned."""
    return len(found.elements) in SIZES and bool(said(found))
