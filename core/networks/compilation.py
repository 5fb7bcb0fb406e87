"""The network compiled into fused kernels, on a CUDA device."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from core.conditioning import Conditioning
from core.families.family import Predict
from core.networks.network import Network
from core.refusal import Refusal

TOKENS = 16


def compiled(network: Network) -> Predict:
    """The network as ``torch.compile`` makes it; the network itself stays as it is.

    Each shape is compiled once, as kernels for shapes that may change are not made (torch 2.13
    fails on them). Prompts are therefore padded to a few lengths.

    Raises:
        Refusal: There is no CUDA device; or, when it is called, a kernel that was
            compiled before cannot be loaded.
    """
    if not torch.cuda.is_available():
        raise Refusal(
            "compile=True: kernels are compiled for CUDA devices, as on a CPU that takes longer "
            "than it saves; train without compile here."
        )
    kernels = torch.compile(network, dynamic=False)

    def predict(z: Tensor, t: Tensor, r: Tensor, cond: Conditioning) -> Tensor:
        try:
            return kernels(z, t, r, with_even_prompts(cond))
        except RuntimeError as error:
            broken = getattr(error, "inner_exception", None)  # what torch's compiler wraps
            if not isinstance(broken, ImportError):
                raise
            raise Refusal(
                f"compile=True: {broken}: kernels are kept in files, of which a run that was "
                "killed while it compiled may leave one half-written; remove that file and give "
                "the same command again, or train without compile."
            ) from error

    return predict


def with_even_prompts(cond: Conditioning) -> Conditioning:
    """The same with its prompts padded to a multiple of 16 tokens, none of which is real."""
    if cond.tokens is None:
        return cond
    mask = cond.token_mask
    if mask is None:
        mask = cond.tokens.new_ones(cond.tokens.shape[:2], dtype=torch.bool)
    more = -mask.shape[1] % TOKENS
    return replace(cond, tokens=pad(cond.tokens, (0, 0, 0, more)), token_mask=pad(mask, (0, more)))
