"""Trains whole heads in latents and in voxels for equal time, and writes the page.

Every arm is kept when it is finished and resumed when it was cut: give the same command again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from core.records import atomic_path
from tests.benchmarks.arms.training import claimed
from tests.benchmarks.latents import measures
from tests.benchmarks.latents.arm import ARMS, Arm, trained
from tests.benchmarks.latents.data import Data
from tests.benchmarks.latents.page import page, picture
from tests.benchmarks.quality.cases import ROOT
from tests.benchmarks.quality.heads import data_folder

RESULT = "result.json"
REBUILT, DRAWN = "rebuilt.safetensors", "drawn.safetensors"


def main() -> int:
    """Train the arms that are missing, in order, and write the page after each."""
    chosen = _arguments()
    torch.set_num_threads(1)
    home = Path(os.environ.get("LAMINA_HOME", ROOT / ".lamina")) / "latents"
    into = ROOT / "docs"
    if chosen.quick:
        home, into = home / "quick", home / "quick" / "docs"
    home.mkdir(parents=True, exist_ok=True)
    heads = chosen.heads or data_folder() / "t1-heads"
    most, clips = (6, 4) if chosen.quick else (1000, 64)
    data = Data(heads, most=most, held_out_clips=clips, kept=home / "heads.safetensors")
    share = 0.01 if chosen.quick else 1.0
    for arm in ARMS:
        folder = home / arm.name.replace(" ", "-")
        with claimed(folder) as free:
            if free and not chosen.page and not (folder / RESULT).is_file():
                network, facts = trained(arm, data, folder, share=share)
                _write(folder / RESULT, facts | judged(arm, network, data, folder))
        write_page(home, into, data)
    return 0


def judged(arm: Arm, network: Any, data: Data, folder: Path) -> dict[str, Any]:
    """What is measured of a finished arm; its last volumes are kept beside it."""
    weights = sum(p.numel() for p in network.parameters())
    if arm.clips:
        near = measures.near_clips(measures.rebuilt(network, data.other_clips), data.other_clips)
        z = torch.zeros(1, *network.latent_shape(data.other_clips.shape[1:]))
        with torch.inference_mode():
            network.decode(z)
            began = time.process_time()
            network.decode(z)
        return {"weights": weights, "near": near, "decode_s": time.process_time() - began}
    real = measures.features(data.held_out[:, 0])
    found: dict[str, Any] = {"weights": weights}
    if arm.name == "latents":
        again = measures.rebuilt(network.autoencoder, data.held_out)
        save_file({"heads": again[:, 0].half()}, folder / REBUILT)
        others = data.heads[: measures.DRAWN, 0]
        found |= {
            "near": measures.near(again, data.held_out),
            "rebuilt": measures.apart(measures.features(again[:, 0]), real),
            "real": measures.apart(measures.features(others), real),
            "heads": [len(data.heads), len(data.held_out)],
        }
    network = measures.fast(network)
    found["drawn"] = {}
    for steps in measures.STEPS:
        volumes, seconds = measures.drawn(network, steps, measures.DRAWN)
        apart = measures.apart(measures.features(volumes), real)
        found["drawn"][str(steps)] = {"seconds": seconds, **apart}
        save_file({"heads": volumes.half()}, folder / DRAWN)
    return found


def write_page(home: Path, into: Path, data: Data) -> None:
    """Write the page of what is finished; nothing before the first arm is."""
    arms = {}
    for arm in ARMS:
        path = home / arm.name.replace(" ", "-") / RESULT
        if path.is_file():
            arms[arm.name] = json.loads(path.read_text())
    if "latents" not in arms:
        return
    shared = {k: arms["latents"][k] for k in ("near", "rebuilt", "real", "heads")}
    found = {**shared, "arms": arms}
    into.mkdir(parents=True, exist_ok=True)
    _write(into / "latents.json", found)
    rows = [data.held_out[:, 0], _volumes(home / "latents" / REBUILT)]
    drawn = [home / name.replace(" ", "-") / DRAWN for name in arms]
    rows += [_volumes(path) for path in drawn if path.is_file()]
    picture(into / "pictures" / "latents" / "heads.png", rows)
    with atomic_path(into / "latents.md", overwrite=True) as temporary:
        temporary.write_text(page(found))


def _volumes(path: Path) -> torch.Tensor:
    return load_file(path)["heads"].float()


def _write(path: Path, found: dict[str, Any]) -> None:
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.latents")
    parser.add_argument("--heads", type=Path, help="BIDS folder; t1-heads in LAMINA_DATA")
    parser.add_argument("--quick", action="store_true", help="a few steps an arm: does it run?")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
