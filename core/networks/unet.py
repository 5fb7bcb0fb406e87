"""The spatiotemporal 3-D U-Net that draws clips and volumes; axes as in ``conditioned``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.conditioning import Conditioning
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
from core.networks.conditioned import ConditionedNetwork
from core.networks.control import ControlBranch
from core.networks.embeddings import Places
from core.networks.network import keeps_settings
from core.networks.reference import ReferenceAdapter
from core.networks.shapes import cells_of, check_shape, triple
from core.networks.text_memory import TextMemory
from core.tensors import Features, Regridded, Triple, Volumes


class SpatioTemporalUNet(ConditionedNetwork):
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
        input_scaling: Of the noisy sample: ``"none"``, or ``"wiener"``, by which it enters as the
            best linear guess of the data, and pure noise as 0.
        trained_objective: ``"flow_matching"``, or ``"average_velocity"``, which knows landings.
        sketch_channels: Channels of ``Conditioning.sketch``; 0 for a network that is shown none.
        sketch_grain: Voxels along D, H, W that one voxel of a sketch stands for.
        layout_network: Settings of a small one, ``layouts``, that draws what sketches show.
        given_channels: Channels of a sample of which a part is given, its mask last; they come in
            ``Conditioning.concat``, may be missing, and show nothing at first. 0 for none.
    """

    _no_split_modules = ("SpatioTemporalBlock",)
    _repeated_blocks = ("SpatioTemporalBlock",)

    control: ControlBranch | None
    """What is told where things are; of a network that was given one."""
    given: Merge | None
    reference: ReferenceAdapter | None
    """What is shown whose look is taken over; of a network that was given one."""

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
        input_scaling: str = "none",
        trained_objective: str = "flow_matching",
        sketch_channels: int = 0,
        sketch_grain: Sequence[int] = (1, 4, 4),
        layout_network: dict[str, Any] | None = None,
        given_channels: int = 0,
    ) -> None:
        super().__init__()
        widths, strides = tuple(block_out_channels), tuple(map(triple, down_strides))
        check_shape(widths, strides, triple(kernel_size), prediction, input_scaling)
        self.patch, self.strides = triple(patch_size), strides
        *_, self.cell = self.cells = cells_of(self.patch, strides)
        emb = 4 * widths[0]
        self.build_embeddings(emb)
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
        self.stages = tuple(m for m in self.modules() if isinstance(m, AttentionStage))
        self.readers = tuple(stage.text for stage in self.stages if stage.text is not None)
        self.norm_out = GroupNorm(min(16, widths[0] // 4), widths[0])
        self.head = Split(widths[0], in_channels, self.patch)
        nn.init.zeros_(self.head.mix.weight)
        nn.init.zeros_(self.head.mix.bias)
        shown = sketch_channels, widths[0], self.patch, triple(sketch_grain)
        self.sketch = SketchStem(*shown) if sketch_channels else None
        self.layouts = SpatioTemporalUNet(**layout_network) if layout_network else None
        self.control = self.reference = None
        self.given = _shows_nothing(given_channels, widths[0], self.patch)

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

    def answer(
        self, x: Regridded, emb: Tensor, cond: Conditioning, memory: TextMemory | None
    ) -> Volumes:
        """What the last layer says; see ``ConditionedNetwork``."""
        widths = self.config["block_out_channels"]
        places = self.places_of(self.cells, widths, self.spacing_of(cond), x.shape[2:])
        x = self.stem(x)  # (B, width, D / pd, H / ph, W / pw)
        if self.sketch is not None and cond.sketch is not None:
            x = x + self.sketch(cond.sketch.to(x.dtype))
        if self.given is not None and cond.concat is not None:
            x = x + self.given(pad(cond.concat.to(x.dtype), self.cell))
        added = []
        if self.control is not None and cond.control is not None:
            added = self.control(self, cond.control, x, emb, memory, places)
        x = self._walk(x, emb, memory, places, added)
        return self.head(F.silu(self.norm_out(x)))  # (B, C, D', H', W')

    def _walk(
        self,
        x: Volumes,
        emb: Tensor,
        memory: TextMemory | None,
        places: list[Places],
        added: Sequence[Tensor],
    ) -> Volumes:
        """Down, through the middle, and up again, with one skip per block.

        What is ``added`` to the skips and the middle is what a control's branch found.
        """
        pairs = iter(memory.keys_values if memory is not None else ())
        mask = None if memory is None else memory.mask
        shown = iter(memory.shown if memory is not None else ())

        def run(block: SpatioTemporalBlock, x: Volumes, level: int) -> Features:
            stage = block.attention
            pair = next(pairs) if stage is not None and stage.text is not None else None
            x = self.run(block, x, emb, pair, mask, places[level])
            look = None if stage is None else next(shown, None)
            return x if look is None else look(x)

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
        if added:
            skips = [skip + part for skip, part in zip(skips, added[:-1], strict=True)]
            x = x + added[-1]
        levels = reversed(range(len(self.strides)))
        for level, split, blocks in zip(levels, self.splits, up, strict=True):
            x = split(x)
            for block in blocks:
                joined = torch.cat([to_tokens(x), to_tokens(skips.pop())], dim=-1)
                x = run(block, from_tokens(joined), level)
        return x


def _shows_nothing(channels: int, width: int, patch: Triple) -> Merge | None:
    """What reads given channels and adds nothing yet; None for none."""
    if not channels:
        return None
    merge = Merge(channels, width, patch)
    merge.mix = nn.Linear(merge.mix.in_features, width, bias=False)
    nn.init.zeros_(merge.mix.weight)
    return merge
