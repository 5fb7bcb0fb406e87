"""Noise that belongs to a sample, not to a batch, and weights that belong to a seed."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from core.tensors import Volumes

Network = TypeVar("Network", bound=nn.Module)


def generator(seed: int, *path: int) -> torch.Generator:
    """A CPU generator for one place in the work: (seed, step, rank), (seed, sample), ...

    The words are mixed with SplitMix64, so that neighbors do not share a stream.
    """
    state = seed & 0xFFFFFFFFFFFFFFFF
    for word in (len(path), *path):
        state = (state ^ (word & 0xFFFFFFFFFFFFFFFF)) + 0x9E3779B97F4A7C15
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return torch.Generator().manual_seed(state & 0x7FFFFFFFFFFFFFFF)


def noise(
    shape: tuple[int, ...], seed: int, *, sample: int = 0, antithetic: bool = False
) -> Volumes:
    """Standard normal noise of one sample: (1, *shape), the same alone and in any batch.

    Args:
        shape: (C, D, H, W).
        seed: The request's seed.
        sample: Which of the K samples.
        antithetic: Samples 2k and 2k + 1 get opposite noise. Each is still a fair draw, and
            the error of their mean that is odd in the noise cancels exactly
            (Hammersley & Morton 1956).
    """
    stream = sample - sample % 2 if antithetic else sample
    drawn = torch.randn((1, *shape), generator=generator(seed, stream))
    return -drawn if stream != sample else drawn


def normal(shape: Sequence[int], random: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers on a device, which follow from a CPU generator.

    On a GPU they are made there, by a generator of its own that starts where this one stands.
    """
    if device.type != "cuda":
        return torch.randn(tuple(shape), generator=random).to(device)
    start = int(torch.randint(2**62, (), generator=random))
    there = torch.Generator(device).manual_seed(start)
    return torch.randn(tuple(shape), generator=there, device=device)


def noise_batch(
    shape: tuple[int, ...], seed: int, samples: range, *, antithetic: bool = False
) -> Volumes:
    """The noise of several samples: (len(samples), *shape)."""
    return torch.cat([noise(shape, seed, sample=i, antithetic=antithetic) for i in samples])


def initialized(build: Callable[[], Network], seed: int) -> Network:
    """A network whose first weights follow from the seed; the process's own stream is left alone.

    Args:
        build: Makes the network, drawing its weights from torch's global generator.
        seed: Of the training run.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # manual_seed alone would seed GPUs too
        return build()
