"""Work that is timed at two commits: ``python tasks.py``, with a checkout on ``PYTHONPATH``.

Reads the name of a task a line, does it once and writes its seconds. It is a program of its own,
so that the same work is asked of commits that have no such file, by names that all of them have.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import core
import lamina
from core.conditioning import Conditioning
from core.networks.unet import SpatioTemporalUNet

WIDTHS, SHAPE, TOKENS = (64, 128, 256), (1, 4, 16, 32, 32), (1, 77, 384)
Work = Callable[[], object]


def forward(dtype: torch.dtype) -> Work:
    """One pass of the network of the benchmark page, keys of the text computed anew."""
    network, asked = _network(dtype)

    def work() -> object:
        with torch.inference_mode():
            return network(*asked)

    return work


def training_step() -> Work:
    """Forward and backward in float32."""
    network, asked = _network(torch.float32)
    network.requires_grad_(True).train()

    def work() -> None:
        network.zero_grad(set_to_none=True)
        network(*asked).square().mean().backward()

    return work


def clip() -> Work:
    """A clip by the shipped model, loaded before: 16 frames of 64 x 64."""
    model = lamina.load("scenes-64")
    return lambda: lamina.generate("two red circles move left", model=model, seed=7)


def head() -> Work:
    """A small head restored by the shipped model, loaded before: 48 x 48 x 12 voxels of 4 mm."""
    model = lamina.load("heads-1mm")
    across, along = np.indices((48, 48, 12))[0::2] - np.array([23.5, 5.5])[:, None, None, None]
    ball = 500 * np.exp(-((across / 16) ** 2) - (along / 4) ** 2)
    ball += 100 * (np.indices(ball.shape)[1] // 6 % 2) * (ball > 100)
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    scan = lamina.Volume(torch.from_numpy(ball.astype(np.float32)), affine)
    return lambda: lamina.super_resolve(scan, model=model, samples=1)


TASKS: dict[str, Callable[[], Work]] = {
    "forward, float32": lambda: forward(torch.float32),
    "forward, bfloat16": lambda: forward(torch.bfloat16),
    "forward and backward, float32": training_step,
    "clip, warm": clip,
    "head of one window, warm": head,
}


def _network(dtype: torch.dtype) -> tuple[SpatioTemporalUNet, tuple]:
    torch.manual_seed(0)
    network = SpatioTemporalUNet(in_channels=4, block_out_channels=WIDTHS, text_channels=384)
    z, tokens, level = torch.randn(SHAPE), torch.randn(TOKENS), torch.tensor([0.5])
    asked = (z.to(dtype), level, level, Conditioning(tokens=tokens.to(dtype)))
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
    return network.eval(), asked


def main() -> None:
    """Say whose code this is, then answer until nothing more is asked."""
    _say(str(Path(core.__file__).resolve().parents[1]))
    ready: dict[str, Work] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            ready[name] = TASKS[name]()
            ready[name]()
        start = time.perf_counter()
        ready[name]()
        _say(repr(time.perf_counter() - start))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
