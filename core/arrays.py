"""What is written once for arrays of numpy and for tensors of torch.

An exported model runs where there is no torch. Code that serves it and the rest of the house
takes the few words that the two libraries spell apart from here, and calls both ``Tensor``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any

__all__ = [
    "Tensor",
    "as_type",
    "by_slabs",
    "is_plain",
    "like",
    "namespace",
    "permuted",
    "plain",
    "slabs",
    "tensor",
    "turned",
]
SLAB = 1 << 20
"""Values that are worked on at a time, so that what is computed on the way takes little memory."""


def is_plain(x: Tensor) -> bool:
    """Whether it is an array of numpy."""
    return isinstance(x, np.ndarray)


def namespace(x: Tensor) -> Any:
    """The library that an array belongs to, for functions of one name in both.

    >>> namespace(np.ones(3)).sqrt(np.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """
    if is_plain(x):
        return np
    import torch

    return torch


def plain(x: Tensor) -> NDArray[Any]:
    """As an array of numpy that shares the memory of what lies on the CPU."""
    return cast("NDArray[Any]", x) if is_plain(x) else x.detach().cpu().numpy()


def tensor(values: NDArray[Any]) -> Tensor:
    """As a tensor of torch that shares the memory."""
    import torch

    return torch.from_numpy(values)


def like(values: NDArray[Any], x: Tensor) -> Tensor:
    """Values of numpy as what ``x`` is, and where it is."""
    if is_plain(x):
        return cast("Tensor", values)
    from core.tensors import sent

    return sent(tensor(values), x.device)


def as_type(x: Tensor, name: str) -> Tensor:
    """In a type that both libraries call by one name, such as ``float32``.

    >>> as_type(np.ones(2), "float32").dtype
    dtype('float32')
    """
    if is_plain(x):
        return cast("Any", x).astype(name, copy=False)
    return x.to(getattr(namespace(x), name))


def permuted(x: Tensor, order: Sequence[int]) -> Tensor:
    """The axes in another order, laid out anew in memory.

    >>> permuted(np.ones((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    view = turned(x, order)
    return cast("Any", np.ascontiguousarray(view)) if is_plain(x) else view.contiguous()


def turned(x: Tensor, order: Sequence[int]) -> Tensor:
    """The axes in another order, in the same memory."""
    return cast("Any", x).transpose(order) if is_plain(x) else x.permute(*order)


def slabs(x: Tensor) -> list[slice]:
    """Parts of the first axis that cover it, of about ``SLAB`` values each.

    >>> slabs(np.zeros((3, 1024, 1024)))[1]
    slice(1, 2, None)
    """
    rows = max(1, SLAB // max(1, math.prod(x.shape[1:])))
    return [slice(start, start + rows) for start in range(0, x.shape[0], rows)]


def by_slabs(work: Callable[[Tensor], Tensor], x: Tensor, out: Tensor | None = None) -> Tensor:
    """What ``work`` makes of each value, laid out in order, made from a few planes at a time.

    >>> by_slabs(lambda part: part + 1, np.zeros((2, 3))).sum().item()
    6.0

    Args:
        work: Makes one value of each value, whatever lies around it.
        x: (D, ...), or a single value.
        out: Of the same shape, to be filled; it may be ``x`` itself. None for new memory.
    """
    if x.ndim == 0 or 0 in x.shape:
        return work(x)
    filled: Any = out
    for part in slabs(x):
        made = work(x[part])
        if filled is None:
            shape = tuple(x.shape)
            filled = namespace(made).empty(shape, dtype=made.dtype, device=made.device)
        filled[part] = made
    return filled
