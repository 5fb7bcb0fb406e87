"""How far a restoration is likely to be off at each voxel, in the scan's own units.

The spread of samples says where they differ, not how wrong their mean is, and shows a mesh where
slices lie. So a small head, trained on what the mean of heads of training lacked, reads a
few smooth maps of the result and predicts the root mean square of its error. Everything that it
reads is averaged over one distance of slices, twice, so that no mesh is left.

Axes: D is the thick axis, H and W; intensities in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from core.operations.linear_operators import along_axis
from medical.files.volume import Volume

if TYPE_CHECKING:
    from medical.operations.problem import Problem

SHELF = "weights/error-maps"
FLOOR = 1e-3  # of what is read, before its logarithm is taken
SMOOTH = 1.5  # voxels of H and W
LEVELS = 255  # of a map between 0 and its largest value
HALO, ROWS = 6, 24  # of H: how much is worked on at a time
KEY = "trained_with"


@dataclass(frozen=True, eq=False)
class ErrorHead:
    """The head of one model.

    Attributes:
        weights: of its three layers, in order, with their offsets.
        low: least value of each thing read in training; lower ones are held there.
        high: the highest.
    """

    weights: tuple[tuple[Tensor, Tensor], ...]
    low: Tensor
    high: Tensor

    def __call__(self, read: Tensor) -> Tensor:
        """The error (..., ) predicted from what is read (..., features)."""
        x = torch.minimum(torch.maximum(read, self.low), self.high)
        x = (x - self.low) / (self.high - self.low) * 2 - 1
        for weight, offset in self.weights[:-1]:
            x = F.silu(F.linear(x, weight, offset))
        weight, offset = self.weights[-1]
        return F.linear(x, weight, offset)[..., 0].exp()


def shipped_head(record: dict[str, Any]) -> ErrorHead | None:
    """The head that was trained with a model; None where none was.

    Args:
        record: of the model.
    """
    return _shipped(str(record.get("sha256", {}).get("weights.safetensors", "")))


@lru_cache(maxsize=4)
def _shipped(digest: str) -> ErrorHead | None:
    spec = find_spec("medical")
    folder = Path(str(spec.origin if spec else "")).parent / SHELF
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(KEY) == digest:
                return head_of({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return None


def head_of(tensors: dict[str, Tensor]) -> ErrorHead:
    """The head that tensors hold."""
    count = sum(name.startswith("weight") for name in tensors)
    layers = [(tensors[f"weight{k}"].float(), tensors[f"offset{k}"].float()) for k in range(count)]
    return ErrorHead(tuple(layers), tensors["low"].float(), tensors["high"].float())


def predicted_error(problem: Problem, base: Tensor, result: Tensor, head: ErrorHead) -> Tensor:
    """The root mean square error to expect of each voxel, (D, H, W).

    Args:
        problem: the scan made ready.
        base: its back-projection.
        result: what was made of it.
        head: of the model that made it.
    """
    error = torch.empty_like(result)
    for start in range(0, result.shape[1], ROWS):
        stop = min(start + ROWS, result.shape[1])
        low, high = max(0, start - HALO), min(result.shape[1], stop + HALO)
        read = readings(problem, base[:, low:high], result[:, low:high])
        error[:, start:stop] = head(read[:, start - low : stop - low])
    return error


def readings(problem: Problem, base: Tensor, result: Tensor) -> Tensor:
    """What the head reads of each voxel, (D, H, W, features)."""
    grid = problem.acquired.axes[0]
    period = 1.0 if grid is None else grid.sampling.pitch_mm / grid.spacing_mm
    even = torch.from_numpy(_even(result.shape[0], period)).float()
    gradient = torch.gradient(result)
    maps = [
        result - base,
        gradient[0],
        (gradient[1].square() + gradient[2].square()).sqrt(),
        result.clamp(min=0.0),
    ]
    read = [(_smooth(x.square(), even).clamp(min=0.0).sqrt() + FLOOR).log() for x in maps]
    pitch = 1.0 if grid is None else grid.sampling.pitch_mm
    wide = 1.0 if grid is None else grid.sampling.thickness_mm / pitch
    plane = [1.0 if axis is None else axis.sampling.pitch_mm / axis.spacing_mm
             for axis in problem.acquired.axes[1:]]  # fmt: skip
    same = [pitch, wide, problem.noise_std + 2 * FLOOR, max(plane), problem.acquired.spacing_mm[0]]
    read += [torch.full_like(result, math.log(value)) for value in same]
    return torch.stack(read, dim=-1)


def compact(volume: Volume) -> Volume:
    """A map of what is never negative as whole numbers of small steps, for its file."""
    most = float(volume.data.max())
    step = most / LEVELS if most > 0 else 1.0
    header = replace(volume.header, dtype="uint8", slope=float(np.float32(step)))
    return replace(volume, header=header)


def _smooth(x: Tensor, even: Tensor) -> Tensor:
    """Averaged over two periods along D and a little in plane."""
    x = along_axis(x, even, 0)
    near = torch.arange(-4, 5)
    line = torch.exp(-0.5 * (near / SMOOTH) ** 2)
    line = (line / line.sum())[None, None]
    d, h, w = x.shape
    rows = F.conv1d(F.pad(x.reshape(d * h, 1, w), (4, 4), mode="replicate"), line)
    turned = rows.reshape(d, h, w).transpose(1, 2).reshape(d * w, 1, h)
    turned = F.conv1d(F.pad(turned, (4, 4), mode="replicate"), line)
    return turned.reshape(d, w, h).transpose(1, 2)


@lru_cache(maxsize=8)
def _even(size: int, period: float) -> NDArray[np.float64]:
    """A mean over a whole period, taken twice, along an axis: (size, size)."""
    apart = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :])
    box = np.clip(period / 2 + 0.5 - apart, 0.0, 1.0)
    box /= box.sum(axis=1, keepdims=True)
    return box @ box
