"""Everything a network may be told beside the noisy sample and its noise level."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from core.refusal import Refusal
from core.tensors import align, sent


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a sample should show, frozen; any part may be missing.

    >>> cond = Conditioning(spacing=torch.tensor([[0.125, 1.0, 1.0]]))
    >>> cond.repeat(3).spacing.shape
    torch.Size([3, 3])

    Attributes:
        tokens: (B, L, E) text states.
        token_mask: (B, L) bool, True where a token is real.
        concat: (B, Cc, D, H, W) channels laid beside the sample; the last is the mask
            channel, 1 where the values are given and 0 where they are to be found.
        sketch: (B, Cs, D / gd, H / gh, W / gw) what is to be where, coarser than the sample by
            the network's ``sketch_grain``.
        control: (B, Ct, D, H, W) what a control's branch is told, of the sample's size.
        reference: (B, Cr, Dr, Hr, Wr) a picture or a volume whose look is taken over, of the
            size that the network's adapter was taught with; rows of zeros alone show nothing.
        label: (B,) integer class.
        spacing: (B, 3) grid spacing along D, H, W, in seconds or millimeters.
        resolution: (B, 3) acquired resolution along D, H, W, in the same units.
        guidance: (B,) guidance scale the network itself should apply.
    """

    tokens: Tensor | None = None
    token_mask: Tensor | None = None
    concat: Tensor | None = None
    sketch: Tensor | None = None
    control: Tensor | None = None
    reference: Tensor | None = None
    label: Tensor | None = None
    spacing: Tensor | None = None
    resolution: Tensor | None = None
    guidance: Tensor | None = None

    def _map(self, function) -> Conditioning:  # noqa: ANN001
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: function(v) for k, v in present.items() if v is not None})

    def null(self) -> Conditioning:
        """The same without prompt, reference, label or guidance: what guidance pushes away from.

        What lies beside the sample, its sketch and its control stay.
        """
        empty = dict.fromkeys(("tokens", "token_mask", "reference", "label", "guidance"))
        return replace(self, **empty)

    def told(self, keep: Tensor) -> Conditioning:
        """The same, prompt and reference only of the rows where ``keep``, (B,) bool, is true."""
        told: dict[str, Tensor] = {}
        if self.reference is not None:
            told["reference"] = self.reference * align(keep, self.reference)
        if self.tokens is not None:
            mask = self.token_mask
            if mask is None:
                mask = self.tokens.new_ones(self.tokens.shape[:2], dtype=torch.bool)
            told["token_mask"] = mask & keep[:, None]
        return replace(self, **told)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Conditioning:
        """Move every part; ``dtype`` changes the floating ones that are not physical units."""
        moved = self._map(lambda v: sent(v, device))
        if dtype is None:
            return moved
        floating = {
            k: getattr(moved, k) for k in ("tokens", "concat", "sketch", "control", "reference")
        }
        cast = {k: v.to(dtype) for k, v in floating.items() if v is not None}
        return replace(moved, **cast)

    def repeat(self, count: int) -> Conditioning:
        """Each row ``count`` times in a row: (B, ...) -> (B * count, ...)."""
        return self._map(lambda v: v.repeat_interleave(count, dim=0))

    def take(self, rows: Tensor | slice) -> Conditioning:
        """Only these rows of the batch; parts that are one for all stay as they are."""
        return self._map(lambda v: v if len(v) == 1 else v[rows])

    def crop(self, window: tuple[slice, slice, slice]) -> Conditioning:
        """The part of ``concat`` and ``control`` inside a window along D, H, W, and the rest.

        Raises:
            Refusal: There is a sketch, which shows whole samples alone.
        """
        if self.sketch is not None:
            raise Refusal(
                f"a sketch of {tuple(self.sketch.shape)} beside a window: a sketch shows the "
                "whole sample; leave the sketch out, or take the sample whole."
            )
        beside = {"concat": self.concat, "control": self.control}
        cut = (slice(None), slice(None), *window)
        return replace(self, **{k: v[cut] for k, v in beside.items() if v is not None})

    def stack(self, other: Conditioning) -> Conditioning:
        """Two questions one after the other along B; both must hold the same parts."""
        joined = {}
        for f in fields(self):
            ours, theirs = getattr(self, f.name), getattr(other, f.name)
            assert (ours is None) == (theirs is None), f.name
            if ours is not None:
                joined[f.name] = torch.cat([ours, theirs])
        return Conditioning(**joined)
