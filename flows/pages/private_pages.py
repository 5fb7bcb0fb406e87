"""What Prefect's pages show of medical results, which have pages of their own in the gallery.

Prefect knows no projects: whoever reaches its pages sees those of every run. Where the operator
says so (``Settings.private``), they hold no picture and no file's name of a medical result, and
lead to the gallery, which shows each person their projects and logs who looked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flows.batches.ledger import Batch
from flows.pages.artifacts import announce, gallery_page, show_result, webp_uri
from flows.settings.settings import Settings, read_settings
from flows.storage.files import FileRef

NAMES = {"scan", "file"}  # facts that say what a file is called


def show_scan(
    title: str,
    picture: Path,
    facts: Mapping[str, Any],
    record: Path,
    results: Mapping[str, FileRef],
    settings: Settings,
) -> None:
    """Show a restored scan in the page of its run, and announce its files.

    Args:
        title: Headline.
        picture: Of scan, result and uncertainty.
        facts: Name to value.
        record: The result's record, ``outputs/project/flow/name-run/name.json``.
        results: The other files by role.
        settings: Places, and whether pages are private.
    """
    if not settings.private:
        page = gallery_page(record, settings.outputs)
        files = {**results, "record": FileRef.of(record)}
        show_result(title, webp_uri(picture.read_bytes()), facts, page, files)
        announce(results, settings.outputs, page)
        return
    project, flow, folder = record.relative_to(settings.outputs).parts[:3]
    run, page = folder.rpartition("-")[2], f"/gallery/p/{quote(project)}/"
    told = {name: value for name, value in facts.items() if name not in NAMES}
    show_result(title, "", {**told, "folder": f"its name ends with {run}"}, page)
    announce(results, settings.outputs, page, folder=f"{project}/{flow}/{run}")


def is_private(batch: Batch) -> bool:
    """Whether Prefect's pages show nothing of what a batch made."""
    return read_settings().private and batch.read()["kind"] == "mri"
