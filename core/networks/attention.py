"""Attention over frames, over text, and along D, through diffusers' dispatcher.

On a CPU the short bfloat16 sequences of this network run 1.7 to 2.8 times faster through
three explicit matrix products than through ``scaled_dot_product_attention``, so that is
the CPU path; elsewhere diffusers' backends are used, chosen per processor.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.networks.embeddings import Turns, rotate
from core.refusal import Refusal

if TYPE_CHECKING:
    from diffusers.models.attention_dispatch import AttentionBackendName

SHORT_ROW = 128  # scores a query has, below which their softmax is faster in float32
EXPLICIT_LIMIT = 2**22  # scores per head and sample above which the explicit path costs memory


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention in three products; (N, S, heads, head_dim) layout, mask (N, 1, 1, L).

    Short rows are weighed in float32: torch's bfloat16 softmax dawdles over the last of a row
    that is no multiple of 32, and takes up to three times as long.
    """
    rows, heads = q.shape[0], q.shape[2]
    q, k, v = (x.expand(rows, -1, -1, -1).transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    unused, scale = q.new_zeros(()), q.shape[-1] ** -0.5
    scores = torch.baddbmm(unused, q, k.transpose(1, 2), beta=0, alpha=scale)  # (N * heads, S, L)
    if scores.shape[-1] < SHORT_ROW:
        scores = scores.float()
    if mask is not None:
        bias = torch.zeros_like(mask, dtype=scores.dtype)
        bias = bias.masked_fill(~mask, torch.finfo(scores.dtype).min)
        scores = (scores.unflatten(0, (rows, heads)) + bias).flatten(0, 1)
    weights = scores.softmax(dim=-1).to(v.dtype)
    return (weights @ v).unflatten(0, (rows, heads)).transpose(1, 2)  # (N, S, heads, head_dim)


class HeadNorm(nn.RMSNorm):
    """``RMSNorm`` from one reduction: torch's own takes seven passes over bfloat16 on a CPU.

    >>> HeadNorm(4, eps=1e-6)(torch.full((2, 4), 3.0))[0].round().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., head_dim) -> (..., head_dim)."""
        exact = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)  # (..., 1)
        scale = (length.square() / x.shape[-1] + self.eps).rsqrt()
        return x * scale.to(x.dtype) * self.weight.to(x.dtype)


class AttentionProcessor:
    """Runs one attention module; the backend is set per processor, never process-wide.

    >>> q = k = torch.zeros(1, 5, 2, 8)
    >>> Attention(16, head_dim=8).processor(Attention(16, head_dim=8), q, k, k, None).shape
    torch.Size([1, 5, 2, 8])
    """

    _attention_backend: "AttentionBackendName | None" = None
    _parallel_config = None

    def __call__(
        self, attention: "Attention", q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """(N, S, heads, head_dim) queries over (N, L, heads, head_dim) keys and values."""
        plain = q.device.type == "cpu" and self._attention_backend is None
        if plain and q.shape[1] * k.shape[1] <= EXPLICIT_LIMIT:
            return explicit_attention(q, k, v, mask)
        rows = len(q)  # one row of keys may serve many rows of queries
        k, v = k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)
        if mask is not None:
            mask = mask.expand(rows, q.shape[2], q.shape[1], -1)
        if plain:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
        from diffusers.models.attention_dispatch import dispatch_attention_fn

        return dispatch_attention_fn(q, k, v, attn_mask=mask, backend=self._attention_backend)


class Attention(nn.Module):
    """Multi-head attention with RMS-normalized queries and keys.

    >>> Attention(16, head_dim=8)(torch.randn(2, 5, 16)).shape
    torch.Size([2, 5, 16])

    Args:
        channels: Width of the queries and of the result.
        context_channels: Width of the keys' source; ``None`` attends to the queries' source.
        head_dim: Width of one head; few wide heads are faster than many narrow ones.
    """

    def __init__(
        self, channels: int, *, context_channels: int | None = None, head_dim: int = 64
    ) -> None:
        super().__init__()
        self.heads = max(1, channels // head_dim)
        if channels % (2 * self.heads):
            raise Refusal(
                f"channels={channels}, head_dim={head_dim}: {self.heads} heads of even width must "
                "share the channels evenly; choose a head_dim that divides them."
            )
        source = context_channels or channels
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(source, channels, bias=False)
        self.to_v = nn.Linear(source, channels, bias=False)
        self.norm_q = HeadNorm(channels // self.heads, eps=1e-6)
        self.norm_k = HeadNorm(channels // self.heads, eps=1e-6)
        out = nn.Linear(channels, channels)
        nn.init.zeros_(out.weight)
        nn.init.zeros_(out.bias)
        self.to_out = nn.ModuleList([out, nn.Dropout(0.0)])
        self.processor = AttentionProcessor()

    def keys_and_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """(N, L, C) -> two of (N, L, heads, head_dim); once per prompt for text."""
        k = self.norm_k(self.to_k(context).unflatten(-1, (self.heads, -1)))
        return k, self.to_v(context).unflatten(-1, (self.heads, -1))

    def forward(
        self,
        x: Tensor,
        keys_values: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        turns: Turns | None = None,
    ) -> Tensor:
        """(N, S, C) -> (N, S, C). ``turns`` of N or 1 rows and S places add rotary positions."""
        q = self.norm_q(self.to_q(x).unflatten(-1, (self.heads, -1)))  # (N, S, heads, head_dim)
        k, v = keys_values or self.keys_and_values(x)  # (N, L, heads, head_dim)
        if turns is not None:
            q, k = rotate(q, turns), rotate(k, turns)
        y = self.processor(self, q, k, v, mask).flatten(-2)  # (N, S, C)
        return self.to_out[0](y)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them; the second starts at zero.

    >>> FeedForward(8)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, channels: int, *, factor: int = 2) -> None:
        super().__init__()
        self.rise = nn.Linear(channels, channels * factor)
        self.fall = nn.Linear(channels * factor, channels)
        nn.init.zeros_(self.fall.weight)
        nn.init.zeros_(self.fall.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.fall(F.gelu(self.rise(x)))  # exact: its tanh form is six times slower


def use_backend(network: nn.Module, backend: str) -> None:
    """Set a diffusers backend on every attention of one network; nothing process-wide changes."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    known = [name.value for name in AttentionBackendName]
    if backend not in known:
        raise Refusal(
            f"backend={backend!r}: attention runs on one of diffusers' backends; "
            f"choose one of {', '.join(known)}."
        )
    if backend == "xformers" and not torch.cuda.is_available():
        raise Refusal("backend='xformers': xformers has no operators on a CPU; use 'native' here.")
    for module in network.modules():
        if isinstance(module, Attention):
            module.processor._attention_backend = AttentionBackendName(backend)
