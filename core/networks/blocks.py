"""The building blocks of the network, on channels-last volumes.

Activations are kept in ``torch.channels_last_3d``, that is B, D, H, W, C in memory. Folding
frames into the batch, and reading voxels as tokens, are then views: nothing is copied.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from core.networks.attention import Attention, FeedForward
from core.networks.embeddings import Places
from core.networks.shapes import check_grain
from core.tensors import Features, Regridded, Triple, Volumes


def fold(x: Tensor) -> Tensor:
    """Frames into the batch: (B, C, D, H, W) -> (B * D, C, H, W), a view."""
    return x.transpose(1, 2).flatten(0, 1)


def unfold(x: Tensor, batch: int) -> Tensor:
    """Frames out of the batch: (B * D, C, H, W) -> (B, C, D, H, W), a view."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, D, H, W) -> (B, D, H, W, C), a view."""
    return x.permute(0, 2, 3, 4, 1)


def from_tokens(x: Tensor) -> Tensor:
    """(B, D, H, W, C) -> (B, C, D, H, W), a view."""
    return x.permute(0, 4, 1, 2, 3)


def pad(x: Volumes, cell: Triple) -> Regridded:
    """Grow D, H, W to multiples of ``cell`` by repeating the last plane."""
    after = [-size % step for size, step in zip(x.shape[2:], cell, strict=True)]
    if not any(after):
        return x
    d, h, w = after
    return F.pad(x, (0, w, 0, h, 0, d), mode="replicate")


class GroupNorm(nn.GroupNorm):
    """torch's, except where its backward is slow: narrow groups, channels last, on a CPU.

    There it works channel by channel, two to three times slower than these plain products.

    >>> GroupNorm(2, 8)(torch.randn(1, 8, 2, 4, 4)).mean().abs().item() < 1e-6
    True
    """

    def forward(self, input: Volumes) -> Volumes:  # noqa: A002  torch's name for it
        """(B, C, D, H, W) -> (B, C, D, H, W)."""
        x = input
        narrow = self.num_channels < 16 * self.num_groups
        if not (narrow and x.device.type == "cpu" and torch.is_grad_enabled()):
            return super().forward(x)
        tokens = to_tokens(x).flatten(1, 3)  # (B, D * H * W, C)
        exact = torch.promote_types(x.dtype, torch.float32)
        moments = (tokens.sum(1, dtype=exact), tokens.square().sum(1, dtype=exact))  # (B, C)
        mean, square = (m.unflatten(1, (self.num_groups, -1)).mean(2) for m in moments)
        mean, square = mean / tokens.shape[1], square / tokens.shape[1]  # (B, groups)
        deviation = (square - mean.square()).clamp_min(0).add(self.eps).sqrt()
        members = self.num_channels // self.num_groups
        mean, deviation = (m.repeat_interleave(members, dim=1) for m in (mean, deviation))
        scale = self.weight / deviation  # (B, C)
        shift = self.bias - mean * scale
        scale, shift = (m[:, None].to(x.dtype) for m in (scale, shift))
        y = torch.addcmul(shift, tokens, scale).unflatten(1, x.shape[2:])  # (B, D, H, W, C)
        return from_tokens(y)


class DepthConv(nn.Module):
    """Convolution along D alone, (kd, 1, 1), starting at zero.

    Computed in two dimensions, D and H * W, where torch's CPU kernels are fast: those for
    (3, 1, 1) fall back to an unoptimized one in float32.

    >>> DepthConv(8, kernel=3)(torch.randn(1, 8, 5, 4, 4)).shape
    torch.Size([1, 8, 5, 4, 4])
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.mix = nn.Linear(kernel * channels, channels)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Volumes) -> Volumes:
        """(B, C, D, H, W) -> (B, C, D, H, W), zeros beyond the ends."""
        weight = self.mix.weight.unflatten(1, (self.kernel, -1)).transpose(1, 2)  # (C, C, kernel)
        reach = (self.kernel // 2, 0)
        flat = to_tokens(x).flatten(2, 3).movedim(-1, 1)  # (B, C, D, H * W), channels last
        y = F.conv2d(flat, weight[..., None], self.mix.bias, padding=reach)  # (B, C, D, H * W)
        return y.unflatten(3, x.shape[3:])


class ResidualBlock(nn.Module):
    """Two folded 2-D convolutions, one (kd, 1, 1), and AdaGN between them.

    AdaGN: Dhariwal & Nichol 2021, Section 3. Group statistics run over D, H and W of one sample.

    >>> block = ResidualBlock(8, 16, 4, kernel=(3, 3, 3))
    >>> block(torch.randn(1, 8, 2, 4, 4), torch.randn(1, 4)).shape
    torch.Size([1, 16, 2, 4, 4])
    """

    def __init__(
        self, channels: int, out_channels: int, emb_channels: int, kernel: Triple
    ) -> None:
        super().__init__()
        depth, height, width = kernel
        plane, same = (height, width), (height // 2, width // 2)
        self.norm1 = GroupNorm(min(16, channels // 4), channels)
        self.conv1 = nn.Conv2d(channels, out_channels, plane, padding=same)
        self.modulation = nn.Linear(emb_channels, 2 * out_channels)
        self.norm2 = GroupNorm(min(16, out_channels // 4), out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, plane, padding=same)
        self.norm3 = GroupNorm(min(16, out_channels // 4), out_channels)
        self.depth = DepthConv(out_channels, depth)
        same_width = channels == out_channels
        self.skip = nn.Identity() if same_width else nn.Conv2d(channels, out_channels, 1)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Volumes, emb: Tensor) -> Features:
        """(B, C, D, H, W), (B, emb) -> (B, C', D, H, W)."""
        batch = x.shape[0]
        scale, shift = self.modulation(emb)[:, :, None, None, None].chunk(2, dim=1)
        h = unfold(self.conv1(fold(F.silu(self.norm1(x)))), batch)  # (B, C', D, H, W)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)  # (B, C', D, H, W)
        h = unfold(self.conv2(fold(F.silu(h))), batch)
        if x.shape[2] > 1:  # a single frame or slice has no neighbors along D
            h = h + self.depth(F.silu(self.norm3(h)))
        return unfold(self.skip(fold(x)), batch) + h


class AttentionStage(nn.Module):
    """Attention in space, over the text, and along D, then one feed-forward.

    >>> stage = AttentionStage(8, text_channels=0, head_dim=8, spatial=False, joint=False)
    >>> places = Places(torch.zeros(1, 2, 4), height=4, width=4)
    >>> stage(torch.randn(1, 8, 2, 4, 4), None, None, places).shape
    torch.Size([1, 8, 2, 4, 4])

    Args:
        channels: C.
        text_channels: Width of the text states; 0 leaves the text out.
        head_dim: Width of one head.
        spatial: Whether voxels of one frame attend to each other.
        joint: Whether they attend to those of all frames instead, with rotary positions along
            D, H and W: what moves is then followed in one step.
    """

    def __init__(
        self, channels: int, *, text_channels: int, head_dim: int, spatial: bool, joint: bool
    ) -> None:
        super().__init__()
        self.joint = joint
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(4))
        self.spatial = Attention(channels, head_dim=head_dim) if spatial else None
        self.text = (
            Attention(channels, context_channels=text_channels, head_dim=head_dim)
            if text_channels
            else None
        )
        self.axis = Attention(channels, head_dim=head_dim)
        self.feed = FeedForward(channels)

    def forward(
        self,
        x: Volumes,
        keys_values: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        places: Places,
    ) -> Volumes:
        """(B, C, D, H, W) -> (B, C, D, H, W)."""
        b, _, d, h, _ = x.shape
        x = to_tokens(x)  # (B, D, H, W, C)
        if self.spatial is not None:
            x = x + self._attend_in_space(self.norms[0](x), places)
        if self.text is not None and keys_values is not None:
            tokens = rearrange(self.norms[1](x), "b d h w c -> b (d h w) c")
            answer = self.text(tokens, keys_values, mask)  # (B, D * H * W, C)
            x = x + rearrange(answer, "b (d h w) c -> b d h w c", d=d, h=h)
        if d > 1:
            tokens = rearrange(self.norms[2](x), "b d h w c -> (b h w) d c")
            tokens = tokens.contiguous()  # else torch copies the weights, once for every row
            answer = self.axis(tokens, turns=places.axis)  # (B * H * W, D, C)
            x = x + rearrange(answer, "(b h w) d c -> b d h w c", b=b, h=h)
        x = x + self.feed(self.norms[3](x))
        return from_tokens(x)  # (B, C, D, H, W)

    def _attend_in_space(self, x: Tensor, places: Places) -> Tensor:
        """(B, D, H, W, C) -> (B, D, H, W, C), frame by frame or over all frames at once."""
        assert self.spatial is not None
        b, d, h, _, _ = x.shape
        if not self.joint:
            answer = self.spatial(rearrange(x, "b d h w c -> (b d) (h w) c"))
            return rearrange(answer, "(b d) (h w) c -> b d h w c", b=b, h=h)
        tokens = rearrange(x, "b d h w c -> b (d h w) c")
        answer = self.spatial(tokens, turns=places.grid)
        return rearrange(answer, "b (d h w) c -> b d h w c", d=d, h=h)


class Merge(nn.Module):
    """Downsampling: each stride-shaped cell becomes one voxel through a matrix.

    >>> Merge(3, 8, (1, 2, 2))(torch.randn(1, 3, 4, 6, 6)).shape
    torch.Size([1, 8, 4, 3, 3])
    """

    def __init__(self, channels: int, out_channels: int, stride: Triple) -> None:
        super().__init__()
        self.stride = stride
        self.mix = nn.Linear(channels * stride[0] * stride[1] * stride[2], out_channels)

    def forward(self, x: Volumes) -> Regridded:
        """(B, C, D, H, W) -> (B, C', D / sd, H / sh, W / sw)."""
        p, q, r = self.stride
        cells = rearrange(x, "b c (d p) (h q) (w r) -> b d h w (p q r c)", p=p, q=q, r=r)
        return from_tokens(self.mix(cells))  # (B, C', D / sd, H / sh, W / sw)


class SketchStem(Merge):
    """The stem of a sketch, which shows nothing of it at first.

    >>> SketchStem(2, 8, patch=(1, 4, 4), grain=(1, 4, 4))(torch.randn(1, 2, 4, 4, 4)).abs().sum()
    tensor(0., grad_fn=<SumBackward0>)

    Args:
        channels: Of the sketch.
        out_channels: Of the network behind it.
        patch: Cell of D, H, W voxels of the sample that its own stem turns into one.
        grain: Voxels of the sample that one voxel of the sketch stands for.
    """

    def __init__(self, channels: int, out_channels: int, patch: Triple, grain: Triple) -> None:
        check_grain(patch, grain)
        depth, height, width = (step // size for step, size in zip(patch, grain, strict=True))
        super().__init__(channels, 2 * out_channels, (depth, height, width))
        self.out = nn.Linear(2 * out_channels, out_channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Volumes) -> Regridded:
        """(B, C, D, H, W) of the sketch -> (B, C', D', H', W') beside the sample's own stem."""
        return from_tokens(self.out(F.silu(to_tokens(super().forward(x)))))


class Split(nn.Module):
    """Upsampling: the mirror of ``Merge``.

    >>> Split(8, 3, (1, 2, 2))(torch.randn(1, 8, 4, 3, 3)).shape
    torch.Size([1, 3, 4, 6, 6])
    """

    def __init__(self, channels: int, out_channels: int, stride: Triple) -> None:
        super().__init__()
        self.stride = stride
        self.mix = nn.Linear(channels, out_channels * stride[0] * stride[1] * stride[2])

    def forward(self, x: Volumes) -> Regridded:
        """(B, C, D, H, W) -> (B, C', D * sd, H * sh, W * sw)."""
        p, q, r = self.stride
        cells = self.mix(to_tokens(x))  # (B, D, H, W, C' * sd * sh * sw)
        return from_tokens(
            rearrange(cells, "b d h w (p q r c) -> b (d p) (h q) (w r) c", p=p, q=q, r=r)
        )


class SpatioTemporalBlock(nn.Module):
    """One residual block and, where the level has it, one attention stage.

    >>> block = SpatioTemporalBlock(ResidualBlock(8, 8, 4, kernel=(3, 3, 3)), None)
    >>> places = Places(torch.zeros(1, 2, 4), height=4, width=4)
    >>> block(torch.randn(1, 8, 2, 4, 4), torch.randn(1, 4), None, None, places).shape
    torch.Size([1, 8, 2, 4, 4])
    """

    def __init__(self, residual: ResidualBlock, attention: AttentionStage | None) -> None:
        super().__init__()
        self.residual, self.attention = residual, attention

    def forward(
        self,
        x: Volumes,
        emb: Tensor,
        keys_values: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        places: Places,
    ) -> Features:
        """(B, C, D, H, W) -> (B, C', D, H, W)."""
        x = self.residual(x, emb)  # (B, C', D, H, W)
        return x if self.attention is None else self.attention(x, keys_values, mask, places)
