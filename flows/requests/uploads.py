"""Scans that people uploaded through the gallery, and how a request names them.

They stand in a folder of their own below the project's results, where a request may name files
anyway; ``upload:p17.nii.gz`` spares a person the path, which only the server knows.
"""

from pathlib import Path
from typing import TypeVar

from core.refusal import Refusal
from core.request import Request
from flows.requests.roots import named_paths
from flows.settings.settings import Settings
from flows.storage.files import checked_project

FOLDER, PREFIX = "uploads", "upload:"
Asked = TypeVar("Asked", bound=Request)


def folder_of_uploads(outputs: Path, project: str) -> Path:
    """Where a project's uploaded scans stand, or will."""
    return outputs / checked_project(project) / FOLDER


def with_uploads(request: Asked, project: str, settings: Settings) -> Asked:
    """The request with the path of each scan that it names by ``upload:NAME``.

    ``upload:`` alone is the folder of all of them, for a batch.

    Raises:
        Refusal: The project has no such scan.
    """
    told = dict(named_paths(request))
    named = {field: text for field, text in told.items() if text.startswith(PREFIX)}
    if not named:
        return request
    folder = folder_of_uploads(settings.outputs, project)
    found = {
        field: _found(folder, field, text, project, settings.store)
        for field, text in named.items()
    }
    return request.with_files(found)


def _found(folder: Path, field: str, text: str, project: str, store: str) -> str:
    name = text.removeprefix(PREFIX).strip()
    if not folder.is_dir() and store:
        raise Refusal(
            f"{field}={text}: this host has no upload of the project {project}: uploads stay "
            "on the disk of the gallery's host, which hosts that meet in LAMINA_STORE do not "
            "share; name the scan's address in the store, or run it on a host with that disk."
        )
    there = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
    if name and name not in there:
        raise Refusal(
            f"{field}={text}: the project {project} holds no uploaded scan of that name (there: "
            f"{', '.join(there) or 'none'}): a scan is uploaded in the gallery, on the project's "
            "page of scans; upload it there, or correct name or project."
        )
    return str(folder / name)
