"""What work costs, counted: ``python -m tests.benchmarks.counts`` prints it, ``--save`` keeps it.

Products, operations, bytes copied and files imported are the same in every run and on every
machine (counted in float32), so a test holds them against ``docs/counts.json``: what became dearer
by accident is seen before anybody times it.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from core.records import atomic_path
from tests.benchmarks.tasks import TASKS

KEPT = Path(__file__).parents[2] / "docs" / "counts.json"
COPIES = ("copy_", "clone", "_to_copy", "cat", "stack", "repeat")
COUNTED = tuple(name for name in TASKS if "bfloat16" not in name)
HEAVY = ("torch", "diffusers", "transformers", "monai", "prefect", "scipy", "openvino")
OURS = ("core", "flows", "lamina", "medical", "video")
STARTS = {
    "lamina --help": "import flows.commands.command_line as c\n"
    "try: c.main(['--help'])\nexcept SystemExit: pass",
    "import lamina": "import lamina",
    "flow text_to_video": "import flows.text_to_video",
    "flow super_resolve_mri": "import flows.super_resolve_mri",
}
CHILD = "import lamina\nfrom tests.benchmarks.counts import tell\ntell()"  # before torch is loaded
Counts = dict[str, dict[str, int | str]]


class Copies(TorchDispatchMode):
    """Counts operations, and the bytes that copies among them write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.written = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Do what is asked, and count it."""
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        if func.overloadpacket.__name__ in COPIES and isinstance(out, torch.Tensor):
            self.written += out.numel() * out.element_size()
        return out


def of_work(task: str) -> dict[str, int | str]:
    """Products, operations and bytes copied of one task."""
    work = TASKS[task]()
    work()  # what is made once and kept is not counted
    with FlopCounterMode(display=False) as products:
        work()
    with Copies() as copies:
        work()
    return {
        "flop": products.get_total_flops(),
        "operations": copies.operations,
        "bytes copied": copies.written,
    }


def of_start(program: str) -> dict[str, int | str]:
    """Files of the project, and large packages, that a program imports."""
    asks = (
        f"\nimport sys\nnames = set(sys.modules)\nours = {OURS!r}\n"
        "sys.stderr.write('\\n%d %s' % (sum(n.partition('.')[0] in ours for n in names), "
        f"' '.join(n for n in {HEAVY!r} if n in names)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program + asks], capture_output=True, text=True, check=True
    )
    number, _, heavy = told.stderr.splitlines()[-1].partition(" ")
    return {"files": int(number), "packages": heavy}


def counted() -> Counts:
    """All counts, in a process of its own, whose arithmetic no processor decides."""
    told = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=os.environ | {"LAMINA_NUMERICS": "portable"},
        cwd=KEPT.parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(told.stdout.splitlines()[-1])


def dearer(now: Mapping[str, Mapping], kept: Mapping[str, Mapping]) -> list[str]:
    """What costs more than was kept, or other packages, in words."""
    found = []
    for task, counts in now.items():
        for name, value in counts.items():
            before = kept.get(task, {}).get(name)
            if value == before or (isinstance(value, int) and value < (before or 0)):
                continue
            found.append(f"{task}, {name}: {value}, kept {before}")
    return found


def tell() -> None:
    """Write all counts, as this process finds them, as one line."""
    found = {task: of_work(task) for task in COUNTED}
    found |= {name: of_start(program) for name, program in STARTS.items()}
    sys.stdout.write(f"{json.dumps(found)}\n")


def main() -> int:
    """Print the counts, or keep them."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.counts", description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write docs/{KEPT.name}")
    asked = parser.parse_args()
    counts = counted()
    for task, each in counts.items():
        told = ", ".join(f"{name} {value}" for name, value in each.items())
        sys.stdout.write(f"{task}: {told}\n")
    if asked.save:
        with atomic_path(KEPT, overwrite=True) as temporary:
            temporary.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
