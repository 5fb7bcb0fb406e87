"""Batches of the arms, and the fixed clips, patches and heads that all of them are judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.seeds import generator
from medical.acquisition.protocols import AcquisitionRange
from medical.files.volume import Volume
from medical.training.controls import tissue_maps
from medical.training.dataset import VALIDATION_EVERY
from medical.training.patches import HeadPatches, PatchRecipe
from medical.training.training import patch_batches
from tests.benchmarks.arms.arm import Arm, Domain
from tests.benchmarks.quality.heads import file_reader
from video.engines.text import TextEncoder
from video.training.training import FRAMES_PER_SECOND, world, world_batches
from video.world.world import draw_batch

if TYPE_CHECKING:
    from core.training.feed import MakeBatch

PATCH = (16, 32, 32)
BOX = (64, 64, 64)
ORDER_SEED, ITEMS_SEED, PROMPTS_SEED = 5, 11, 12
FOUR_MM = AcquisitionRange(
    common_mm=(4.0,),
    common_share=1.0,
    gap_share=0.0,
    box_share=0.0,
    in_plane_share=0.0,
    noise_share=0.0,
    told_off=0.0,
)
RECIPE = PatchRecipe(PATCH, other_axis_share=0.0, acquisitions=FOUR_MM, augmentation=None)
"""One task, in training as in judging: minutes are too short for all acquisitions there are."""


@dataclass
class Data:
    """What arms learn from and are judged on; each part is read when it is needed.

    Attributes:
        folder: BIDS folder of the heads.
        items: Held-out clips, and held-out patches.
        prompts: Held-out prompts the oracle judges.
        most_heads: Validation heads.
        box: Voxels around the middle of a head that are restored.
        scenes: Of the procedural world, of which training draws; more than an arm sees.
        tissues: Whether patches come with their tissues as control.
    """

    folder: Path
    items: int = 48
    prompts: int = 60
    most_heads: int = 6
    box: tuple[int, int, int] = BOX
    scenes: int = 8192
    tissues: bool = False

    def __post_init__(self) -> None:
        self._training: dict[Path, tuple[Tensor, tuple[float, float, float]]] = {}

    @cached_property
    def encoder(self) -> TextEncoder:
        """Reads captions."""
        return TextEncoder(dtype=torch.bfloat16)

    @cached_property
    def world(self) -> MakeBatch:
        """Clips of the procedural world; the scenes are drawn once for all arms."""
        return world_batches(world(self.encoder, scenes=self.scenes))

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        """Files of each side of the project's split, those for training in random order."""
        paths = sorted(self.folder.glob("sub-*/anat/sub-*_T1w.nii.gz"))
        if len(paths) < VALIDATION_EVERY:
            raise ValueError(
                f"{self.folder} holds {len(paths)} heads: every {VALIDATION_EVERY}th is for "
                "validation; name a BIDS folder of more with --heads, or set LAMINA_DATA."
            )
        validation = paths[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
        training = [path for path in paths if path not in validation]
        order = torch.randperm(len(training), generator=generator(ORDER_SEED)).tolist()
        return {"train": [training[i] for i in order], "validation": validation}

    def patches(self, count: int) -> MakeBatch:
        """Patches of so many heads; fewer heads are always among the more."""
        chosen = self._paths["train"][:count]
        for path in chosen:
            if path not in self._training:  # half precision: 48 heads are half a gigabyte
                head = file_reader(path)()
                self._training[path] = (head.data.to(torch.float16), head.spacing_mm)
        volumes, spacing = zip(*(self._training[path] for path in chosen), strict=True)
        maps = self._maps([(p.name, file_reader(p)()) for p in chosen] if self.tissues else [])
        return patch_batches(HeadPatches(volumes, spacing, RECIPE, maps=maps))

    def _maps(self, heads: Sequence[tuple[str, Volume]]) -> list[Tensor]:
        return tissue_maps(heads) if self.tissues else []

    def batches(self, arm: Arm, shares: Sequence[float] = ()) -> MakeBatch:
        """Where an arm's batches come from; of two domains, one is drawn for every step.

        Args:
            arm: Whose.
            shares: Of the steps that each domain takes.
        """
        made = [
            (self.world if form.domain == "video" else self.patches(arm.heads), form.batch)
            for form in arm.forms
        ]
        if len(made) == 1:
            return made[0][0]

        def make_batch(batch_size: int, generator: torch.Generator) -> tuple[Tensor, Conditioning]:
            del batch_size  # each domain has a size of its own
            place = int(float(torch.rand((), generator=generator)) >= shares[0])
            source, size = made[place]
            return source(size, generator)

        return make_batch

    def held_out(self, domain: Domain) -> tuple[Tensor, Conditioning]:
        """Clips of combinations, or patches of heads, that training never draws."""
        return self._clips if domain == "video" else self._patches

    @cached_property
    def _clips(self) -> tuple[Tensor, Conditioning]:
        clips, captions, _ = draw_batch(self.items, generator(ITEMS_SEED), split="held_out")
        return clips, self.said(captions)

    @cached_property
    def _unseen(self) -> HeadPatches:
        heads = [(path.name, file_reader(path)()) for path in self._paths["validation"]]
        return HeadPatches.from_heads(heads, RECIPE, maps=self._maps(heads))

    @cached_property
    def _patches(self) -> tuple[Tensor, Conditioning]:
        return patch_batches(self._unseen)(self.items, generator(ITEMS_SEED))

    @cached_property
    def heads_of_patches(self) -> list[int]:
        """Which validation head each held-out patch is of: those of one head are no strangers."""
        dice = generator(ITEMS_SEED)
        return [self._unseen.draw(dice).head for _ in range(self.items)]

    def said(self, captions: Sequence[str]) -> Conditioning:
        """Captions as the network reads them."""
        tokens, mask = self.encoder.encode(list(captions))
        spacing = torch.tensor([[1 / FRAMES_PER_SECOND, 1.0, 1.0]])
        return Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    @cached_property
    def held_out_prompts(self) -> list[str]:
        """Captions of single things."""
        shares = (1.0, 0.0, 0.0)
        dice = generator(PROMPTS_SEED)
        return draw_batch(self.prompts, dice, split="held_out", count_shares=shares)[1]

    @cached_property
    def validation_heads(self) -> list[tuple[str, Volume]]:
        """The middles of the validation heads."""
        chosen = self._paths["validation"][: self.most_heads]
        return [(p.name.split("_")[0], middle(file_reader(p)(), self.box)) for p in chosen]


def middle(volume: Volume, box: Sequence[int]) -> Volume:
    """The box in the middle of a volume, or as much of it as there is."""
    data = volume.data
    for axis, size in enumerate(box):
        kept = min(size, data.shape[axis])
        data = data.narrow(axis, (data.shape[axis] - kept) // 2, kept)
    return volume.with_data(data.clone(), dtype="float32")
