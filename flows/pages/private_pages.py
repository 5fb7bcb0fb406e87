"""What Prefect's pages show of medical results, which have pages of their own in the gallery.

Prefect knows no projects: whoever reaches its pages sees those of every run. Where the operator
says so (``Settings.private``), they hold no picture and no file's name of a medical result, and
lead to the gallery, which shows each person their projects and logs who looked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from core.operations.operation import AnyOperation
from flows.jobs.pipeline import DERIVED
from flows.pages.artifacts import announce, data_uri, gallery_page, show_result, webp_uri
from flows.settings.settings import read_settings
from flows.storage.files import FileRef

NAMES = {"scan", "file"}  # facts that say what a file is called


def show_outputs(
    operation: AnyOperation,
    title: str,
    facts: Mapping[str, Any],
    record: Path,
    results: Mapping[str, FileRef],
) -> None:
    """Show a result in the page of its run, and announce its files.

    Args:
        operation: What was done.
        title: Headline; a private result has none of its own.
        facts: Name to value.
        record: The result's record, ``outputs/project/flow/name-run/name.json``.
        results: The other files by role, pictures among them.
    """
    settings = read_settings()
    told = {role: ref for role, ref in results.items() if role not in DERIVED}
    if not (operation.private and settings.private):
        page = gallery_page(record, settings.outputs)
        files = {**told, "record": FileRef.of(record)}
        show_result(title, _picture(results), facts, page, files)
        announce(told, settings.outputs, page)
        return
    project, flow, folder = record.relative_to(settings.outputs).parts[:3]
    run, page = folder.rpartition("-")[2], f"/gallery/p/{quote(project)}/"
    known = {name: value for name, value in facts.items() if name not in NAMES}
    headline = f"A {operation.noun} is done"
    show_result(headline, "", {**known, "folder": f"its name ends with {run}"}, page)
    announce(told, settings.outputs, page, folder=f"{project}/{flow}/{run}")


def _picture(results: Mapping[str, FileRef]) -> str:
    """The preview as it is, so that it plays, or else the still picture made to fit."""
    if preview := results.get("preview"):
        return data_uri(preview.open().read_bytes(), "webp")
    still = results.get("picture")
    return webp_uri(still.open().read_bytes()) if still else ""
