"""A small 3-D autoencoder: clips and volumes as few numbers of unit variance, and back.

Cells of voxels become channels at once, so that no layer works at full size (MONAI's
``AutoencoderKL`` begins and ends there, and halves every axis alike). The bottleneck standardizes
each channel over the data (Ioffe & Szegedy 2015) in place of a divergence that pulls it to a
normal: what a diffusion model is shown has unit variance as it is. Decoding is learned with a
little noise on the latents, as in Zheng et al. 2025 (RAE), since drawn ones are not exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from core.networks.blocks import GroupNorm, Merge, ResidualBlock, Split, pad
from core.networks.network import Network, keeps_settings
from core.networks.shapes import cells_of, check_shape, triple
from core.tensors import Regridded, Volumes


class Autoencoder(Network):
    """Volumes to latents and back.

    >>> import torch
    >>> coder = Autoencoder(1, 4, (16, 16), (1, 2, 2), ((2, 2, 2),)).eval()
    >>> latents = coder.encode(torch.randn(1, 1, 4, 8, 8))
    >>> latents.shape, coder.decode(latents).shape
    (torch.Size([1, 4, 2, 2, 2]), torch.Size([1, 1, 4, 8, 8]))

    Args:
        in_channels: C of clips or volumes.
        latent_channels: Of what they become.
        block_out_channels: Widths, finest level first.
        patch_size: Cell of D, H, W voxels that becomes one at the finest level.
        down_strides: Between the levels.
        kernel_size: Of the convolutions.
        trained_objective: ``"reconstruction"``.
    """

    @keeps_settings
    def __init__(  # noqa: PLR0917  the settings that config.json keeps
        self,
        in_channels: int = 1,
        latent_channels: int = 8,
        block_out_channels: Sequence[int] = (32, 64),
        patch_size: Sequence[int] = (2, 2, 2),
        down_strides: Sequence[Sequence[int]] = ((2, 2, 2),),
        kernel_size: Sequence[int] = (3, 3, 3),
        trained_objective: str = "reconstruction",
    ) -> None:
        super().__init__()
        widths, strides = tuple(block_out_channels), tuple(map(triple, down_strides))
        patch, kernel = triple(patch_size), triple(kernel_size)
        check_shape(widths, strides, kernel, "sample")
        *_, self.cell = cells_of(patch, strides)
        self.down = _Way(widths, kernel)
        self.up = _Way(widths, kernel)
        self.stem = Merge(in_channels, widths[0], patch)
        pairs = list(zip(pairwise(widths), strides, strict=True))
        self.merges = nn.ModuleList(Merge(fine, wide, stride) for (fine, wide), stride in pairs)
        self.to_latents = nn.Conv3d(widths[-1], latent_channels, 1)
        self.standardized = nn.BatchNorm3d(latent_channels, affine=False, momentum=0.02)
        self.from_latents = nn.Conv3d(latent_channels, widths[-1], 1)
        self.splits = nn.ModuleList(Split(wide, fine, stride) for (fine, wide), stride in pairs)
        self.norm_out = GroupNorm(min(16, widths[0] // 4), widths[0])
        self.head = Split(widths[0], in_channels, patch)

    def encode(self, x: Volumes) -> Regridded:
        """(B, C, D, H, W) -> (B, latent channels, D / cell, ...), sizes rounded up."""
        x = self.stem(pad(x.to(self.dtype), self.cell))
        for level, block in enumerate(self.down.blocks):
            x = block(x, self.down.plain(x))
            x = self.merges[level](x) if level < len(self.merges) else x
        return self.standardized(self.to_latents(x))

    def latent_shape(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(latent channels, D', H', W') of a volume (C, D, H, W)."""
        d, h, w = (-(-size // step) for size, step in zip(shape[1:], self.cell, strict=True))
        return self.config["latent_channels"], d, h, w

    def decode(self, z: Volumes) -> Regridded:
        """(B, latent channels, D, H, W) -> (B, C, D * cell, ...)."""
        x = self.from_latents(z.to(self.dtype))
        for level, block in reversed(list(enumerate(self.up.blocks))):
            x = block(x, self.up.plain(x))
            x = self.splits[level - 1](x) if level else x
        return self.head(F.silu(self.norm_out(x)))

    def forward(
        self,
        x: Volumes,
        noise: Regridded | None = None,
        r: Tensor | None = None,
        cond: object = None,
    ) -> Volumes:
        """What is left of a volume, (B, C, D, H, W); called as other networks are.

        Args:
            x: (B, C, D, H, W).
            noise: Added to the latents, of their shape; None for none.
            r: Not read.
            cond: Not read.
        """
        del r, cond
        z = self.encode(x)  # (B, latent channels, D', H', W')
        if noise is not None:
            z = z + noise.to(z.dtype)
        d, h, w = x.shape[2:]
        return self.decode(z)[:, :, :d, :h, :w].to(x.dtype)


class _Way(nn.Module):
    """One residual block a level, which nothing modulates."""

    def __init__(self, widths: tuple[int, ...], kernel: tuple[int, int, int]) -> None:
        super().__init__()
        made = [ResidualBlock(width, width, 1, kernel) for width in widths]
        self.all = nn.ModuleList(made)

    @property
    def blocks(self) -> list[ResidualBlock]:
        return cast("list[ResidualBlock]", list(self.all))

    @staticmethod
    def plain(x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 1)
