"""Training steps and heads beside MONAI's and diffusers' networks, and the share of the peak.

``python -m tests.benchmarks.peers WHO`` does two training steps of one network in this process and
prints how much memory they took.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.conditioning import Conditioning
from core.models.checkpoints import find_model, load_model
from core.tensors import inference_dtype
from medical.operations.restoring import Tiling
from tests.benchmarks.network import networks, ratio
from tests.benchmarks.processes import turns
from tests.benchmarks.results import Figure, Row

FASTER, LIGHTER = {"MONAI": 2.0, "diffusers": 6.0}, {"MONAI": 0.7, "diffusers": 0.5}
HEADS, STEPS, SHARE = 3.0, 50, 60.0
PROTOCOL = (
    "Times are processor time with one thread, which other work on the machine changes least. "
    "Forward and backward: the three networks of the row above in float32, the mean square of "
    "the answer brought back to all weights, turn by turn in one process after one warm-up; a "
    "ratio is the median of those within each round. Memory: largest resident memory of a fresh "
    "process that does two such steps, less what it held before the network was made (weights, "
    "gradients and what is kept between). Heads: one window of 48 x 64 x 64 voxels, as "
    "`lamina mri super-resolve` shows it to `heads-1mm` in the precision it computes in here, "
    "against `DiffusionModelUNet` of as many levels and the same widths (64, 128, 192), one "
    "residual block a level, attention at the coarsest level, which sees the same three channels. "
    "Against its 50-step pipeline: 50 such calls a window over the 2 steps of ours, at an equal "
    "number of samples; extrapolated from the window. Share of the peak: operations of that "
    "window (products, convolutions, attention) over its least time, against as many bfloat16 "
    "convolutions of 3 x 3 x 3 from 128 to 128 channels on 24 x 32 x 32 voxels."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Time and weigh them in turn."""
    rounds = 2 if quick else 15 if full else 5
    return Row(
        title="Beside MONAI and diffusers",
        protocol=PROTOCOL,
        figures=[*_trained(rounds), *_weighed(), *_heads(rounds)],
    )


def _trained(rounds: int) -> list[Figure]:
    steps = {who: step(who) for who in ("ours", *FASTER)}
    times = turns(steps, rounds)
    return [
        ratio(f"{who} over ours, forward and backward", times[who], times["ours"], least)
        for who, least in FASTER.items()
    ]


def step(who: str) -> Callable[[], object]:
    """One forward and backward of a network of the row of networks, in float32."""
    network, forward = networks(torch.float32)[who]()
    network.train().requires_grad_(True)

    def work() -> None:
        network.zero_grad(set_to_none=True)
        forward()[0].square().mean().backward()

    return work


def _weighed() -> list[Figure]:
    words = [sys.executable, "-m", "tests.benchmarks.peers"]
    mib = {
        who: float(
            subprocess.run([*words, who], check=True, capture_output=True, text=True).stdout
        )
        for who in ("ours", *LIGHTER)
    }
    return [
        Figure(
            name=f"ours over {who}, memory of a training step",
            value=mib["ours"] / mib[who],
            unit="times",
            high=most,
            note=f"{mib['ours']:.0f} over {mib[who]:.0f} MiB",
        )
        for who, most in LIGHTER.items()
    ]


def _heads(rounds: int) -> list[Figure]:
    dtype = inference_dtype("cpu")
    d, h, w = Tiling().size
    torch.manual_seed(0)
    z, beside = torch.randn(1, 1, d, h, w), torch.randn(1, 2, d, h, w)
    ours = load_model(find_model("heads-1mm", "mri"), dtype=dtype)[0]
    monai = _monai().to(dtype).eval().requires_grad_(False)
    level, shown = torch.tensor([0.5]), torch.cat([z, beside], 1).to(dtype)
    told = Conditioning(concat=beside)
    tried = {
        "ours": lambda: ours(z, level, level, told),
        "MONAI": lambda: monai(shown, torch.tensor([500])),
        "peak": _convolution(),
    }
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counted:
            tried["ours"]()
        with FlopCounterMode(display=False) as possible:
            tried["peak"]()
        times = turns(tried, rounds)
    rate = counted.get_total_flops() / min(times["ours"]) / 1e9
    peak = possible.get_total_flops() / min(times["peak"]) / 1e9
    whole = [STEPS * seconds for seconds in times["MONAI"]]
    both = [2 * seconds for seconds in times["ours"]]
    return [
        ratio("MONAI over ours, a window of a head", times["MONAI"], times["ours"], HEADS),
        ratio("MONAI's 50 steps over our 2, a window of a head", whole, both),
        Figure(
            name="share of the bfloat16 peak, sampling heads",
            value=100 * rate / peak,
            unit="%",
            low=SHARE,
            note=f"{rate:.0f} of {peak:.0f} GFLOP/s",
        ),
    ]


def _monai() -> nn.Module:
    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=3,
        out_channels=1,
        num_res_blocks=1,
        channels=(64, 128, 192),
        attention_levels=(False, False, True),
        norm_num_groups=32,
        num_head_channels=64,
    )


def _convolution() -> Callable[[], object]:
    made = nn.Conv3d(128, 128, 3, padding=1).to(torch.bfloat16).requires_grad_(False)
    made = made.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]
    x = torch.randn(1, 128, 24, 32, 32, dtype=torch.bfloat16)
    x = x.to(memory_format=torch.channels_last_3d)
    return lambda: made(x)


def _held_mib(what: str) -> float:
    """VmRSS, or its peak VmHWM, of this program alone; ``getrusage`` tells its parent's, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def main() -> None:
    """Two steps of one network; MiB that they took."""
    before = _held_mib("VmRSS")
    work = step(sys.argv[1])
    for _ in range(2):
        work()
    sys.stdout.write(f"{_held_mib('VmHWM') - before}\n")


if __name__ == "__main__":
    main()
