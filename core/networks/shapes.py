"""Which sizes a network can have along D, H, W, checked before anything is built."""

from collections.abc import Sequence

from core.refusal import Refusal
from core.tensors import Triple


def triple(values: Sequence[int]) -> Triple:
    """Three numbers along D, H, W; a config read from JSON holds lists."""
    d, h, w = values
    return d, h, w


def cells_of(patch: Triple, strides: Sequence[Triple]) -> list[Triple]:
    """Voxels along D, H, W that one cell of each level stands for, finest first."""
    cells = [patch]
    for stride in strides:
        cells.append(triple([a * b for a, b in zip(cells[-1], stride, strict=True)]))
    return cells


def check_grain(patch: Triple, grain: Triple) -> None:
    """Refuse sketches whose voxels do not fill the cells of the stem."""
    if any(step % size for step, size in zip(patch, grain, strict=True)):
        raise Refusal(
            f"sketch_grain={grain}: a cell of {patch} voxels holds whole voxels of a sketch; give "
            "a grain that divides patch_size."
        )


def check_shape(
    widths: tuple[int, ...],
    strides: tuple[Triple, ...],
    kernel_size: Triple,
    prediction: str,
    input_scaling: str = "none",
) -> None:
    """Refuse a shape no network can have."""
    if input_scaling not in ("none", "wiener"):
        raise Refusal(
            f"input_scaling={input_scaling!r}: a noisy sample enters as it is or as the best "
            "linear guess of the data; choose 'none' or 'wiener'."
        )
    if prediction not in ("velocity", "sample"):
        raise Refusal(
            f"prediction={prediction!r}: the last layer answers with a velocity or a sample; "
            "choose 'velocity' or 'sample'."
        )
    if len(strides) != len(widths) - 1:
        raise Refusal(
            f"down_strides={strides}: {len(widths)} levels need {len(widths) - 1} strides "
            "between them; give one triple less than block_out_channels."
        )
    if not all(size % 2 for size in kernel_size):
        raise Refusal(
            f"kernel_size={kernel_size}: a kernel has a middle along D, H and W; give "
            "odd sizes such as (3, 3, 3)."
        )
