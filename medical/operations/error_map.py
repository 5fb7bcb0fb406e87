"""How far a restoration is likely to be off at each voxel, in the scan's own units.

The spread of samples says where they differ, not how wrong their mean is, and shows a mesh where
slices lie. So a small head, trained on what the mean of heads of training lacked, reads a
few smooth maps of the result and predicts the root mean square of its error. Everything that it
reads is averaged over one distance of slices, twice, so that no mesh is left.

Axes: D is the thick axis, H and W; intensities in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.arrays import Tensor, as_type, is_plain, like, namespace, slabs
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
MAPS = 4  # that are read of each voxel


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
        x = _held(read, self.low, self.high)
        (first, offset), *others = self.weights
        scale = 2 / (self.high - self.low)  # of what is read, to [-1, 1]
        x = _linear(x, first * scale, offset - first @ (self.low * scale + 1))
        for weight, offset in others:
            x = _linear(_silu(x), weight, offset)
        return namespace(x).exp(x[..., 0])

    def told(self, same: Tensor) -> ErrorHead:
        """The head for voxels of which the last things that are read are known.

        Args:
            same: what is read of each of them alike, (features,).
        """
        count = len(self.low) - len(same)
        low, high = self.low[count:], self.high[count:]
        x = (_held(same, low, high) - low) / (high - low) * 2 - 1
        (first, offset), *others = self.weights
        told = first[:, :count], offset + first[:, count:] @ x
        return ErrorHead((told, *others), self.low[:count], self.high[:count])


def _held(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    library = namespace(x)
    return library.minimum(library.maximum(x, low), high)


def _linear(x: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    if is_plain(x):
        return x @ weight.T + offset
    return namespace(x).nn.functional.linear(x, weight, offset)


def _silu(x: Tensor) -> Tensor:
    """In place where that is at hand."""
    if is_plain(x):
        return x / (1 + namespace(x).exp(-x))
    return namespace(x).nn.functional.silu(x, inplace=True)


def shipped_head(record: dict[str, Any]) -> ErrorHead | None:
    """The head that was trained with a model; None where none was.

    Args:
        record: of the model.
    """
    return _shipped(str(record.get("sha256", {}).get("weights.safetensors", "")))


@lru_cache(maxsize=4)
def _shipped(digest: str) -> ErrorHead | None:
    from safetensors import safe_open

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
    found = {name: as_type(values, "float32") for name, values in tensors.items()}
    layers = [(found[f"weight{k}"], found[f"offset{k}"]) for k in range(count)]
    return ErrorHead(tuple(layers), found["low"], found["high"])


def predicted_error(problem: Problem, base: Tensor, result: Tensor, head: ErrorHead) -> Tensor:
    """The root mean square error to expect of each voxel, (D, H, W).

    Args:
        problem: the scan made ready.
        base: its back-projection.
        result: what was made of it.
        head: of the model that made it.
    """
    error, head = namespace(result).empty_like(result), head.told(_of_all(problem))
    for start in range(0, result.shape[1], ROWS):
        stop = min(start + ROWS, result.shape[1])
        low, high = max(0, start - HALO), min(result.shape[1], stop + HALO)
        read = _of_each(problem, base[:, low:high], result[:, low:high])
        read = read[:, start - low : stop - low]
        for part in slabs(read):
            error[part, start:stop] = head(read[part])
    return error


def readings(problem: Problem, base: Tensor, result: Tensor) -> Tensor:
    """What the head reads of each voxel, (D, H, W, features)."""
    each, same = _of_each(problem, base, result), _of_all(problem)
    library = namespace(each)
    wide = library.broadcast_to(same, (*each.shape[:-1], len(same)))
    return library.concatenate([each, wide], -1)


def _of_each(problem: Problem, base: Tensor, result: Tensor) -> Tensor:
    """What is read of each voxel by itself, (D, H, W, features)."""
    grid = problem.acquired.axes[0]
    period = 1.0 if grid is None else grid.sampling.pitch_mm / grid.spacing_mm
    even = like(_even(result.shape[0], period).astype(np.float32), result)
    library = namespace(result)
    read = library.empty((*result.shape, MAPS), dtype=result.dtype)
    for place, x in enumerate(_maps(base, result)):
        smooth = library.sqrt(_smooth(library.square(x), even).clip(min=0.0))
        read[..., place] = library.log(smooth + FLOOR)
    return read


def _maps(base: Tensor, result: Tensor) -> Iterator[Tensor]:
    """One after the other, so that they do not take memory together."""
    library = namespace(result)
    yield result - base
    along, *plane = library.gradient(result)
    yield along
    yield library.sqrt(library.square(plane[0]) + library.square(plane[1]))
    yield result.clip(min=0.0)


def _of_all(problem: Problem) -> Tensor:
    """What is read of every voxel alike, (features,)."""
    grid = problem.acquired.axes[0]
    pitch = 1.0 if grid is None else grid.sampling.pitch_mm
    wide = 1.0 if grid is None else grid.sampling.thickness_mm / pitch
    plane = [1.0 if axis is None else axis.sampling.pitch_mm / axis.spacing_mm
             for axis in problem.acquired.axes[1:]]  # fmt: skip
    same = [pitch, wide, problem.noise_std + 2 * FLOOR, max(plane), problem.acquired.spacing_mm[0]]
    return like(np.log(np.array(same)).astype(np.float32), problem.measured)


def compact(volume: Volume) -> Volume:
    """A map of what is never negative as whole numbers of small steps, for its file."""
    most = float(volume.data.max())
    step = most / LEVELS if most > 0 else 1.0
    header = replace(volume.header, dtype="uint8", slope=float(np.float32(step)))
    return replace(volume, header=header)


def _smooth(x: Tensor, even: Tensor) -> Tensor:
    """Averaged over two periods along D and a little in plane."""
    x = along_axis(x, even, 0)
    for axis in (1, 2):
        x = along_axis(x, like(_near(x.shape[axis]).astype(np.float32), x), axis)
    return x


@lru_cache(maxsize=8)
def _near(size: int) -> NDArray[np.float64]:
    """A Gaussian mean along an axis whose ends go on as they are: (size, size)."""
    rows, near = np.arange(size)[:, None], np.arange(-4, 5)
    mean = np.zeros((size, size))
    np.add.at(mean, (rows, np.clip(rows + near, 0, size - 1)), np.exp(-0.5 * (near / SMOOTH) ** 2))
    return mean / mean.sum(axis=1, keepdims=True)


@lru_cache(maxsize=8)
def _even(size: int, period: float) -> NDArray[np.float64]:
    """A mean over a whole period, taken twice, along an axis: (size, size)."""
    apart = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :])
    box = np.clip(period / 2 + 0.5 - apart, 0.0, 1.0)
    box /= box.sum(axis=1, keepdims=True)
    return box @ box
