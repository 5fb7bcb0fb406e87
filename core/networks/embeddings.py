"""Numbers as vectors: noise levels, physical lengths, and positions along D."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

Turns: TypeAlias = tuple[Tensor, Tensor]
"""Cosines and signed sines of rotary positions; see ``turns_by``."""


def fourier(values: Tensor, width: int, *, low: float, high: float) -> Tensor:
    """Sines and cosines of ``values`` at log-spaced angular frequencies, (...,) -> (..., width).

    ``high`` stays small (about 50) for noise levels: the average-velocity objective
    differentiates through this embedding, and fast waves make that derivative explode.
    """
    exponents = torch.linspace(0, 1, width // 2, device=values.device, dtype=torch.float32)
    angles = values.float()[..., None] * (low * (high / low) ** exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class NumberEmbedding(nn.Module):
    """A two-layer network over the Fourier features of one number per sample.

    >>> NumberEmbedding(8, low=0.01, high=1.0)(torch.tensor([0.2, 0.9])).shape
    torch.Size([2, 8])
    """

    def __init__(self, width: int, *, features: int = 64, low: float, high: float) -> None:
        super().__init__()
        self.features, self.low, self.high = features, low, high
        self.layers = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, values: Tensor) -> Tensor:
        """(B,) or (B, N) -> (B, width): the N embeddings are summed features side by side."""
        waves = fourier(values, self.features, low=self.low, high=self.high)  # (B, features)
        return self.layers(waves.to(next(self.layers.parameters()).dtype))


class SpacingEmbedding(nn.Module):
    """The grid spacing and the acquired resolution along D, H, W, as logarithms.

    >>> spacing = torch.tensor([[4.0, 1.0, 1.0]])
    >>> SpacingEmbedding(8)(spacing, spacing).shape
    torch.Size([1, 8])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, width))

    def forward(self, spacing: Tensor, resolution: Tensor) -> Tensor:
        """(B, 3), (B, 3) -> (B, width)."""
        both = torch.cat([spacing, resolution], dim=1).float().clamp_min(1e-6).log()  # (B, 6)
        return self.layers(both.to(next(self.layers.parameters()).dtype))


def rotary_angles(positions: Tensor, head_dim: int, *, periods: tuple[float, float]) -> Tensor:
    """Rotation angles for positions in physical units, (B, D) -> (B, D, head_dim / 2).

    Args:
        positions: Seconds or millimeters along D.
        head_dim: Width of one attention head; even.
        periods: Shortest and longest wave, in the unit of ``positions``.

    Source: Su et al. 2021 (RoPE), with wavelengths in physical units instead of indices.
    """
    short, long = periods
    exponents = torch.linspace(0, 1, head_dim // 2, device=positions.device)
    frequencies = 2 * math.pi / (short * (long / short) ** exponents)
    return positions.float()[..., None] * frequencies


def grid_angles(angles: Tensor, height: int, width: int) -> Tensor:
    """Rotation angles of a whole grid, (N, D, P) -> (N, D * H * W, P).

    Half of the channel pairs turn along D, a quarter along H and a quarter along W.

    Args:
        angles: Of the positions along D; every second frequency is kept.
        height: Cells along H, counted from 0.
        width: Cells along W.
    """
    n, depth, pairs = angles.shape
    along_d = angles[..., ::2]
    rest = pairs - along_d.shape[-1]
    rows, columns = (
        rotary_angles(
            torch.arange(length, device=angles.device)[None], 2 * count, periods=(4.0, 64.0)
        )
        for length, count in ((height, rest // 2), (width, rest - rest // 2))
    )
    shape = (n, depth, height, width, -1)
    parts = (along_d[:, :, None, None], rows[:, None, :, None], columns[:, None, None])
    return torch.cat([part.expand(shape) for part in parts], dim=-1).flatten(1, 3)


def turns_by(angles: Tensor) -> Turns:
    """Cosines and signed sines of (N, S, P) angles, each (N, S, 1, 2 P): all ``rotate`` needs."""
    cos, sin = angles.cos()[..., None, :], angles.sin()[..., None, :]
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x: Tensor, turns: Turns) -> Tensor:
    """Turn the channel pairs (i, i + head_dim / 2) of (N, S, heads, head_dim).

    Each of the rows of ``turns`` serves as many consecutive rows of ``x``.
    """
    cos, sin = (wave[:, None].to(x.dtype) for wave in turns)
    x = x.unflatten(0, (len(cos), -1))
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin).flatten(0, 1)


class Places:
    """Where the cells of one level are, as rotations; each computed once, when first used.

    >>> places = Places(torch.zeros(1, 3, 4), height=2, width=2)
    >>> places.height * places.width
    4

    Args:
        angles: (B or 1, D, head_dim / 2) of the positions along D.
        height: Cells along H.
        width: Cells along W.
    """

    def __init__(self, angles: Tensor, height: int, width: int) -> None:
        self.angles, self.height, self.width = angles, height, width
        self._axis: Turns | None = None  # no cached_property: its lock cuts a compiled graph
        self._grid: Turns | None = None

    @property
    def axis(self) -> Turns:
        """Along D."""
        if self._axis is None:
            self._axis = turns_by(self.angles)
        return self._axis

    @property
    def grid(self) -> Turns:
        """Along D, H and W, of all D * H * W cells."""
        if self._grid is None:
            self._grid = turns_by(grid_angles(self.angles, self.height, self.width))
        return self._grid


def places_of(
    cell: Sequence[int],
    size: Sequence[int],
    spacing: Tensor,
    head_dim: int,
    *,
    periods: tuple[float, float],
) -> Places:
    """Places of the cells of one level: cell centers along D, in physical units.

    Args:
        cell: Voxels along D, H, W of a cell.
        size: Voxels of the whole grid.
        spacing: (B or 1, 3) of the grid, in seconds or millimeters.
        head_dim: Width of one attention head.
        periods: Shortest and longest wave along D.
    """
    d, h, w = (n // step for n, step in zip(size, cell, strict=True))
    index = torch.arange(d, device=spacing.device) + 0.5
    positions = index[None] * cell[0] * spacing[:, :1]
    return Places(rotary_angles(positions, head_dim, periods=periods), h, w)
