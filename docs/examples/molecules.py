"""Small molecules drawn as densities in space by this project's own network and trainer.

RDKit grows a set of molecules of carbon, nitrogen and oxygen and bends each into shape; a density
shows each atom as a bell, one channel an element; the network of ``core`` learns such densities
by flow matching. What it draws is read back: bells are fitted, their distances tell the bonds,
and RDKit says whether the molecule may be. Hydrogens are left out and follow from the bonds.

    pip install -e ".[examples]"
    python docs/examples/molecules.py molecules --minutes 15

The folder then holds ``molecules.sdf``, ``molecules.png`` and ``report.json``; a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import volumes
from molecules_read import (
    ELEMENTS,
    ORDERS,
    SIZES,
    SPACING,
    VOXELS,
    WIDTH,
    Molecule,
    atoms,
    axes,
    bonded,
    said,
    valid,
)
from rdkit import Chem, rdBase
from rdkit.Chem import Draw, rdDistGeom, rdForceFieldHelpers
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.networks.unet import SpatioTemporalUNet
from core.records import atomic_path
from core.sampling.schedules import linear
from core.sampling.stochastic import churned
from core.seeds import generator, noise_batch
from core.training.plan import Plan

FARTHEST = 3.6
"""Of an atom from the middle of its molecule, in angstroms."""
SCALE = 6.0
"""What a density is multiplied by before noise of variance 1 is added."""
STEPS, CHURN = 128, 100.0
"""Of a walk that raises the noise anew at each step, which mends what a walk without leaves."""


def grown(dice: random.Random) -> Chem.Mol:
    """A random molecule: atoms and bonds are added one by one where valences allow."""
    mol = Chem.RWMol(Chem.MolFromSmiles("C"))
    size = dice.choice(SIZES)
    for _ in range(8 * size):  # some have no place left for what chance wants to add
        if mol.GetNumAtoms() == size:
            break
        kind = dice.choices(ELEMENTS, (7, 2, 2))[0]
        order = dice.choices((1, 2, 3), (12, 3, 1))[0]
        free = [a for a in mol.GetAtoms() if a.GetTotalNumHs() >= order
                and (a.GetSymbol() == "C" or kind == "C")]  # fmt: skip
        if not free or (kind == "O" and order == 3):
            continue
        place = dice.choice(free).GetIdx()
        mol.AddBond(place, mol.AddAtom(Chem.Atom(kind)), ORDERS[order - 1])
        Chem.SanitizeMol(mol)
    if dice.random() < 0.3:
        far = Chem.GetDistanceMatrix(mol)
        ends = [a.GetIdx() for a in mol.GetAtoms() if a.GetTotalNumHs()]
        of = [a.GetSymbol() for a in mol.GetAtoms()]
        pairs = [(i, j) for i in ends for j in ends if i < j and far[i, j] >= 2
                 and "C" in (of[i], of[j])]  # fmt: skip
        if pairs:
            mol.AddBond(*dice.choice(pairs), Chem.BondType.SINGLE)
            Chem.SanitizeMol(mol)
    return mol.GetMol()


def shaped(mol: Chem.Mol, seed: int) -> Molecule | None:
    """The molecule in space by RDKit's force field; None where that or its place fails."""
    whole = Chem.AddHs(mol)
    if rdDistGeom.EmbedMolecule(whole, randomSeed=seed):
        return None
    if rdForceFieldHelpers.MMFFOptimizeMolecule(whole):
        return None
    heavy = [a.GetIdx() for a in whole.GetAtoms() if a.GetAtomicNum() > 1]
    places = whole.GetConformer().GetPositions()[heavy]
    places = places - places.mean(0)
    places = places @ np.linalg.svd(places)[2].T  # longest along D, shortest along W
    if np.linalg.norm(places, axis=1).max() > FARTHEST:
        return None
    return Molecule([ELEMENTS.index(whole.GetAtomWithIdx(i).GetSymbol()) for i in heavy], places)


def molecules(count: int, seed: int = 0) -> dict[str, Molecule]:
    """Different molecules by their SMILES, of which distances alone tell the bonds."""
    dice, found = random.Random(seed), dict[str, Molecule]()
    for trial in range(100 * count):
        mol = grown(dice)
        name = Chem.MolToSmiles(mol)
        if name not in found and (made := shaped(mol, trial)) and said(made) == name:
            found[name] = made
        if len(found) == count:
            break
    return found


def density(elements: Tensor, places: Tensor) -> Tensor:
    """Bells on a grid, (B, elements, D, H, W); rows of fewer atoms have elements of -1.

    Args:
        elements: (B, atoms) places in ``ELEMENTS``.
        places: (B, atoms, 3) in angstroms around the middle.
    """
    bells = [
        torch.exp(-((places[..., axis, None] - torch.from_numpy(grid)) ** 2) / (2 * WIDTH**2))
        for axis, grid in enumerate(axes())
    ]  # (B, atoms, side) each
    kinds = torch.stack([elements == kind for kind in range(len(ELEMENTS))], -1).float()
    return torch.einsum("bac,bad,bah,baw->bcdhw", kinds, *(bell.float() for bell in bells))


def mirrored(found: Sequence[Molecule], dice: torch.Generator) -> Tensor:
    """Densities of molecules, each mirrored along its axes at random and moved by up to a voxel.

    A molecule has no direction in space: all lie as ``shaped`` lays them.
    """
    most = max(len(one.elements) for one in found)
    elements, places = torch.full((len(found), most), -1), torch.zeros(len(found), most, 3)
    for row, one in enumerate(found):
        count = len(one.elements)
        elements[row, :count] = torch.tensor(one.elements)
        places[row, :count] = torch.from_numpy(one.places).float()
    signs = torch.randint(2, (len(found), 1, 3), generator=dice) * 2 - 1
    moved = (torch.rand(len(found), 1, 3, generator=dice) - 0.5) * SPACING
    return density(elements, places * signs + moved)


def network(seed: int = 0, widths: Sequence[int] = (48, 96)) -> SpatioTemporalUNet:
    """The network of clips and heads, of another size: a channel an element, no text."""
    return volumes.network(
        seed,
        in_channels=len(ELEMENTS),
        block_out_channels=widths,
        patch_size=(2, 2, 2),
        rope_periods=(1.2, 19.2),
        default_spacing=(SPACING,) * 3,
    )


def trained(
    found: Sequence[Molecule], folder: Path, plan: Plan, **shape: Any
) -> SpatioTemporalUNet:
    """The network, taught on the molecules; goes on where ``folder`` holds the beginning."""

    def batch(size: int, dice: torch.Generator) -> tuple[Tensor, Conditioning]:
        rows = torch.randint(len(found), (size,), generator=dice).tolist()
        return SCALE * mirrored([found[row] for row in rows], dice), Conditioning()

    return volumes.taught(network(**shape), batch, folder, plan)


@torch.inference_mode()
def drawn(net: SpatioTemporalUNet, count: int, seed: int, steps: int = STEPS) -> np.ndarray:
    """Densities from noise, (count, elements, D, H, W)."""
    shape = len(ELEMENTS), *VOXELS
    parts = []
    for start in range(0, count, 16):
        z = noise_batch(shape, seed, range(start, min(start + 16, count)))
        fresh = generator(seed, start, 1)
        parts.append(
            churned(denoiser(net), z, linear(steps), generator=fresh, churn=CHURN) / SCALE
        )
    return torch.cat(parts).numpy()


def report(
    made: Sequence[Molecule], known: dict[str, Molecule], held: Sequence[Molecule]
) -> dict[str, Any]:
    """Shares: valid, different and new ones; of known molecules read back; of atoms by chance."""
    names = [said(one) for one in made if valid(one)]
    dice = np.random.default_rng(0)
    chance = [
        Molecule(one.elements, dice.permutation(one.places.ravel()).reshape(-1, 3)) for one in held
    ]
    rows = mirrored(held, torch.Generator().manual_seed(0)).numpy()
    back = [said(atoms(rho)) == said(one) for rho, one in zip(rows, held, strict=True)]
    return {
        "drawn": len(made),
        "valid": len(names) / len(made),
        "different, of the valid": len(set(names)) / max(1, len(names)),
        "not in the set, of the valid": sum(n not in known for n in names) / max(1, len(names)),
        "molecules of the set": len(known),
        "held-out molecules read back from their density": float(np.mean(back)),
        "valid with coordinates exchanged by chance": float(np.mean([*map(valid, chance)])),
    }


def main(words: Sequence[str] | None = None, say: Callable[[str], Any] = sys.stdout.write) -> None:
    """Grow the set, train, draw, read back, and write what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="for checkpoints and results")
    parser.add_argument("--minutes", type=float, default=15, help="of training")
    parser.add_argument("--steps", type=int, default=10000, help="of training, at most")
    parser.add_argument("--molecules", type=int, default=2000, help="of the set")
    parser.add_argument("--draw", type=int, default=128, help="molecules to draw")
    asked = parser.parse_args(words)
    rdBase.DisableLog("rdApp.*")
    asked.folder.mkdir(parents=True, exist_ok=True)
    every = list(molecules(asked.molecules + asked.molecules // 10).items())
    known, held = dict(every[: asked.molecules]), [one for _, one in every[asked.molecules :]]
    say(f"{len(known)} molecules such as {', '.join(list(known)[:5])}\n")
    plan = volumes.plan(
        steps=asked.steps,
        minutes=asked.minutes,
        data=f"{asked.molecules} molecules, seed 0, along their axes",
    )
    net = trained(list(known.values()), asked.folder / "training", plan)
    made = [atoms(rho) for rho in drawn(net, asked.draw, seed=1)]
    found = report(made, known, held)
    _write(asked.folder, [mol for one in made if valid(one) and (mol := bonded(one))])
    with atomic_path(asked.folder / "report.json", overwrite=True) as path:
        path.write_text(json.dumps(found, indent=2) + "\n")
    say(json.dumps(found, indent=2) + "\n")


def _write(folder: Path, mols: Sequence[Chem.Mol]) -> None:
    """The molecules with their places, and a sheet of the first ones as they are usually drawn."""
    path = folder / "molecules.sdf"
    with atomic_path(path, overwrite=True) as kept, Chem.SDWriter(str(kept)) as writer:
        for mol in mols:
            writer.write(mol)
    flat = [Chem.MolFromSmiles(Chem.MolToSmiles(mol)) for mol in mols[:24]]
    if not flat:
        return
    with atomic_path(folder / "molecules.png", overwrite=True) as path:
        Draw.MolsToGridImage(flat, molsPerRow=8).save(path)


if __name__ == "__main__":
    main()
