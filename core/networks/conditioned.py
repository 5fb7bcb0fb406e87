"""What networks here share: how they are told of level, step, guidance, grid, label and prompt.

Axes: B batch, C channels, D depth (frames or slices), H, W. Noise levels t and r lie on the
linear path z = (1 - t) x + t e; a network answers with the average velocity from t to r.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.conditioning import Conditioning
from core.networks.attention import Attention, use_backend
from core.networks.blocks import Merge, Split, pad
from core.networks.control import check_control
from core.networks.embeddings import NumberEmbedding, Places, SpacingEmbedding, places_of
from core.networks.network import Network
from core.networks.reference import reader_of
from core.networks.text_memory import TextMemory, with_null
from core.tensors import Regridded, Triple, Volumes, align

LEAST_LEVEL = 0.05
"""Below it a predicted sample is no longer divided by the level, which would amplify rounding."""


def wiener_gain(t: Tensor) -> Tensor:
    """By what z is multiplied to be the best linear guess of unit-variance data: 0 at t = 1.

    (1 - t) / ((1 - t)^2 + t^2), as z = (1 - t) x + t e holds x with variance 1 and e alike.
    """
    return (1 - t) / ((1 - t).square() + t.square())


class ConditionedNetwork(Network):
    """A network that answers ``network(z, t, r, cond)``; what is its own is ``answer`` alone.

    A class made from it builds ``stem``, calls ``build_embeddings``, sets ``cell`` and
    ``readers``, and its settings hold ``text_channels``, ``num_labels``, ``default_spacing`` and
    ``prediction``.

    >>> from core.networks.dit import SpatioTemporalDiT
    >>> network: ConditionedNetwork = SpatioTemporalDiT(width=16, layers=1, head_dim=8)
    >>> network.spacing_of(Conditioning()).tolist()
    [[1.0, 1.0, 1.0]]
    """

    _supports_gradient_checkpointing = True
    _skip_layerwise_casting_patterns = ("stem", "embedding", "norm", "depth")

    stem: Merge
    head: Split
    cell: Triple
    """Voxels along D, H, W that a sample is grown to multiples of."""
    readers: tuple[Attention, ...] = ()
    """What attends to the prompt, in the order in which it is asked."""
    layouts: ConditionedNetwork | None
    """A small one that draws what sketches show."""

    def build_embeddings(self, emb: int) -> None:
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
        """What all steps share of a prompt and a reference; None where the network reads none."""
        memory = self._prompt(cond, batch)
        if cond.reference is None:
            return memory
        adapter = reader_of(self, cond.reference)
        shown = adapter(cond.reference.to(self.stem.mix.weight.dtype))
        return replace(memory or TextMemory((), None, None), shown=shown)

    def _prompt(self, cond: Conditioning, batch: int) -> TextMemory | None:
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
        pairs = tuple(text.keys_and_values(tokens) for text in self.readers)
        return TextMemory(pairs, mask, self.text_embedding(pooled))

    def embed(
        self, t: Tensor, r: Tensor, cond: Conditioning, memory: TextMemory | None, batch: int
    ) -> Tensor:
        """All that modulates the blocks, as one vector per sample: (B, emb)."""
        spacing = self.spacing_of(cond)
        resolution = cond.resolution if cond.resolution is not None else spacing
        both = spacing.expand(batch, 3), resolution.expand(batch, 3)
        emb = self.level_embedding(t) + self.step_embedding(t - r) + self.spacing_embedding(*both)
        if cond.guidance is not None:
            emb = emb + self.guidance_embedding(cond.guidance.expand(batch).log())
        if self.label_embedding is not None:
            none = torch.full((batch,), self.config["num_labels"], device=t.device)
            emb = emb + self.label_embedding(cond.label if cond.label is not None else none)
        if memory is not None and memory.pooled is not None:
            emb = emb + memory.pooled
        return F.silu(emb)

    def noise_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of the noise that a sample (C, D, H, W) is drawn from."""
        return tuple(shape)

    def pixels(self, z: Volumes, size: Sequence[int]) -> Regridded:
        """What was drawn as voxels, (B, C, D, H, W); ``size`` is that of the sample, D, H, W."""
        return z

    def spacing_of(self, cond: Conditioning) -> Tensor:
        """(B or 1, 3) grid spacing along D, H, W."""
        if cond.spacing is not None:
            return cond.spacing
        return self.stem.mix.weight.new_tensor([self.config["default_spacing"]]).float()

    def places_of(
        self, cells: Sequence[Triple], widths: Sequence[int], spacing: Tensor, size: Sequence[int]
    ) -> list[Places]:
        """Rotary positions of every level: cell centers along D, in physical units."""
        head_dim = self.config["head_dim"]
        heads = [width // max(1, width // head_dim) for width in widths]
        waves = tuple(self.config["rope_periods"])
        pairs = zip(cells, heads, strict=True)
        return [places_of(cell, size, spacing, head, periods=waves) for cell, head in pairs]

    @abstractmethod
    def answer(
        self, x: Regridded, emb: Tensor, cond: Conditioning, memory: TextMemory | None
    ) -> Volumes:
        """What the last layer says.

        Args:
            x: (B, C + Cc, D', H', W') the sample and what lies beside it, of whole cells.
            emb: (B, emb) all that modulates the blocks.
            cond: What the sample should show.
            memory: ``read(cond)``.
        """

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
        if cond.control is not None:
            check_control(getattr(self, "control", None), cond.control, z.shape)
        batch, _, *size = z.shape
        t = t.expand(batch) if t.ndim else t.repeat(batch)
        r = t if r is None else (r.expand(batch) if r.ndim else r.repeat(batch))
        if memory is None:
            memory = self.read(cond, batch)
        emb = self.embed(t, r, cond, memory, batch)  # (B, emb)
        beside = None if self.config.get("given_channels") else cond.concat
        shown = z * align(wiener_gain(t), z) if self.config.get("input_scaling") == "wiener" else z
        x = shown if beside is None else torch.cat([shown, beside.to(z.dtype)], dim=1)
        x = pad(x.to(self.stem.mix.weight.dtype), self.cell)  # (B, C + Cc, ...) of whole cells
        x = self.answer(x, emb, cond, memory)  # (B, C, D', H', W')
        said = x[:, :, : size[0], : size[1], : size[2]].to(z.dtype)  # (B, C, D, H, W)
        if self.config["prediction"] == "sample":
            return (z - said) / align(t.clamp_min(LEAST_LEVEL), z)
        return said
