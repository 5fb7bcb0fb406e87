"""The noise of ``core.seeds`` without torch: the same numbers, but for the last bits of some.

Torch draws 24 bits a number from a Mersenne twister (Matsumoto & Nishimura 1998) and turns two of
them into two normal numbers (Box & Muller 1958), sixteen at a time.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BLOCK = 16
WORD = 0xFFFFFFFFFFFFFFFF


def state_of(seed: int, *path: int) -> int:
    """The seed of one place in the work, as ``core.seeds.generator`` mixes it."""
    state = seed & WORD
    for word in (len(path), *path):
        state = (state ^ (word & WORD)) + 0x9E3779B97F4A7C15
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF


def noise(
    shape: tuple[int, ...], seed: int, *, sample: int = 0, antithetic: bool = False
) -> Floats:
    """Standard normal noise of one sample, (1, *shape); see ``core.seeds.noise``."""
    stream = sample - sample % 2 if antithetic else sample
    drawn = normal((1, *shape), state_of(seed, stream))
    return -drawn if stream != sample else drawn


def normal(shape: tuple[int, ...], state: int) -> Floats:
    """What ``torch.randn`` gives after ``manual_seed(state)``, of at least 16 numbers."""
    count = int(np.prod(shape))
    assert count >= BLOCK, f"{count} numbers: fewer than {BLOCK} are drawn in another way"
    twister = np.random.RandomState(state & 0xFFFFFFFF)
    even = _uniform(twister, count)
    blocks = count // BLOCK * BLOCK
    found = np.empty(count, dtype=np.float32)
    found[:blocks] = _box_muller(even[:blocks])
    if blocks < count:  # the last sixteen are drawn anew
        found[-BLOCK:] = _box_muller(_uniform(twister, BLOCK))
    return found.reshape(shape)


def _uniform(twister: np.random.RandomState, count: int) -> Floats:
    """Numbers of 24 bits in [0, 1)."""
    words = twister.randint(0, 2**32, size=count, dtype=np.uint32)
    return (words & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)


def _box_muller(even: Floats) -> Floats:
    """Of each sixteen numbers, the first eight are radii and the others angles."""
    pairs = even.reshape(-1, 2, BLOCK // 2)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - pairs[:, 0]))
    angle = np.float32(2 * np.pi) * pairs[:, 1]
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return both.astype(np.float32).reshape(-1)
