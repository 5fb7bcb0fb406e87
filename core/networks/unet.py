"""The one network: a spatiotemporal 3-D U-Net for clips and volumes.

Axes: B batch, C channels, D depth (frames or slices), H, W. Noise levels t and r lie on the
linear path z = (1 - t) x + t e; the network answers with the average velocity from t to r.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.conditioning import Conditioning
from core.networks.attention import use_backend
from core.networks.blocks import (
    AttentionStage,
    GroupNorm,
    Merge,
    ResidualBlock,
    SketchStem,
    SpatioTemporalBlock,
    Split,
    from_tokens,
    pad,
    to_tokens,
)
from core.networks.embeddings import NumberEmbedding, Places, SpacingEmbedding, places_of
from core.networks.network import Network, keeps_settings
from core.networks.shapes import cells_of, check_shape, triple
from core.networks.text_memory import TextMemory, with_null
from core.tensors import Features, Triple, Volumes, align

LEAST_LEVEL = 0.05
"""Below it a predicted sample is no longer divided by the level, which would amplify rounding."""


class SpatioTemporalUNet(Network):
    """Average velocity u(z, t, r) of clips and volumes; Geng et al. 2025 (MeanFlow), Eq. 3.

    >>> network = SpatioTemporalUNet(block_out_channels=(8, 16), down_strides=((1, 2, 2),))
    >>> network(torch.randn(1, 3, 4, 8, 8), torch.tensor([0.5]), torch.tensor([0.5])).shape
    torch.Size([1, 3, 4, 8, 8])

    Args:
        in_channels: Channels of the sample.
        concat_channels: Channels laid beside it (``Conditioning.concat``), mask included.
        block_out_channels: Width of each level, finest first.
        layers_per_block: Blocks per level on the way down, and again on the way up.
        patch_size: Cell of D, H, W voxels that the stem turns into one.
        down_strides: Stride along D, H, W between levels; one fewer than levels.
        kernel_size: Kernel of the blocks along D, H, W.
        attention_levels: Which levels attend along D, over the text, and feed forward.
        spatial_attention_levels: Which of those attend inside each frame too.
        joint_attention: Let those attend to all frames at once.
        text_channels: Width of the text states; 0 for a network without text.
        num_labels: Classes of ``Conditioning.label``; 0 for none.
        head_dim: Width of one attention head.
        rope_periods: Shortest and longest rotary wave along D, in the unit of ``spacing``.
        default_spacing: Spacing assumed where the conditioning gives none.
        prediction: Of the last layer: ``"velocity"``, or ``"sample"``, from which (z - x) / t
            follows; through wide patches noise cannot pass (Li & He 2025, "Back to basics").
        trained_objective: ``"flow_matching"``, or ``"average_velocity"``, which knows landings.
        sketch_channels: Channels of ``Conditioning.sketch``; 0 for a network that is shown none.
        sketch_grain: Voxels along D, H, W that one voxel of a sketch stands for.
        layout_network: Settings of a small one, ``layouts``, that draws what sketches show.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("SpatioTemporalBlock",)
    _repeated_blocks = ("SpatioTemporalBlock",)
    _skip_layerwise_casting_patterns = ("embedding", "norm")

    @keeps_settings
    def __init__(  # noqa: PLR0913, PLR0917  the settings diffusers keeps in config.json
        self,
        in_channels: int = 3,
        concat_channels: int = 0,
        block_out_channels: Sequence[int] = (64, 128, 256),
        layers_per_block: int = 2,
        patch_size: Sequence[int] = (1, 1, 1),
        down_strides: Sequence[Sequence[int]] = ((1, 2, 2), (1, 2, 2)),
        kernel_size: Sequence[int] = (3, 3, 3),
        attention_levels: Sequence[bool] = (False, True, True),
        spatial_attention_levels: Sequence[bool] = (False, True, True),
        joint_attention: bool = False,
        text_channels: int = 0,
        num_labels: int = 0,
        head_dim: int = 64,
        rope_periods: Sequence[float] = (0.25, 8.0),
        default_spacing: Sequence[float] = (1.0, 1.0, 1.0),
        prediction: str = "velocity",
        trained_objective: str = "flow_matching",
        sketch_channels: int = 0,
        sketch_grain: Sequence[int] = (1, 4, 4),
        layout_network: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        widths, strides = tuple(block_out_channels), tuple(map(triple, down_strides))
        check_shape(widths, strides, triple(kernel_size), prediction)
        self.patch, self.strides = triple(patch_size), strides
        *_, self.cell = self.cells = cells_of(self.patch, strides)
        emb = 4 * widths[0]
        self._build_embeddings(emb)
        self.stem = Merge(in_channels + concat_channels, widths[0], self.patch)

        def block(level: int, channels: int) -> SpatioTemporalBlock:
            residual = ResidualBlock(channels, widths[level], emb, triple(kernel_size))
            if not attention_levels[level]:
                return SpatioTemporalBlock(residual, None)
            stage = AttentionStage(
                widths[level],
                text_channels=text_channels,
                head_dim=head_dim,
                spatial=spatial_attention_levels[level],
                joint=joint_attention,
            )
            return SpatioTemporalBlock(residual, stage)

        self._build_blocks(widths, strides, layers_per_block, block)
        stages = [m for m in self.modules() if isinstance(m, AttentionStage)]
        self._readers = tuple(stage.text for stage in stages if stage.text is not None)
        self.norm_out = GroupNorm(min(16, widths[0] // 4), widths[0])
        self.head = Split(widths[0], in_channels, self.patch)
        nn.init.zeros_(self.head.mix.weight)
        nn.init.zeros_(self.head.mix.bias)
        shown = sketch_channels, widths[0], self.patch, triple(sketch_grain)
        self.sketch = SketchStem(*shown) if sketch_channels else None
        self.layouts = SpatioTemporalUNet(**layout_network) if layout_network else None

    def _build_blocks(
        self,
        widths: tuple[int, ...],
        strides: tuple[Triple, ...],
        layers: int,
        block: Callable[[int, int], SpatioTemporalBlock],
    ) -> None:
        """The way down, the middle and the way up; ``block`` takes a level and its channels."""
        last = len(widths) - 1
        self.down_blocks = nn.ModuleList(
            nn.ModuleList(block(level, widths[level]) for _ in range(layers))
            for level in range(last)
        )
        self.merges = nn.ModuleList(
            Merge(widths[i], widths[i + 1], strides[i]) for i in range(last)
        )
        self.mid_block = nn.ModuleList(block(last, widths[last]) for _ in range(layers))
        self.splits = nn.ModuleList(
            Split(widths[i + 1], widths[i], strides[i]) for i in reversed(range(last))
        )
        self.up_blocks = nn.ModuleList(
            nn.ModuleList(block(level, 2 * widths[level]) for _ in range(layers))
            for level in reversed(range(last))
        )

    def _build_embeddings(self, emb: int) -> None:
        """The vectors that modulate every block, and the learned absence of a prompt."""
        text, labels = self.config["text_channels"], self.config["num_labels"]
        self.level_embedding = NumberEmbedding(emb, low=0.5, high=50.0)
        self.step_embedding = NumberEmbedding(emb, low=0.5, high=50.0)
        self.guidance_embedding = NumberEmbedding(emb, low=0.5, high=10.0)
        self.spacing_embedding = SpacingEmbedding(emb)
        self.label_embedding = nn.Embedding(labels + 1, emb) if labels else None
        self.text_embedding = (
            nn.Sequential(nn.LayerNorm(text), nn.Linear(text, emb)) if text else None
        )
        self.null_token = nn.Parameter(torch.zeros(1, 1, text)) if text else None
        for embedding in (self.guidance_embedding, self.spacing_embedding):
            nn.init.zeros_(embedding.layers.get_parameter("2.weight"))

    def set_attention_backend(self, backend: str) -> None:
        """Choose a diffusers attention backend for this network alone.

        diffusers' own setter also flips a default of the process, for all models of a worker.

        Args:
            backend: A diffusers backend name such as ``"native"`` or ``"xformers"``.
        """
        use_backend(self, backend)

    def read(self, cond: Conditioning, batch: int) -> TextMemory | None:
        """Keys, values and pooled meaning of the prompt; rows without a token get the null."""
        if self.null_token is None or self.text_embedding is None:
            return None
        null = self.null_token
        if cond.tokens is None:
            tokens, mask = null.expand(batch, -1, -1), None
            pooled = null[:, 0].expand(batch, -1)
        else:
            tokens, real = with_null(cond.tokens, cond.token_mask, null)
            mask = None if cond.token_mask is None else real[:, None, None, :]
            weights = real.to(null.dtype)[..., None]
            pooled = (tokens * weights).sum(1) / weights.sum(1)
        pairs = tuple(text.keys_and_values(tokens) for text in self._readers)
        return TextMemory(pairs, mask, self.text_embedding(pooled))

    def _embed(
        self, t: Tensor, r: Tensor, cond: Conditioning, memory: TextMemory | None, batch: int
    ) -> Tensor:
        """All that modulates the blocks, as one vector per sample: (B, emb)."""
        spacing = self._spacing(cond)
        resolution = cond.resolution if cond.resolution is not None else spacing
        both = spacing.expand(batch, 3), resolution.expand(batch, 3)
        emb = self.level_embedding(t) + self.step_embedding(t - r) + self.spacing_embedding(*both)
        if cond.guidance is not None:
            emb = emb + self.guidance_embedding(cond.guidance.expand(batch).log())
        if self.label_embedding is not None:
            none = torch.full((batch,), self.config["num_labels"], device=t.device)
            emb = emb + self.label_embedding(cond.label if cond.label is not None else none)
        if memory is not None:
            emb = emb + memory.pooled
        return F.silu(emb)

    def _spacing(self, cond: Conditioning) -> Tensor:
        """(B or 1, 3) grid spacing along D, H, W."""
        if cond.spacing is not None:
            return cond.spacing
        return self.stem.mix.weight.new_tensor([self.config["default_spacing"]]).float()

    def _places(self, spacing: Tensor, size: Sequence[int]) -> list[Places]:
        """Rotary positions of every level: cell centers along D, in physical units."""
        widths, head_dim = self.config["block_out_channels"], self.config["head_dim"]
        heads = [width // max(1, width // head_dim) for width in widths]
        waves = tuple(self.config["rope_periods"])
        pairs = zip(self.cells, heads, strict=True)
        return [places_of(cell, size, spacing, head, periods=waves) for cell, head in pairs]

    def forward(
        self,
        z: Volumes,
        t: Tensor,
        r: Tensor | None = None,
        cond: Conditioning | None = None,
        memory: TextMemory | None = None,
    ) -> Volumes:
        """Average velocity from level ``t`` down to ``r``; instantaneous where r equals t.

        Args:
            z: (B, C, D, H, W) noisy sample, any size; padded and cropped inside.
            t: () or (B,) noise level in [0, 1].
            r: () or (B,) level the step lands on; ``None`` means ``t``.
            cond: What the sample should show.
            memory: ``read(cond)``, when the caller keeps it over many steps.
        """
        cond = cond or Conditioning()
        batch, _, *size = z.shape
        t = t.expand(batch) if t.ndim else t.repeat(batch)
        r = t if r is None else (r.expand(batch) if r.ndim else r.repeat(batch))
        if memory is None:
            memory = self.read(cond, batch)
        emb = self._embed(t, r, cond, memory, batch)  # (B, emb)
        x = z if cond.concat is None else torch.cat([z, cond.concat.to(z.dtype)], dim=1)
        x = pad(x.to(self.stem.mix.weight.dtype), self.cell)  # (B, C + Cc, ...) of whole cells
        places = self._places(self._spacing(cond), x.shape[2:])
        x = self.stem(x)  # (B, width, D / pd, H / ph, W / pw)
        if self.sketch is not None and cond.sketch is not None:
            x = x + self.sketch(cond.sketch.to(x.dtype))
        x = self._walk(x, emb, memory, places)
        x = self.head(F.silu(self.norm_out(x)))  # (B, C, D', H', W')
        answer = x[:, :, : size[0], : size[1], : size[2]].to(z.dtype)  # (B, C, D, H, W)
        if self.config["prediction"] == "sample":
            return (z - answer) / align(t.clamp_min(LEAST_LEVEL), z)
        return answer

    def _walk(
        self, x: Volumes, emb: Tensor, memory: TextMemory | None, places: list[Places]
    ) -> Volumes:
        """Down, through the middle, and up again, with one skip per block."""
        pairs = iter(memory.keys_values if memory is not None else ())
        mask = None if memory is None else memory.mask

        def run(block: SpatioTemporalBlock, x: Volumes, level: int) -> Features:
            reads = block.attention is not None and block.attention.text is not None
            pair = next(pairs) if reads else None
            return self.run(block, x, emb, pair, mask, places[level])

        skips = []
        down = cast("list[list[SpatioTemporalBlock]]", self.down_blocks)
        up = cast("list[list[SpatioTemporalBlock]]", self.up_blocks)
        for level, blocks in enumerate(down):
            for block in blocks:
                x = run(block, x, level)
                skips.append(x)
            x = self.merges[level](x)
        for block in cast("list[SpatioTemporalBlock]", self.mid_block):
            x = run(block, x, len(self.strides))
        levels = reversed(range(len(self.strides)))
        for level, split, blocks in zip(levels, self.splits, up, strict=True):
            x = split(x)
            for block in blocks:
                joined = torch.cat([to_tokens(x), to_tokens(skips.pop())], dim=-1)
                x = run(block, from_tokens(joined), level)
        return x
