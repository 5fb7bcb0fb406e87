"""What is worked on a few planes at a time is what it would be at once."""

import numpy as np
import torch

from core import arrays
from core.arrays import by_slabs, slabs, turned


def test_slabs_cover_the_first_axis_once(monkeypatch):
    monkeypatch.setattr(arrays, "SLAB", 7)
    for shape in ((1,), (20,), (5, 3), (3, 4, 5), (9, 1, 1)):
        x = np.arange(np.prod(shape)).reshape(shape)
        assert np.concatenate([x[part] for part in slabs(x)]).tolist() == x.tolist()


def test_values_are_those_of_the_whole_whatever_the_layout(monkeypatch):
    monkeypatch.setattr(arrays, "SLAB", 50)
    plain = np.random.default_rng(0).standard_normal((7, 5, 6)).astype(np.float32)
    for x in (plain, torch.from_numpy(plain)):
        view = turned(x, (2, 0, 1))

        def work(part):
            return part * 3 - 1

        made = by_slabs(work, view)
        assert bool((made == work(view)).all())
        assert tuple(made.shape) == (6, 7, 5)
        out = work(view) * 0
        assert by_slabs(work, view, out=out) is out
        assert bool((out == made).all())
    assert by_slabs(work, torch.tensor(2.0)) == 5.0
    assert by_slabs(work, torch.zeros(0, 3)).shape == (0, 3)
