"""Heads of random contrast: every tissue gets an intensity of its own, whatever T1 made of it.

With a label map this is SynthSeg's way (Billot et al. 2023): each label has a random mean and
standard deviation, and is smoothed where it meets another, as voxels that hold two tissues are.
Unlike there, the head's own fine detail inside a tissue stays, with a random sign and size: noise
alone would teach super-resolution that tissue has no structure.

A head without labels is split into three tissues by its own intensities, and intensities between
two of them are taken for voxels that hold some of both. Hard classes of intensities were tried:
voxels on the way from one tissue to another drew contour lines around everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.refusal import Refusal
from core.tensors import sent

TISSUES = 3
"""Classes of a head that comes without labels, besides the background: fluid, gray, white."""
BACKGROUND = 0.02
"""Intensity below which a voxel without labels is background."""
STEEPEST = 2.5
"""Largest factor on the noise of a head without labels, whose tissues lie close together."""
MOST_LABELS = 256
HISTOGRAM = 256
ROUNDS = 40


@dataclass(frozen=True, eq=False)
class TissueMap:
    """What every voxel of a head is made of.

    Attributes:
        centers: (labels,) float32, the mean intensity of each in the head; the first is that of
            the background.
        labels: (D, H, W) uint8, 0 for background; None where the intensity alone says it.
    """

    centers: Tensor
    labels: Tensor | None = None

    def turned(self, order: tuple[int, int, int]) -> TissueMap:
        """The map with its axes in another order."""
        return TissueMap(self.centers, None if self.labels is None else self.labels.permute(order))


@dataclass(frozen=True, eq=False)
class Contrast:
    """Random intensities of each label; those of the background are zero.

    Attributes:
        means: (labels,) float32.
        stds: Of the noise in each.
        details: Factor on the head's own deviation from the mean of a tissue; negative inverts.
        blur: Standard deviation in voxels of the smoothing where labels meet.
        seed: Of the noise.
    """

    means: Tensor
    stds: Tensor
    details: Tensor
    blur: float
    seed: int

    def apply(self, x: Tensor, centers: Tensor, labels: Tensor | None = None) -> Tensor:
        """The patch in this contrast, (D, H, W), its noise drawn on its device.

        Args:
            x: The patch as scanned, (D, H, W).
            centers: The mean intensity of each label in the head.
            labels: (D, H, W); None takes intensities for mixtures of tissues.
        """
        noise = torch.Generator(x.device).manual_seed(self.seed)
        field = torch.randn(x.shape, generator=noise, device=x.device)  # (D, H, W)
        if labels is None:
            return self._graded(x, centers, field).clamp(min=0.0)
        table, index = torch.stack([self.means, self.stds, self.details, centers]), labels.long()
        mean, std, detail, center = (row[index] for row in sent(table, x.device))  # (D, H, W) each
        drawn, center = smoothed(torch.stack([mean + std * field, center]), self.blur)  # (D, H, W)
        return (drawn + detail * (x - center)).clamp(min=0.0)

    def _graded(self, x: Tensor, centers: Tensor, field: Tensor) -> Tensor:
        """Means and deviations in proportion to the tissues on either side of x."""
        rise, means = centers.diff(), self.means.clone()  # (labels - 1,), (labels,)
        for k in range(2, len(means)):
            most = STEEPEST * rise[k - 1]
            means[k] = means[k - 1] + (means[k] - means[k - 1]).clamp(-most, most)
        table = sent(torch.stack([centers, means, self.stds]), x.device)  # (3, labels)
        below = torch.bucketize(x, table[0][1:-1])  # (D, H, W)
        low, high = table[:, below], table[:, below + 1]  # (3, D, H, W)
        share = ((x - low[0]) / (high[0] - low[0])).clamp(max=1.0)  # (D, H, W)
        mean, std = low[1:] + share * (high[1:] - low[1:])
        return mean + float(self.details[-1]) * (x - table[0, -1]).clamp(min=0.0) + std * field


@dataclass(frozen=True)
class ContrastRange:
    """What contrasts training may draw.

    Attributes:
        means: Limits of a tissue's mean.
        most_std: Largest noise within a tissue.
        most_detail: Largest factor on the head's own detail, of either sign.
        blur: Limits of the smoothing, voxels.
    """

    means: tuple[float, float] = (0.05, 1.0)
    most_std: float = 0.03
    most_detail: float = 1.0
    blur: tuple[float, float] = (0.35, 0.65)

    def draw(self, generator: torch.Generator, num_labels: int) -> Contrast:
        """A random contrast of ``num_labels`` labels, background included."""
        u = torch.rand((3, num_labels), generator=generator)  # (3, labels)
        inside = (torch.arange(num_labels) > 0).float()
        low, high = self.means
        blur = self.blur[0] + (self.blur[1] - self.blur[0]) * float(
            torch.rand((), generator=generator)
        )
        return Contrast(
            means=inside * (low + (high - low) * u[0]),
            stds=inside * self.most_std * u[1],
            details=inside * self.most_detail * (2.0 * u[2] - 1.0),
            blur=blur,
            seed=int(torch.randint(2**31 - 1, (), generator=generator)),
        )


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """Volumes (N, D, H, W) under a Gaussian of five voxels; borders are continued."""
    place = torch.arange(-2.0, 3.0)
    kernel = torch.exp(-0.5 * (place / sigma) ** 2)  # (5,)
    kernel = sent(kernel / kernel.sum(), x.device)
    y = x[:, None]  # (N, 1, D, H, W)
    for axis in range(3):
        shape = [5 if a == axis else 1 for a in range(3)]
        padding = [2 if a // 2 == 2 - axis else 0 for a in range(6)]
        y = F.conv3d(F.pad(y, padding, mode="replicate"), kernel.view(1, 1, *shape))
    return y[:, 0]


def tissue_map(head: Tensor, labels: Tensor | None = None) -> TissueMap:
    """The tissues of a head: as labeled, or split by its own intensities.

    Args:
        head: (D, H, W), intensities in [0, 1].
        labels: (D, H, W) whole numbers, 0 for background; None splits by intensity.
    """
    if labels is None:
        return TissueMap(_k_means(head[head > BACKGROUND].float().cpu()))
    if labels.shape != head.shape:
        raise Refusal(
            f"labels have shape {tuple(labels.shape)}, their head {tuple(head.shape)}: a label "
            "map lies on the grid of its head; resample it by nearest neighbors."
        )
    kinds, compact = torch.unique(labels, return_inverse=True)
    check_kinds(kinds)
    if kinds[0] > 0:
        compact = compact + 1
    return _measured(head, compact.to(torch.uint8), int(compact.max()) + 1)


def check_kinds(kinds: Tensor) -> None:
    """Refuse the labels of a map, in rising order, where they cannot be those of tissues.

    Raises:
        Refusal: There are too many, or one is below 0.
    """
    if len(kinds) > MOST_LABELS - 1:
        raise Refusal(
            f"a label map has {len(kinds)} values: at most {MOST_LABELS - 1} tissues are told "
            "apart; give whole-numbered labels, not intensities."
        )
    if kinds[0] < 0:
        raise Refusal(
            f"a label map holds {int(kinds[0])}: labels are whole numbers from 0 on, and 0 is the "
            "background; number the tissues from 1."
        )


def _k_means(values: Tensor) -> Tensor:
    """The centers of ``TISSUES`` classes of intensities, in rising order, after a zero.

    Lloyd's rounds over a histogram, from even steps of intensity; nothing is random.
    """
    top = float(values.max()) if len(values) else 1.0
    counts = torch.histc(values, HISTOGRAM, 0.0, top)  # (HISTOGRAM,)
    place = (torch.arange(HISTOGRAM) + 0.5) * top / HISTOGRAM
    share = counts.cumsum(0) / counts.sum().clamp(min=1.0)
    ends = torch.searchsorted(share, torch.tensor([0.02, 0.98])).clamp(max=HISTOGRAM - 1)
    low, high = place[ends]
    centers = low + (high - low) * (torch.arange(TISSUES) + 0.5) / TISSUES  # (TISSUES,)
    for _ in range(ROUNDS):
        nearest = torch.bucketize(place, _between(centers))  # (HISTOGRAM,)
        weight = torch.zeros(TISSUES).index_add_(0, nearest, counts)
        total = torch.zeros(TISSUES).index_add_(0, nearest, counts * place)
        centers = torch.where(weight > 0, total / weight.clamp(min=1.0), centers)
    least = 1e-3 * torch.arange(1, TISSUES + 1)  # apart, even if the head has fewer
    return torch.cat([torch.zeros(1), torch.maximum(centers, least).cummax(0).values + least])


def _between(centers: Tensor) -> Tensor:
    return (centers[1:] + centers[:-1]) / 2


def _measured(head: Tensor, labels: Tensor, num_labels: int) -> TissueMap:
    # On the CPU: a GPU adds in an order of its own, and the sums would differ from run to run.
    index = labels.flatten().cpu().int()  # (D * H * W,)
    total = torch.bincount(index, head.flatten().cpu().double(), minlength=num_labels)  # (labels,)
    weight = torch.bincount(index, minlength=num_labels)
    return TissueMap((total / weight.clamp(min=1)).float(), labels)
