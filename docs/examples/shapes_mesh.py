"""From a field to files: marching cubes, glTF and STL by trimesh, a turntable, and the record.

A part of the example ``shapes.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from skimage.measure import marching_cubes
from torch import Tensor
from torch.nn import functional

from core.records import atomic_path, write_record
from core.refusal import Refusal
from video.files.clip import Clip, write_mp4

FILES = {"video": "mp4", "gltf": "glb", "stl": "stl"}
"""Role to ending."""
COS, SIN = math.cos(math.radians(25)), math.sin(math.radians(25))
"""Of the angle from which the turntable looks down."""


def mesh(shown: Tensor) -> trimesh.Trimesh:
    """The surface of one field, (D, H, W), by marching cubes; up is y, as glTF has it.

    Raises:
        Refusal: Nothing of it is inside.
    """
    if not bool((shown > 0).any()):
        raise Refusal("an empty field: a surface needs an inside; draw it with another seed.")
    closed = np.pad(shown.numpy(), 1, constant_values=-1)
    places, faces, _, _ = marching_cubes(closed, 0.0, spacing=(2 / len(shown),) * 3)
    z, y, x = (places - 1 - 1 / len(shown)).T
    made = trimesh.Trimesh(np.stack([x, z, -y], 1), faces, process=True)
    made.fix_normals()
    return made


def turntable(shown: Tensor, frames: int = 24, side: int = 128) -> np.ndarray:
    """A field seen from around and a little from above, (frames, side, side, 3) of uint8."""
    depth, across = torch.linspace(-1.3, 1.3, 160), torch.linspace(-1.3, 1.3, side)
    v, u, w = torch.meshgrid(-across, across, depth, indexing="ij")  # up, right, away
    up, away = v * COS - w * SIN, v * SIN + w * COS
    tint, behind = torch.tensor([0.45, 0.6, 0.9]), torch.full((3,), 0.97)
    seen = []
    for turn in np.arange(frames) * 2 * math.pi / frames:
        cos, sin = math.cos(turn), math.sin(turn)
        places = torch.stack([away * sin + u * cos, away * cos - u * sin, up], -1)  # x, y, z
        values = functional.grid_sample(shown[None, None] + 1, places[None], align_corners=False)
        inside = values[0, 0] > 1  # outside of the grid values are 0
        far = depth[inside.float().argmax(-1)]
        down, right = torch.gradient(far, spacing=2.6 / side)
        light = (0.8 - 0.5 * down - 0.3 * right) / torch.sqrt(1 + down**2 + right**2)
        color = (0.35 + 0.65 * light).clamp(0.15, 1)[..., None] * tint
        frame = torch.where(inside.any(-1)[..., None], color, behind)
        seen.append((255 * frame).round().to(torch.uint8).numpy())
    return np.stack(seen)


def write(
    shown: Tensor, folder: Path, *, request: Mapping[str, Any], seconds: float
) -> trimesh.Trimesh:
    """Mesh, turntable and record of one field, (D, H, W), into a folder that holds none yet."""
    made = mesh(shown)
    folder.mkdir(parents=True, exist_ok=True)
    files = {role: folder / f"shape.{ending}" for role, ending in FILES.items()}
    write_mp4(Clip(turntable(shown), 12), files["video"], metadata=request)
    for role in ("gltf", "stl"):
        with atomic_path(files[role]) as path:
            made.export(path)
    write_record(
        folder / "shape.json",
        task="text_to_shape",
        request=request,
        outputs=files,
        seeds=request["seed"],
        model={"name": "shapes", "objective": "flow_matching"},
        timings={"draw": seconds},
        extra={"watertight": bool(made.is_watertight), "faces": len(made.faces)},
    )
    return made
