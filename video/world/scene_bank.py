"""Scenes of the procedural world, drawn once with their captions, for training without end.

Drawing words and reading captions is work for Python and for another network. It is done once for
each scene of a bank. A batch takes some of its scenes, in places, sizes and speeds that are drawn
anew, and shows them: tensors on the device and nothing else. Captions come again, clips hardly do.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.refusal import Refusal
from core.tensors import sent
from video.engines.text import PackedStates, TextEncoder
from video.world.captions import Stated, caption, draw_stated
from video.world.placement import redraw
from video.world.rendering import render_table
from video.world.scene_table import SHAPE, SceneTable, blank, tabulate
from video.world.world import COUNT_SHARES, EVENLY, draw_scene

BLOCK: Final = 8
"""Scenes that are drawn and read together, and shown together."""
CHUNK: Final = 8192
"""Scenes that are drawn and read together where the whole bank is filled."""


class SceneBank:
    """A fixed number of scenes of the training split, each decided by the seed and its number.

    On a CPU, a block of eight is drawn and read when it is first asked for, so that a short run
    does not pay for a large bank. On a GPU all are, at the start, and stay there.

    Args:
        encoder: Reads the captions; clips are rendered on its device.
        size: How many scenes, a multiple of 8.
        seed: Decides the bank.
        count_shares: Share of scenes with one, two and three things.
        motion_weights: How often a single thing has each motion; 1 for those not named.
        stated: Draws what a caption says.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        size: int,
        seed: int = 0,
        count_shares: Sequence[float] = COUNT_SHARES,
        motion_weights: Mapping[str, float] = EVENLY,
        stated: Callable[[Random], Stated] = draw_stated,
    ) -> None:
        if size < BLOCK or size % BLOCK:
            raise Refusal(
                f"size={size}: a bank holds blocks of {BLOCK} scenes; give a multiple of {BLOCK}."
            )
        self.seed, self.device = seed, encoder.device
        self.count_shares, self.motion_weights = count_shares, motion_weights
        self.stated = stated
        self.table, self.texts = blank(size), PackedStates(encoder, size)
        self.shapes = self.table.words[..., SHAPE]  # stays on the CPU, to lay out the work
        self.ready = torch.zeros(size // BLOCK, dtype=torch.bool)
        if self.device.type == "cuda":
            for first in range(0, size, CHUNK):
                self._draw(first, min(CHUNK, size - first))
            self.table = self.table.to(self.device)

    def batch(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "B 3 16 64 64"], Float[Tensor, "B L 384"], Bool[Tensor, "B L"]]:
        """Clips in [-1, 1] with their captions' states and mask.

        Args:
            count: How many.
            generator: A CPU generator; with the bank's seed it alone decides the batch.
        """
        scenes, rows = self.scenes(count, generator)
        return self.shown(scenes, rows), *self.texts.take(rows)

    def scenes(
        self, count: int, generator: torch.Generator
    ) -> tuple[SceneTable, Int[Tensor, "B"]]:
        """Scenes in new places, and their numbers in the bank, on the CPU."""
        rows = self._pick(count, generator)
        for block in (rows // BLOCK).unique().tolist():
            if not self.ready[block]:
                self._draw(block * BLOCK, BLOCK)
        return redraw(self.table.take(sent(rows, self.device)), generator)[0], rows

    def shown(self, scenes: SceneTable, rows: Int[Tensor, "B"]) -> Float[Tensor, "B 3 16 64 64"]:
        """The clips of scenes that have these numbers."""
        return render_table(scenes, self.shapes[rows])

    def _pick(self, count: int, generator: torch.Generator) -> Int[Tensor, "B"]:
        """Numbers of scenes: random blocks, and of the last one as many as are left to take."""
        blocks = torch.randint(len(self.ready), (-(-count // BLOCK), 1), generator=generator)
        turns = torch.randint(BLOCK, blocks.shape, generator=generator)
        return (blocks * BLOCK + (torch.arange(BLOCK) + turns) % BLOCK).flatten()[:count]

    def _draw(self, first: int, count: int) -> None:
        """Draw and read the scenes numbered ``first`` and on."""
        scenes, captions = [], []
        for number in range(first, first + count):
            dice = Random(self.seed << 64 | number)
            scene = draw_scene(
                dice, count_shares=self.count_shares, motion_weights=self.motion_weights
            )
            scenes.append(scene)
            captions.append(caption(scene, dice, self.stated(dice)))
        self.table.put(slice(first, first + count), tabulate(scenes))
        self.texts.read(first, captions)
        self.ready[first // BLOCK : (first + count) // BLOCK] = True
