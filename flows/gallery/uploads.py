"""Scans that people bring: sent by the page of a project's scans, checked, kept whole or not.

Only a page of the gallery may send one, and only to a project that exists for the person. The
file is read as a scan before it gets its name, and never takes the place of another.
"""

import re
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.records import atomic_path
from core.refusal import Refusal
from core.trouble import Trouble
from flows.gallery.guard import from_here
from flows.requests.uploads import PREFIX, folder_of_uploads
from flows.settings.settings import Settings
from flows.storage.files import plain_name
from flows.storage.quota import Quota

LARGEST_SCAN = 1_000_000_000  # bytes
ENDINGS = (".nii.gz", ".nii")
LONGEST_STEM = 80
LEAST_BYTES = 352  # of a NIfTI header
BAD_REQUEST, FORBIDDEN, CREATED = 400, 403, 201


class Uploads:
    """Takes scans for the projects of one gallery."""

    def __init__(self, settings: Settings) -> None:
        """Take the places."""
        self._settings = settings

    async def receive(self, request: Request) -> Response:
        """Take one file, named in the address, whose bytes are the body."""
        project = request.path_params["project"]
        if not from_here(request):
            raise HTTPException(FORBIDDEN)
        if project != plain_name(project, "") or not request.state.user.sees(project):
            raise HTTPException(404)
        try:
            name = stored_name(request.path_params["name"])
            _check_length(int(request.headers.get("content-length") or 0))
            await self._take(request, project, name)
        except (Refusal, Trouble, ValueError, OSError) as error:
            return JSONResponse({"error": str(error)}, BAD_REQUEST)
        return JSONResponse({"name": name, "scan": f"{PREFIX}{name}"}, CREATED)

    async def _take(self, request: Request, project: str, name: str) -> None:
        length = int(request.headers.get("content-length") or LARGEST_SCAN)
        await run_in_threadpool(Quota(self._settings, project).check, length)
        folder = folder_of_uploads(self._settings.outputs, project)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / name).exists():
            raise Refusal(
                f"{name}: a scan of this name is here already: none takes the place of another; "
                "give the file another name."
            )
        with atomic_path(folder / name) as part:
            received = 0
            with part.open("wb") as file:
                async for piece in request.stream():
                    received += len(piece)
                    _check_length(received)
                    await run_in_threadpool(file.write, piece)
            await run_in_threadpool(_check, part, name)


def stored_name(name: str) -> str:
    """A file's name as it is kept: letters, digits, dots, dashes and underscores.

    Raises:
        Refusal: It is not that of a NIfTI file.
    """
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name[: len(name) - len(ending)]).strip(".-")
    if not ending or not stem:
        raise Refusal(
            f"{name}: a scan is uploaded as NIfTI, .nii or .nii.gz; convert it, for instance with "
            "dcm2niix."
        )
    return stem[:LONGEST_STEM] + ending


def _check_length(length: int) -> None:
    if length > LARGEST_SCAN:
        raise Refusal(
            f"The file has more than {LARGEST_SCAN / 1e6:.0f} MB: a scan to be uploaded has at "
            "most so many; crop it, or have the operator put it on the server."
        )


def _check(part: Path, name: str) -> None:
    """Refuse what is no whole scan, by its own name."""
    from medical.files.container import check_gzip, is_gzip
    from medical.files.nifti import read_size

    try:
        if is_gzip(part):
            check_gzip(part, LEAST_BYTES)
        read_size(part)
    except (Refusal, Trouble) as error:
        raise Refusal(str(error).replace(str(part), name)) from error
