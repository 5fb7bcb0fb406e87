"""MiniLM's six layers, as BERT has them (Devlin et al. 2019), made of published weights.

The library that publishes the like takes three seconds to import and to build; these are the same
products in the same order, and so the same bits.
"""

from collections.abc import Mapping

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 12
EPS = 1e-12
Tokens = Float[Tensor, "B L C"]
Weights = Mapping[str, Tensor]


class Affine(nn.Module):
    """The weight and the bias that were published under a name, frozen."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights[f"{name}.weight"], requires_grad=False)
        self.bias = nn.Parameter(weights[f"{name}.bias"], requires_grad=False)


class Linear(Affine):
    """(..., in) -> (..., out)."""

    def forward(self, x: Tensor) -> Tensor:
        """The product and the bias."""
        return F.linear(x, self.weight, self.bias)


class Norm(Affine):
    """(..., C) -> (..., C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Each vector normalized, scaled and shifted."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, EPS)


class Layer(nn.Module):
    """Attention among the tokens, then two linear layers; each added and normalized."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        inside = f"{name}.attention"
        self.query = Linear(weights, f"{inside}.self.query")
        self.key = Linear(weights, f"{inside}.self.key")
        self.value = Linear(weights, f"{inside}.self.value")
        self.out = Linear(weights, f"{inside}.output.dense")
        self.norm_attention = Norm(weights, f"{inside}.output.LayerNorm")
        self.rise = Linear(weights, f"{name}.intermediate.dense")
        self.fall = Linear(weights, f"{name}.output.dense")
        self.norm = Norm(weights, f"{name}.output.LayerNorm")

    def forward(self, x: Tokens, mask: Bool[Tensor, "B 1 1 L"] | None) -> Tokens:
        """(B, L, C) -> (B, L, C)."""
        q, k, v = (
            linear(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, L, head_dim)
            for linear in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.norm_attention(self.out(y.transpose(1, 2).flatten(2)) + x)
        return self.norm(self.fall(F.gelu(self.rise(x))) + x)


class MiniLM(nn.Module):
    """Token numbers to token states; frozen.

    Args:
        weights: By their published names.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        words, places, kinds = (
            weights[f"embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        self.words = nn.Parameter(words, requires_grad=False)
        self.places = nn.Parameter(places, requires_grad=False)
        self.kinds = nn.Parameter(kinds, requires_grad=False)
        self.norm = Norm(weights, "embeddings.LayerNorm")
        names = sorted({".".join(name.split(".")[:3]) for name in weights if "layer." in name})
        self.layers = nn.ModuleList(Layer(weights, name) for name in names)
        self.eval()

    def forward(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Tokens:
        """(B, L) numbers and which of them are real -> (B, L, C)."""
        x = F.embedding(ids, self.words) + self.kinds[:1] + self.places[: ids.shape[1]]
        x = self.norm(x)  # (B, L, C)
        seen = None if mask.all() else mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, seen)
        return x
