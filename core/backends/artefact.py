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
from core.runner.graphs import FORMAT_VERSION, FORMATS, ONNX, OPENVINO, RECORD

WEIGHTS = ("float16", "float32", "int8")
WRITERS = {OPENVINO: (), ONNX: ("onnx",)}
"""What writes each format, beside OpenVINO, of which all graphs are built."""
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
        modules: The code that runs it, such as ``core.refusal``, but for what computes graphs.
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
    out: Path,
    record: Mapping[str, Any],
    weights: str,
    made: Callable[[], Artefact],
    form: str = OPENVINO,
) -> Path:
    """Write the folder whole, or not at all.

    Args:
        out: Must not exist yet.
        record: Of the model.
        weights: How they are stored, one of ``WEIGHTS``.
        made: Makes what is exported, once all that was asked is known to be lawful.
        form: How graphs are written, one of ``FORMATS``.

    Raises:
        Refusal: The folder exists, there is no such way to store weights, or what writes the
            format is not installed.
    """
    _check(out, weights, form)
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    fresh.mkdir()
    try:
        artefact = made()
        for name, graph in artefact.graphs.items():
            stored = in_integers(graph) if weights == "int8" else graph
            save_graph(stored, fresh / name, form, half=weights != "float32")
        for name, source in artefact.copied.items():
            shutil.copyfile(source, fresh / name)
        _copy_code(fresh, artefact, form)
        facts = {"weights": weights, "format": form, **artefact.facts}
        _describe(fresh, record, facts)
        os.replace(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


def save_graph(graph: ov.Model, path: Path, form: str, *, half: bool) -> None:
    """Write one graph; the path has no ending."""
    if form == ONNX:
        from core.backends.onnx_graph import save

        save(graph, path.with_suffix(".onnx"), half=half)
    else:
        ov.save_model(graph, path.with_suffix(".xml"), compress_to_fp16=half)


def _check(out: Path, weights: str, form: str) -> None:
    if weights not in WEIGHTS:
        raise Refusal(
            f"weights={weights!r}: weights are stored as one of {', '.join(WEIGHTS)}; name one."
        )
    missing = [name for name in (*WRITERS[form], FORMATS[form].library) if not find_spec(name)]
    if missing:
        raise Refusal(
            f"format={form}: {missing[0]} is not installed here, and what is exported as {form} "
            f"needs it; install the extra {form}."
        )
    if out.exists():
        raise Refusal(
            f"{out} exists: an exported model never replaces another; choose a new name or move "
            "it away."
        )
    if not out.parent.is_dir():
        raise Refusal(f"{out}: the folder {out.parent} does not exist; create it first.")


def _copy_code(fresh: Path, artefact: Artefact, form: str) -> None:
    """The modules, and the packages that they are in, below ``code``."""
    modules = (*artefact.modules, FORMATS[form].module)
    packages = {m.rsplit(".", n)[0] for m in modules for n in range(1, m.count(".") + 1)}
    for module in {*modules, *packages}:
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
    needs = (*artefact.needs, FORMATS[form].library)
    needed = [f"{name}=={version(name)}" for name in sorted(needs)]
    (fresh / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")


def _describe(fresh: Path, record: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write what it is, with the digest of every file."""
    files = sorted(path for path in fresh.rglob("*") if path.is_file())
    digests = {str(path.relative_to(fresh)): sha256_file(path) for path in files}
    kept = ("name", "kind", "objective", "license", "vocabulary", "limits")
    whole = {
        "export_version": FORMAT_VERSION,
        **{name: record[name] for name in kept if name in record},
        "source_sha256": record["sha256"],
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "made_with": {name: version(name) for name in ("lamina", "openvino", "numpy")},
        **facts,
        "sha256": digests,
        "digest": hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest(),
    }
    (fresh / RECORD).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
