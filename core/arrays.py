"""What is written once for arrays of numpy and for tensors of torch.

An exported model runs where there is no torch. Code that serves it and the rest of the house
takes the few words that the two libraries spell apart from here, and calls both ``Tensor``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any

__all__ = ["Tensor", "as_type", "is_plain", "like", "namespace", "permuted", "plain", "tensor"]


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
    if is_plain(x):
        return cast("Any", np.ascontiguousarray(cast("Any", x).transpose(order)))
    return x.permute(*order).contiguous()
