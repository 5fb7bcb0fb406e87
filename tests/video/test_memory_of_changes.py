"""What painting a long clip takes in memory is within what its estimate counts."""

import os
import subprocess
import sys

from video.operations.changed_clip import HELD

PAINTS = """
from pathlib import Path
from types import SimpleNamespace
import numpy as np, torch
import video.engines.own_canvas as own_canvas
from core.sampling.samplers import flow_map
from video.engines.canvas import Canvas
from video.engines.own import to_frames

class Told:
    def to(self, device):
        return self

own_canvas.painting = lambda *_, **__: lambda z, t, r: torch.zeros_like(z)
own_canvas.reachable = lambda _, levels: levels
own_canvas.walk_of = lambda *_: flow_map

def paint(count):
    shape = (count, 64, 64)
    canvas = Canvas(np.ones((*shape, 3), np.uint8), np.ones(shape, bool))
    network, asked = torch.nn.Linear(1, 1), SimpleNamespace(steps=4, seed=0)
    told = {"layout": None, "on_step": lambda *_: None}
    canvas.paste(to_frames(own_canvas.paint(canvas, asked, Told(), network, {}, **told)).numpy())

def peak():
    said = Path("/proc/self/status").read_text()  # ru_maxrss begins at that of the parent
    return int(said.partition("VmHWM:")[2].split()[0]) * 1024

paint(16)
before = peak()
paint(1536)
print((peak() - before) / (1536 * 64 * 64))
"""


def test_the_estimate_counts_what_painting_holds():
    words = [sys.executable, "-c", PAINTS]
    kept = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(words, capture_output=True, text=True, check=True, env=kept, timeout=80)
    assert 60 < float(found.stdout) < 0.95 * HELD["own"]
