"""A finer head from a thick-slice scan by an exported model, in numpy around one compiled graph.

All but the network, the walk and the noise is the code of ``medical.operations.super_resolve``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from core.operations.linear_operators import consistent
from core.operations.moments import Moments, folded
from core.operations.windows import Window
from core.records import RESEARCH_USE, atomic_path, check_target, sha256_file
from core.refusal import Refusal
from core.runner.command import check_bounds, ended, progress
from core.runner.graphs import Graphs, cache_folder
from core.runner.noise import noise
from core.runner.walks import flow_map, shifted
from core.trouble import Trouble
from medical.acquisition.intensity import refuse_mask
from medical.files.nifti import read_plain
from medical.files.privacy import removal_remarks
from medical.files.synthetic import as_said_beside
from medical.operations.error_map import ErrorHead, head_of
from medical.operations.mirrors import Mirror, mirrored, mirrors
from medical.operations.problem import Problem, prepare, protected_voxels
from medical.operations.residual import RESIDUAL_SCALE
from medical.operations.restoration import Restoration, output_paths
from medical.operations.restoring import Drawn, Tiling, cover, finished
from medical.operations.verification import check_restored

if TYPE_CHECKING:
    from medical.files.volume import Volume
    from medical.request import SuperResolutionRequest

Floats = NDArray[np.float32]
GRAPH = "restorer"
BOUNDS = {
    "samples": (1, 64),
    "steps": (1, 50),
    "seed": (0, 2**31 - 1),
    "slice_thickness_mm": (0, 20),
    "slice_gap_mm": (0, 20),
    "noise_std": (-1, 0.2),
}
SPACING_MM = (0.2, 20.0)


@dataclass(frozen=True)
class Wish:
    """What is asked of an exported model; as the fields of a request are called."""

    scan: str
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    samples: int = 4
    steps: int = 2
    seed: int = 0
    slice_thickness_mm: float = 0.0
    slice_gap_mm: float = 0.0
    profile: str = "gaussian"
    noise_std: float = -1.0
    protect: str = ""
    model: str = "heads-1mm"
    edition: int = 5

    @property
    def request(self) -> SuperResolutionRequest:
        """The same to code that reads a request, whose class needs pydantic."""
        return cast("SuperResolutionRequest", self)

    def check(self) -> None:
        """Refuse numbers that a request of ``lamina`` refuses."""
        check_bounds(vars(self), BOUNDS)
        for value in self.spacing_mm:
            check_bounds({"spacing_mm": value}, {"spacing_mm": SPACING_MM})


class HeadRunner:
    """An exported model of heads.

    Args:
        folder: That ``lamina export`` wrote.
        cache: Where compiled graphs are kept; None for nowhere.
    """

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.graphs = Graphs(folder, "mri", cache)
        self.record = self.graphs.record
        self.facts: dict[str, Any] = self.record["sampling"]

    def errors(self) -> ErrorHead | None:
        """What predicts the network's errors; None where nothing does."""
        told = self.facts["errors"]
        if not told:
            return None
        arrays = {name: np.array(values, np.float32) for name, values in told.items()}
        return head_of(cast("Any", arrays))

    def restore(self, scan: Volume, wish: Wish) -> Restoration:
        """The restoration of a scan whose voxels are an array."""
        request = wish.request
        problem = prepare(scan, request)
        mask = protected_voxels(read_plain(wish.protect), scan, problem) if wish.protect else None
        base = problem.back_projection()
        size = tuple(self.facts["window"])
        parts = cover(base, Tiling(size=size, cell=self.facts["cell"], shrinks=False))
        drawn = [Drawn(base, self._moments(problem, cast("Any", base), parts, wish), parts)]
        del base  # so that it goes as soon as it was used
        return finished(scan, request, problem, drawn.pop(), mask=mask, errors=self.errors())

    def _moments(
        self, problem: Problem, base: Floats, parts: Sequence[Window], wish: Wish
    ) -> Moments:
        missing = cast("Any", problem.scan) - problem.operator.apply(cast("Any", base))
        measured = (missing / np.float32(RESIDUAL_SCALE))[None, None]
        weight, turns = problem.obedience, mirrors(wish.request)
        ask = self._denoise(problem, base, parts, wish)
        levels, shape = shifted(wish.steps, 1.0), (1, *problem.acquired.shape)

        def drawn() -> Iterator[Any]:
            for k in range(wish.samples):
                seen: Any = partial(ask, turns[k % len(turns)])
                denoise: Any = consistent(seen, problem.operator, measured, weight=weight)
                start = noise(shape, wish.seed, sample=k, antithetic=True)
                yield flow_map(denoise, start, levels)[0]

        return folded(drawn(), wish.samples)

    def _denoise(
        self, problem: Problem, base: Floats, parts: Sequence[Window], wish: Wish
    ) -> Callable[[Mirror, Floats, float, float], Floats]:
        """The network over all windows in a mirror, blended; see ``core.operations.tiling``."""
        acquired, lands = problem.acquired, self.facts["landings"]
        one_more = progress(wish.samples * wish.steps * len(parts), "window")
        told = {
            "spacing": np.array([acquired.spacing_mm], np.float32),
            "resolution": np.array([acquired.resolution_mm()], np.float32),
        }

        def denoise(mirror: Mirror, z: Floats, t: float, r: float) -> Floats:
            whole: Any = np.zeros_like(z)
            level = np.full(1, t, np.float32)
            told.update(t=level, r=np.full(1, r, np.float32) if lands else level)
            for part in parts:
                cut = z[(..., *part.slices)]
                beside: Any = problem.channels(cast("Any", base), part.slices)
                shown: dict[str, Any] = {"z": cut, "concat": beside}
                asked = {name: self._grown(mirrored(x, mirror)) for name, x in shown.items()}
                velocity: Any = self.graphs.run(GRAPH, told | asked)
                velocity = velocity[(..., *(slice(n) for n in cut.shape[2:]))]
                velocity = mirrored(velocity, mirror)
                estimate = cut - level[0] * velocity
                whole[(..., *part.slices)] += part.weight(whole) * estimate
                one_more()
            return whole

        return denoise

    def _grown(self, x: Any) -> Floats:
        """A window of a head that is smaller than the graph's, its ends repeated."""
        ends = [(0, n - m) for n, m in zip(self.facts["window"], x.shape[2:], strict=True)]
        if not any(end for _, end in ends):
            return np.ascontiguousarray(x)
        return np.pad(x, [(0, 0), (0, 0), *ends], mode="edge")


def make(
    folder: Path,
    wish: Wish,
    target: Path,
    *,
    overwrite: bool = False,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Write a finer head and its two maps, verified, and their record beside them; the record.

    Raises:
        Refusal: Something cannot be made as asked.
        Trouble: What was made is not what was asked for; nothing of it stays.
    """
    began = time.perf_counter()
    paths = output_paths(target)
    beside = target.with_name(target.name.removesuffix(".gz")).with_suffix(".json")
    for path in (*paths.values(), beside):
        check_target(path, overwrite=overwrite)
    runner = HeadRunner(folder, cache)
    wish = replace(wish, model=runner.record["name"])
    scan = as_said_beside(read_plain(wish.scan), wish.scan)
    refuse_mask(scan, wish.scan)
    ready = time.perf_counter()
    restored = runner.restore(scan, wish)
    drawn = time.perf_counter()
    shown = _written(restored, scan, paths, wish)
    record = {
        "format_version": 1,
        "task": "super_resolve_mri",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_by": "runner",
        "request": dict(vars(wish)),
        "seeds": wish.seed,
        "model": {
            **{key: runner.record[key] for key in ("name", "kind", "weights", "source_sha256")},
            "export": runner.record["digest"],
        },
        "inputs": {
            role: _described(Path(path))
            for role, path in (("scan", wish.scan), ("protect", wish.protect))
            if path
        },
        "outputs": {role: _described(path) for role, path in paths.items()},
        "timings_s": {
            "read": round(ready - began, 3),
            "restore": round(drawn - ready, 3),
            "total": round(time.perf_counter() - began, 3),
        },
        "versions": runner.graphs.versions("nibabel", "scipy"),
        "extra": {"removed_from_header": list(scan.header.removed), **restored.record(), **shown},
        "intended_use": RESEARCH_USE,
    }
    with atomic_path(beside, overwrite=overwrite) as temporary:
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", "utf-8")
    return record


def _written(
    restored: Restoration, scan: Volume, paths: Mapping[str, Path], wish: Wish
) -> dict[str, Any]:
    """What the volumes show, read back and held against the scan before they replace others."""
    target = paths["result"]
    with TemporaryDirectory(prefix=".part-", dir=target.parent) as place:
        fresh = restored.write(Path(place) / target.name)
        try:
            result, std = read_plain(fresh["result"]), read_plain(fresh["std"])
            protect = read_plain(wish.protect) if wish.protect else None
            shown = dict(check_restored(scan, result, std, wish.request, protect))
        except (RuntimeError, Refusal, OSError) as error:
            raise Trouble(str(error)) from error
        for role, path in fresh.items():
            path.replace(paths[role])
    return shown


def _described(path: Path) -> dict[str, Any]:
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def main(folder: Path, words: Sequence[str]) -> int:
    """Restore one head as the command line says; the exit code, as that of ``lamina``."""
    said, more = _reader().parse_known_args(words)
    return ended(lambda: _restored(folder, vars(said), more))


def _restored(folder: Path, said: dict[str, Any], more: Sequence[str]) -> Iterator[str]:
    if more:
        raise Refusal(
            f"{more[0]}: an exported model restores a scan as `run.py --help` says, and nothing "
            "else; where Lamina is installed, `lamina mri super-resolve` has the other options."
        )
    target, overwrite, cache = (said.pop(name) for name in ("target", "overwrite", "cache"))
    wish = Wish(**{**said, "spacing_mm": tuple(said["spacing_mm"])})
    wish.check()
    record = make(folder, wish, target, overwrite=overwrite, cache=cache_folder(folder, cache))
    yield from removal_remarks(record["extra"]["removed_from_header"])
    yield from record["extra"].get("remarks", ())
    yield str(target)


def _reader() -> argparse.ArgumentParser:
    usual = Wish("")
    reader = argparse.ArgumentParser(
        prog="run.py", description="A finer volume from a thick-slice scan of a head."
    )
    reader.add_argument("scan", help="NIfTI file with one 3-D image")
    reader.add_argument("target", type=Path, help="such as head.nii.gz; two maps go beside it")
    reader.add_argument("--spacing-mm", type=float, nargs=3, default=usual.spacing_mm)
    for name in ("samples", "steps", "seed"):
        reader.add_argument(f"--{name}", type=int, default=getattr(usual, name))
    for name in ("slice-thickness-mm", "slice-gap-mm", "noise-std"):
        default = getattr(usual, name.replace("-", "_"))
        reader.add_argument(f"--{name}", type=float, default=default)
    reader.add_argument("--profile", choices=("gaussian", "box"), default=usual.profile)
    reader.add_argument("--protect", default="", help="NIfTI mask where the scan stays as it is")
    reader.add_argument("--overwrite", action="store_true")
    reader.add_argument(
        "--cache", help="folder for compiled graphs, so that the next start is quick; off for none"
    )
    return reader
