"""What a benchmark found: figures held against their targets, as JSON and as a page."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from core.records import atomic_path

THREADS = 2
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
WIDEST = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number and, where the project has set one, the range it should lie in.

    Attributes:
        name: What was measured.
        value: The number.
        unit: Of the number; empty for a share or a ratio.
        low: Least value that meets the target; None without one.
        high: Largest value that meets the target; None without one.
        note: A spread, or what else belongs beside the number.
        interval: 95 % interval of the number; None where it has none.
        cases: How many cases the number stands on; None where it says nothing.
    """

    name: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    note: str = ""
    interval: tuple[float, float] | None = None
    cases: int | None = None

    @property
    def missed_by(self) -> float:
        """Distance from the target; 0 where it is met or where there is none."""
        below = 0.0 if self.low is None else self.low - self.value
        above = 0.0 if self.high is None else self.value - self.high
        return max(0.0, below, above)

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        if self.low is not None and self.high is not None:
            return f"{_number(self.low)} to {_number(self.high)}"
        if self.low is not None:
            return f"at least {_number(self.low)}"
        return "" if self.high is None else f"at most {_number(self.high)}"

    @property
    def verdict(self) -> str:
        """Whether the target is met, and by how much it is missed."""
        if not self.target:
            return ""
        missed = self.missed_by
        return f"**missed by {_number(missed)}**" if missed else "met"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers side by side, ready to print; the first column names the line."""

    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a row, and what it shows.

    Attributes:
        name: Of the file in the page's folder of pictures.
        caption: What is seen, in what units, and how it was chosen.
    """

    name: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One benchmark.

    Attributes:
        title: For the page.
        protocol: How it was measured, in full sentences.
        figures: What came out.
        notes: What a reader must know, among it why a target was missed.
        tables: Further numbers, side by side.
        pictures: Of what the numbers say.
        details: Anything else worth keeping, for the JSON alone.
    """

    title: str
    protocol: str
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_record(
        self, *, seconds: float, options: Mapping[str, Any], load: float
    ) -> dict[str, Any]:
        """The row with when, where and how it was run; ``load`` is that before the run."""
        figures = [asdict(f) | {"target": f.target, "verdict": f.verdict} for f in self.figures]
        return {
            **asdict(self),
            "figures": figures,
            "measured": datetime.now(UTC).isoformat(timespec="minutes"),
            "seconds": round(seconds, 1),
            "options": dict(options),
            "machine": machine() | {"load_before": round(load, 1)},
        }


def machine() -> dict[str, Any]:
    """The machine as far as it matters to speed."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "flags": [flag for flag in FLAGS if flag in _flags()],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def kind_of(where: Mapping[str, Any]) -> str:
    """The kind of processor in a few words: its name, its widest instructions, its cores.

    Example:
        >>> kind_of({"processor": "AMD EPYC", "flags": ["avx2", "avx512f"], "cores": 2})
        'AMD EPYC (avx512f, 2 cores)'
    """
    name = where["processor"].replace("(R)", "").replace(" Processor", "")
    widest = [flag for flag in WIDEST if flag in where["flags"]][:1]
    return f"{name} ({', '.join([*widest, str(where['cores']) + ' cores'])})"


def keep_beside(path: Path, key: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Put one row into the JSON file beside what other kinds of processors gave; return all."""
    rows = json.loads(path.read_text()) if path.exists() else {}
    return keep(path, key, {**rows.get(key, {}), kind_of(record["machine"]): record})


def keep(path: Path, key: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Put one row into the JSON file, leave the others, and return them all."""
    rows = json.loads(path.read_text()) if path.exists() else {}
    rows[key] = record
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(rows, indent=2) + "\n")
    return rows


def _processor() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _flags() -> set[str]:
    for line in _cpuinfo():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
