"""Prints a digest of what portable arithmetic makes of the parts that results are made of."""

from core.numerics import settle

settle()

import hashlib  # noqa: E402
import sys  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from core.conditioning import Conditioning  # noqa: E402
from core.families.table import denoiser  # noqa: E402
from core.networks.unet import SpatioTemporalUNet  # noqa: E402
from core.sampling.samplers import euler  # noqa: E402
from core.sampling.schedules import linear  # noqa: E402
from core.seeds import noise  # noqa: E402
from core.tensors import inference_dtype  # noqa: E402


def wide_numpy() -> str:
    """What NumPy still computes with of instructions that not every server has, or none."""
    found = getattr(np._core._multiarray_umath, "__cpu_features__", {})
    wide = [name for name in ("X86_V4", "AVX512_ICL", "AVX512_SPR") if found.get(name)]
    return ",".join(wide) or "none"


def main() -> int:
    """Sample a small network with drawn weights, and pass through NumPy and a matrix product."""
    torch.manual_seed(0)
    network = SpatioTemporalUNet(
        in_channels=1,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_strides=((1, 2, 2),),
        attention_levels=(False, True),
        spatial_attention_levels=(False, True),
    ).eval()
    for weights in network.parameters():  # its last layer begins at zero
        torch.nn.init.normal_(weights, std=0.05)
    for weights in network.parameters():  # not .to(dtype): diffusers' warns without a reason
        weights.data = weights.data.to(inference_dtype("cpu"))
    cond = Conditioning(spacing=torch.tensor([[4.0, 1.0, 1.0]]))
    with torch.inference_mode():
        x = euler(denoiser(network, cond), noise((1, 6, 24, 20), seed=0), linear(steps=2))
        wide = torch.randn(301, 257, generator=torch.Generator().manual_seed(1))
        product = wide @ wide.mT
    double = np.linspace(-9, 9, 4099)
    doubles = hashlib.sha256(np.exp(double).tobytes())
    for part in (np.log(np.abs(double) + 1), np.power(np.abs(double), 1.7)):
        doubles.update(part.tobytes())
    waves = np.exp(-x.float().numpy()) + np.sin(x.float().numpy())
    digest = hashlib.sha256()
    for part in (
        x.float().numpy(),
        product.numpy(),
        waves,
        np.linalg.inv(waves[0, 0, 0, :20, :20]),
    ):
        digest.update(np.ascontiguousarray(part).tobytes())
    said = torch.get_num_threads(), inference_dtype("cpu"), wide_numpy(), doubles.hexdigest()
    sys.stdout.write(f"{digest.hexdigest()} {' '.join(map(str, said))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
