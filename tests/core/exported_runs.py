"""Runs of an exported model in one process where its few libraries alone can be imported."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BANNED = {
    *("accelerate", "diffusers", "flows", "jaxtyping", "lamina", "monai", "prefect", "pydantic"),
    *("requests", "safetensors", "torch", "transformers"),
}
ALONE = """
import io, json, runpy, socket, sys
from contextlib import redirect_stderr, redirect_stdout
run, banned, cases = sys.argv[1], set(sys.argv[2].split()), json.loads(sys.argv[3])
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in banned:
            raise ImportError(f"{name} is not for the runner")
def refused(*args, **kwargs):
    raise OSError("the runner opens no connection")
sys.meta_path.insert(0, Hook())
socket.socket.connect = refused
ends = []
for words in cases:
    sys.argv = [run, *words]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            runpy.run_path(run, run_name="__main__")
        except SystemExit as end:
            ends.append([end.code, out.getvalue(), err.getvalue()])
floors = ("core", "medical", "video")
ours = {m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] in floors}
assert all(file.startswith(run.removesuffix("run.py")) for file in ours), ours
assert not banned & {name.partition(".")[0] for name in sys.modules}
print(json.dumps(ends))
"""


OTHER = {"openvino": "onnx onnxruntime", "onnx": "onnx openvino"}
"""What graphs of each format do without."""


@dataclass(frozen=True)
class Ended:
    """What a run ended with."""

    returncode: int
    stdout: str
    stderr: str


def ends(folder: Path, cases, *, banned: str, cache: Path) -> list[Ended]:
    """How ``run.py`` of an exported model ends, for each list of words, one after another.

    Args:
        folder: Of the exported model.
        cases: Lists of words.
        banned: What cannot be imported beside ``BANNED``.
        cache: Where compiled graphs are kept.
    """
    told = json.dumps([[*map(str, words), "--cache", str(cache)] for words in cases])
    other = OTHER[json.loads((folder / "model.json").read_text())["format"]]
    names = " ".join({*BANNED, *banned.split(), *other.split()})
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(folder / "run.py"), names, told],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return [Ended(*end) for end in json.loads(done.stdout.splitlines()[-1])]


def runs_of(usual: Path, cache: Path, *, banned: str):
    """``ends`` of lists of words, of the usual folder or another; graphs are compiled once."""

    def of(*cases, folder=usual):
        return ends(folder, cases, banned=banned, cache=cache)

    return of
