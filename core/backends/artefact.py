"""An exported model as a folder: graphs, constants, the code that runs them, and a record."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openvino as ov

from core.backends.weights import in_integers
from core.records import sha256_file
from core.refusal import Refusal
from core.runner.graphs import FORMAT_VERSION, RECORD

WEIGHTS = ("float16", "float32", "int8")
LANDINGS = {"flow_matching": False, "average_velocity": True}
"""Families that are walked by ``flow_map``, and whether their networks know landings."""
RUN = '''"""{what}: `{shown}`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "code"))

if __name__ == "__main__":
    from {main} import main

    sys.exit(main(HERE, sys.argv[1:]))
'''


@dataclass(frozen=True)
class Artefact:
    """What is exported of a model.

    Attributes:
        graphs: By name.
        copied: Files that are copied as they are, by their new name.
        modules: The code that runs it, such as ``core.refusal``.
        needs: Distributions that this code imports.
        main: Module with ``main(folder, words)``.
        what: One sentence for ``run.py``.
        shown: A command that runs it.
        facts: For the record.
    """

    graphs: Mapping[str, ov.Model]
    copied: Mapping[str, Path]
    modules: Sequence[str]
    needs: Sequence[str]
    main: str
    what: str
    shown: str
    facts: Mapping[str, Any]


def write_artefact(
    out: Path, record: Mapping[str, Any], weights: str, made: Callable[[], Artefact]
) -> Path:
    """Write the folder whole, or not at all.

    Args:
        out: Must not exist yet.
        record: Of the model.
        weights: How they are stored, one of ``WEIGHTS``.
        made: Makes what is exported, once all that was asked is known to be lawful.

    Raises:
        Refusal: The folder exists, or there is no such way to store weights.
    """
    _check(out, weights)
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    fresh.mkdir()
    try:
        artefact = made()
        for name, graph in artefact.graphs.items():
            stored = in_integers(graph) if weights == "int8" else graph
            ov.save_model(stored, fresh / f"{name}.xml", compress_to_fp16=weights != "float32")
        for name, source in artefact.copied.items():
            shutil.copyfile(source, fresh / name)
        _copy_code(fresh, artefact)
        _describe(fresh, record, weights, artefact)
        os.replace(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


def _check(out: Path, weights: str) -> None:
    if weights not in WEIGHTS:
        raise Refusal(
            f"weights={weights!r}: weights are stored as one of {', '.join(WEIGHTS)}; name one."
        )
    if out.exists():
        raise Refusal(
            f"{out} exists: an exported model never replaces another; choose a new name or move "
            "it away."
        )
    if not out.parent.is_dir():
        raise Refusal(f"{out}: the folder {out.parent} does not exist; create it first.")


def _copy_code(fresh: Path, artefact: Artefact) -> None:
    """The modules, and the packages that they are in, below ``code``."""
    packages = {m.rsplit(".", n)[0] for m in artefact.modules for n in range(1, m.count(".") + 1)}
    for module in {*artefact.modules, *packages}:
        spec = find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin)
        parts = module.split(".")
        target = fresh / "code" / Path(*parts)
        target = target / "__init__.py" if module in packages else target.with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    run = RUN.format(what=artefact.what, shown=artefact.shown, main=artefact.main)
    (fresh / "run.py").write_text(run, encoding="utf-8")
    needed = [f"{name}=={version(name)}" for name in sorted(artefact.needs)]
    (fresh / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")


def _describe(fresh: Path, record: Mapping[str, Any], weights: str, artefact: Artefact) -> None:
    """Write what it is, with the digest of every file."""
    files = sorted(path for path in fresh.rglob("*") if path.is_file())
    digests = {str(path.relative_to(fresh)): sha256_file(path) for path in files}
    kept = ("name", "kind", "objective", "license", "vocabulary", "limits")
    whole = {
        "export_version": FORMAT_VERSION,
        **{name: record[name] for name in kept if name in record},
        "source_sha256": record["sha256"],
        "weights": weights,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "made_with": {name: version(name) for name in ("lamina", "openvino", "numpy")},
        **artefact.facts,
        "sha256": digests,
        "digest": hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest(),
    }
    (fresh / RECORD).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
