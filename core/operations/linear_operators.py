"""Linear operators that say what was measured, and the exact way back to the measurement.

A thick-slice scan, a clip with missing frames and an image with a hole are all ``y = A x``. The
operators here are separable, one dense matrix per axis, so the adjoint is a transpose, the
pseudo-inverse is exact, and data consistency inside sampling is one projection instead of a
descent.

Axes: B batch, C channels, D depth (frames or slices), H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np

from core.arrays import Tensor, as_type, is_plain, namespace, permuted
from core.progress import counted
from core.refusal import Refusal

if TYPE_CHECKING:
    from core.sampling.path import Denoise

NUM_AXES = 3


@runtime_checkable
class LinearOperator(Protocol):
    """What a degradation must offer to be obeyed during sampling."""

    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""
        ...

    def adjoint(self, y: Tensor) -> Tensor:
        """``A^T y``."""
        ...

    def invert(self, y: Tensor) -> Tensor:
        """``A^+ y``, the smallest ``x`` that explains ``y`` best."""
        ...


def along_axis(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """``x`` with one of its last three axes multiplied by a matrix.

    Args:
        x: (..., D, H, W).
        matrix: (n_out, n_in) with ``n_in`` the size of the axis.
        axis: 0 for D, 1 for H, 2 for W.
    """
    position = x.ndim - NUM_AXES + axis
    if x.shape[position] != matrix.shape[1]:
        raise Refusal(
            f"axis {axis} holds {x.shape[position]} samples: the operator takes "
            f"{matrix.shape[1]}; build it for this grid."
        )
    if position == x.ndim - 1:
        return x @ matrix.mT
    rest = x.shape[position + 1 :]
    flat = x.reshape(*x.shape[: position + 1], -1)  # (..., n_in, rest)
    return (matrix @ flat).reshape(*x.shape[:position], matrix.shape[0], *rest)


@dataclass(frozen=True, eq=False)
class AxisOperator:
    """A separable linear map: one dense matrix (n_out, n_in) for each of D, H, W.

    ``None`` leaves an axis alone. Matrices are kept in float64; the work is done in the
    precision of the tensor, float32 at least. Matrices and what they work on are arrays of numpy,
    or tensors of torch.

    >>> import torch
    >>> halves = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])
    >>> AxisOperator((halves, None, None)).apply(torch.ones(4, 3, 3)).shape
    torch.Size([2, 3, 3])
    """

    matrices: tuple[Tensor | None, Tensor | None, Tensor | None]

    def __post_init__(self) -> None:
        for axis, matrix in enumerate(self.matrices):
            if matrix is None:
                continue
            if matrix.ndim != 2 or not namespace(matrix).isfinite(matrix).all():
                raise Refusal(
                    f"matrix of axis {axis} has shape {tuple(matrix.shape)}: an axis operator is "
                    "a finite (n_out, n_in) matrix; pass None to leave the axis alone."
                )

    def apply(self, x: Tensor) -> Tensor:
        """``A x`` for x (..., D, H, W)."""
        library = namespace(x)
        dtype = library.promote_types(x.dtype, library.float32)
        y = cast("Any", x).astype(dtype, copy=False) if is_plain(x) else x.to(dtype)
        for axis, matrix in enumerate(self.matrices):
            if matrix is not None:
                y = along_axis(y, self._cast(axis, matrix, y), axis)
        return cast("Any", y).astype(x.dtype, copy=False) if is_plain(x) else y.to(x.dtype)

    def adjoint(self, y: Tensor) -> Tensor:
        """``A^T y``."""
        return self.transpose.apply(y)

    def invert(self, y: Tensor) -> Tensor:
        """``A^+ y``; the pseudo-inverse of a Kronecker product is taken axis by axis."""
        return self.pseudo_inverse.apply(y)

    @cached_property
    def transpose(self) -> AxisOperator:
        """The adjoint as an operator."""
        d, h, w = (None if m is None else permuted(m, (1, 0)) for m in self.matrices)
        return AxisOperator((d, h, w))

    @cached_property
    def pseudo_inverse(self) -> AxisOperator:
        """The Moore-Penrose inverse as an operator, computed once in float64."""
        d, h, w = (None if m is None else _pinv(m) for m in self.matrices)
        return AxisOperator((d, h, w))

    @cached_property
    def _casts(self) -> dict[Any, Tensor]:
        return {}

    def _cast(self, axis: int, matrix: Tensor, like: Tensor) -> Tensor:
        key = (axis, like.dtype, like.device)
        if key not in self._casts:
            self._casts[key] = _sent(matrix, like)
        return self._casts[key]


def _sent(matrix: Tensor, like: Tensor) -> Tensor:
    """A matrix in the precision and on the device of what it works on."""
    if is_plain(like):
        return cast("Any", matrix).astype(like.dtype)
    from core.tensors import sent

    return sent(matrix.to(like.dtype), like.device)


def _pinv(matrix: Tensor) -> Tensor:
    wide = as_type(matrix, "float64")
    if is_plain(matrix):
        cut = max(matrix.shape) * np.finfo(np.float64).eps
        return cast("Any", np.linalg.pinv(cast("Any", wide), rcond=cut))
    return namespace(matrix).linalg.pinv(wide)


@dataclass(frozen=True, eq=False)
class MaskOperator:
    """Known voxels or frames: ``A x = mask * x`` with a mask of zeros and ones.

    >>> import torch
    >>> MaskOperator(torch.tensor([1.0, 0.0])).apply(torch.tensor([3.0, 4.0]))
    tensor([3., 0.])
    """

    mask: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """``x`` where the mask is one, zero elsewhere."""
        library = namespace(x)
        return library.where(self.mask.bool(), x, library.zeros_like(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """The same masking: a mask is its own adjoint."""
        return self.apply(y)

    def invert(self, y: Tensor) -> Tensor:
        """The same masking: a mask is its own pseudo-inverse."""
        return self.apply(y)


@dataclass(frozen=True)
class FrameOperator:
    """Some of the frames or slices: ``A x`` is x at places along D.

    >>> import torch
    >>> FrameOperator((0, 2), 3).apply(torch.arange(3.0).reshape(3, 1, 1)).flatten()
    tensor([0., 2.])

    Attributes:
        places: Of the frames that are known, each once.
        count: Of all frames.
    """

    places: tuple[int, ...]
    count: int

    def __post_init__(self) -> None:
        once = len({*self.places}) == len(self.places)
        if not self.places or not once or not {*self.places} <= {*range(self.count)}:
            raise Refusal(
                f"places={self.places[:8]} of {counted(self.count, 'frame')}: frames that are "
                "known lie "
                f"within 0 to {self.count - 1}, each once; give at least one."
            )

    def apply(self, x: Tensor) -> Tensor:
        """The known frames of x (..., D, H, W)."""
        return x[..., list(self.places), :, :]

    def adjoint(self, y: Tensor) -> Tensor:
        """The frames in their places, 0 between."""
        *before, _, height, width = y.shape
        x = y.new_zeros(*before, self.count, height, width)
        x[..., list(self.places), :, :] = y
        return x

    def invert(self, y: Tensor) -> Tensor:
        """The same: what is chosen once is put back by its adjoint."""
        return self.adjoint(y)


@dataclass(frozen=True)
class MeanOperator:
    """A smaller clip: ``A x`` is the mean of each block along D, H and W.

    >>> import torch
    >>> MeanOperator((1, 2, 2)).apply(torch.ones(4, 4, 4)).shape
    torch.Size([4, 2, 2])

    Attributes:
        factors: Frames, rows and columns of a block.
    """

    factors: tuple[int, int, int]

    def apply(self, x: Tensor) -> Tensor:
        """The means of x (..., D, H, W), whose sides are multiples of the factors."""
        d, h, w = self.factors
        *before, depth, height, width = x.shape
        if depth % d or height % h or width % w:
            raise Refusal(
                f"x of {depth} x {height} x {width} in blocks of {d} x {h} x {w}: each side is a "
                "multiple of the block's; cut or pad it first."
            )
        return x.reshape(*before, depth // d, d, height // h, h, width // w, w).mean((-5, -3, -1))

    def adjoint(self, y: Tensor) -> Tensor:
        """Each mean shared out to its block."""
        d, h, w = self.factors
        return self.invert(y) / (d * h * w)

    def invert(self, y: Tensor) -> Tensor:
        """Each mean everywhere in its block: the smallest x that has these means."""
        for axis, factor in zip((-3, -2, -1), self.factors, strict=True):
            y = y.repeat_interleave(factor, axis)
        return y


def project(
    x: Tensor,
    operator: LinearOperator,
    measured: Tensor,
    weight: float = 1.0,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """``x + weight * A^+ (y - A x)``; weight 1 gives the nearest x that explains y.

    Args:
        x: The estimate.
        operator: A.
        measured: y, broadcastable against ``operator.apply(x)``.
        weight: Of the measurement.
        out: Where the result goes, which may be ``x`` itself; None for new memory.
    """
    moved = operator.invert(measured - operator.apply(x))
    moved = moved if weight == 1.0 else weight * moved  # no memory for what changes nothing
    if out is None and moved.shape == x.shape and moved.dtype == x.dtype:
        moved += x  # in memory that nobody else knows
        return moved
    return namespace(x).add(x, moved, out=out)


def consistent(
    denoise: Denoise, operator: LinearOperator, measured: Tensor, weight: float = 1.0
) -> Denoise:
    """A denoiser whose every estimate agrees with the measurement.

    Args:
        denoise: the denoiser to wrap.
        operator: how ``measured`` came about.
        measured: y, broadcastable against ``operator.apply(x_hat)``.
        weight: 1 obeys the measurement exactly, less leaves room for its noise.
    """
    if not 0.0 <= weight <= 1.0:
        raise Refusal(
            f"weight={weight}: the weight of the measurement lies in [0, 1]; "
            "1 obeys it exactly, 0 ignores it."
        )

    def obedient(z: Tensor, t: Tensor, r: Tensor) -> Tensor:
        return project(denoise(z, t, r), operator, measured, weight)

    return obedient
