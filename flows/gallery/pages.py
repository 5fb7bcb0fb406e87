"""The pages: each reads what stands on the disk at that moment and fills a template."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from core.wording import rows
from flows.gallery import words
from flows.gallery.access import Access
from flows.gallery.cards import Entry, entries, item_card, newest, result_card, told_apart
from flows.gallery.layers import layers_of, scan_name, scan_of
from flows.gallery.manifests import STATES, Batch, batches, read_batch
from flows.gallery.places import folders, inside, kind_of, number, table, whole_results
from flows.gallery.results import READ, Result, read_result, single_results
from flows.gallery.under_way import under_way
from flows.gallery.uploads import LARGEST_SCAN
from flows.jobs.verification import line_of
from flows.requests.uploads import FOLDER, PREFIX
from flows.storage.files import DEFAULT_PROJECT, plain_name

TEMPLATES = Path(__file__).parent / "templates"
PER_PAGE = 48
LATEST = 12
SMALL = 128  # a clip of so many pixels is shown larger than it is
KINDS = {"video": False, "mri": True}
ROLES = {
    "video": "Clip",
    "preview": "Animated preview",
    "frames": "All frames",
    "result": "Volume",
    "std": "Uncertainty map",
    "consistency": "Unexplained part of the scan",
    "mask": "Mask",
    "bright": "Mask by brightness alone",
    "picture": "One cut, side by side",
    "gltf": "Mesh, as glTF",
    "stl": "Mesh, as STL",
    "record": "Record",
}
RESTORED = {"result": "Restored volume", "picture": "Three cuts"}
UNKEPT = {"Cache-Control": "no-store"}
T = TypeVar("T")


class Pages:
    """The handlers of one gallery."""

    def __init__(
        self, outputs: Path, access: Access, stamp: str, inputs: tuple[Path, ...] | None = ()
    ) -> None:
        """Take the places and who watches over them.

        Args:
            outputs: Root of all results.
            access: The doorkeeper.
            stamp: Of the static files.
            inputs: Folders below which scans may be shown; None for any.
        """
        self._outputs, self._inputs = outputs, inputs
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(when=words.when, size=words.size, lasting=words.lasting)
        self._templates.globals.update(
            stamp=stamp, closed=not access.open, states=STATES, usual=DEFAULT_PROJECT
        )

    def home(self, request: Request) -> Response:
        """Every project, and what was made last."""
        seen = [
            (folder, newest([entry for entry in entries(folder) if entry.made]))
            for folder in self._projects(request)
        ]
        projects = [
            {
                "name": folder.name,
                "batches": sum(1 for _ in batches(folder)),
                "results": len(found),
                "cards": [entry.card() for entry in found[:4]],
            }
            for folder, found in seen
        ]
        latest = newest([entry for _, found in seen for entry in found])[:LATEST]
        cards = told_apart([entry.card() for entry in latest])
        return self._page(request, "home.html", projects=projects, cards=cards)

    def project(self, request: Request) -> Response:
        """The batches and the single runs of a project."""
        folder = self._project(request)
        found = sorted(batches(folder), key=lambda batch: batch.created, reverse=True)
        singles = sorted(single_results(folder), key=lambda r: r.created, reverse=True)
        shown, paging = _paged(singles, request)
        return self._page(
            request,
            "project.html",
            project=folder.name,
            under_way=under_way(folder),
            batches=[(batch, _sample(batch)) for batch in found],
            cards=told_apart([result_card(result) for result in shown]),
            paging=paging,
        )

    def batch(self, request: Request) -> Response:
        """The state of a batch and a sheet of its items."""
        folder = self._project(request)
        batch = read_batch(folder, request.path_params["batch"])
        if batch is None:
            raise HTTPException(404)
        wanted = request.query_params.get("state", "")
        chosen = [item for item in batch.items if wanted in ("", item.state)]
        shown, paging = _paged(chosen, request)
        return self._page(
            request,
            "batch.html",
            project=folder.name,
            batch=batch,
            cards=told_apart([item_card(batch, item) for item in shown]),
            paging=paging,
            wanted=wanted if wanted in STATES else "",
            asked=words.asked(batch.flow, table(batch.facts.get("request"))),
        )

    def result(self, request: Request) -> Response:
        """One result with its record."""
        result = self._result(request, request.path_params["path"])
        record, main = result.record, result.main
        told = {name: x for name, x in result.request.items() if name not in ("prompt", "scan")}
        extra = table(record.get("extra"))
        restored = "std" in result.files
        roles = ROLES | RESTORED if restored else ROLES
        return self._page(
            request,
            "result.html",
            project=result.project,
            result=result,
            crumbs=_crumbs(result),
            asked=words.asked(str(record["task"]), told),
            found=list(rows({name: x for name, x in extra.items() if name not in READ})),
            files=[(roles.get(role, role), path) for role, path in result.files.items()],
            sheet="Scan, result and uncertainty" if restored else "One cut",
            layers=list(layers_of(result)) if result.medical else [],
            scan=scan_name(scan) if (scan := self._scan(result)) else "",
            digests=_digests(record),
            origin="" if result.medical or not main else line_of(main),
            everything=list(rows(record)),
            lasted=number(record.get("wall_time_s")),
            small=0 < number(result.request.get("width")) <= SMALL,
            command=words.reproducing(str(record["task"]), main),
        )

    def file(self, request: Request) -> Response:
        """One file of a result, in the ranges that a player asks for."""
        path, _, name = request.path_params["path"].rpartition("/")
        result = self._result(request, path)
        file, kind = result.file(name), kind_of(name)
        if file is None or kind is None:
            raise HTTPException(404)
        attached = "download" in request.query_params
        return FileResponse(
            file,
            media_type=kind,
            filename=file.name,
            content_disposition_type="attachment" if attached else "inline",
            headers=UNKEPT if result.medical else {"Cache-Control": "private, no-cache"},
        )

    def scan(self, request: Request) -> Response:
        """The scan that a result was made from, as long as it is the same."""
        path, _, name = request.path_params["path"].rpartition("/")
        scan = self._scan(self._result(request, path))
        if scan is None or name != scan_name(scan):
            raise HTTPException(404)
        return FileResponse(scan, media_type=kind_of(scan.name), headers=UNKEPT)

    def scans(self, request: Request) -> Response:
        """The scans that were uploaded to a project, and where to upload more."""
        project = request.path_params["project"]
        if project != plain_name(project, "") or not request.state.user.sees(project):
            raise HTTPException(404)
        folder = inside(self._outputs, project, FOLDER)
        found = sorted(folder.glob("[!.]*")) if folder else []
        scans = [(f"{PREFIX}{path.name}", path) for path in found if kind_of(path.name)]
        return self._page(
            request, "scans.html", project=project, scans=scans, largest=LARGEST_SCAN
        )

    def search(self, request: Request) -> Response:
        """What was asked for with these words, of this kind, on these days."""
        asked = {
            name: request.query_params.get(name, "")
            for name in ("q", "kind", "project", "since", "until")
        }
        chosen = [f for f in self._projects(request) if asked["project"] in ("", f.name)]
        found = [entry for folder in chosen for entry in entries(folder) if _fits(entry, asked)]
        shown, paging = _paged(newest(found), request)
        cards = told_apart([entry.card() for entry in shown])
        request.state.shown = [unquote(card.page) for card in cards if card.page]
        return self._page(
            request,
            "search.html",
            asked=asked,
            names=[folder.name for folder in self._projects(request)],
            cards=cards,
            paging=paging,
        )

    def login(self, request: Request, *, refused: bool = False) -> Response:
        """The form that takes a token."""
        status = 401 if refused else 200
        return self._page(request, "login.html", status, refused=refused)

    def error(self, request: Request, error: Exception) -> Response:
        """A page for what is not there, or not for this person: both look alike."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        return self._page(request, "error.html", status, code=status)

    def _page(
        self, request: Request, template: str, status: int = 200, **content: Any
    ) -> HTMLResponse:
        user = getattr(request.state, "user", None)
        html = self._templates.get_template(template).render(
            base=request.scope.get("root_path", ""),
            user=user.name if user else "",
            query=request.query_params,
            **content,
        )
        return HTMLResponse(html, status_code=status)

    def _projects(self, request: Request) -> list[Path]:
        return [
            folder for folder in folders(self._outputs) if request.state.user.sees(folder.name)
        ]

    def _project(self, request: Request) -> Path:
        name = request.path_params["project"]
        folder = inside(self._outputs, name) if request.state.user.sees(name) else None
        if folder is None or not folder.is_dir():
            raise HTTPException(404)
        return folder

    def _scan(self, result: Result) -> Path | None:
        return scan_of(result, self._inputs) if result.medical and result.main else None

    def _result(self, request: Request, path: str) -> Result:
        with whole_results():
            result = read_result(self._project(request), path)
        if result is None:
            raise HTTPException(404)
        return result


def _sample(batch: Batch) -> list[Any]:
    made = (item for item in batch.items if item.state == "made")
    return [item_card(batch, item) for item in islice(made, 8)]


def _fits(entry: Entry, asked: dict[str, str]) -> bool:
    day = entry.created[:10]
    return (
        all(word in entry.text for word in asked["q"].lower().split())
        and (asked["kind"] not in KINDS or entry.medical == KINDS[asked["kind"]])
        and (not asked["since"] or day >= asked["since"])
        and (not asked["until"] or day <= asked["until"])
    )


def _paged(found: Sequence[T], request: Request) -> tuple[Sequence[T], dict[str, Any]]:
    """The part for the page that was asked for, and what to say about the others."""
    last = max(1, -(-len(found) // PER_PAGE))
    asked = request.query_params.get("page", "1")
    page = min(max(1, int(asked)), last) if asked.isdecimal() and len(asked) < 7 else 1
    part = found[(page - 1) * PER_PAGE : page * PER_PAGE]
    return part, {"page": page, "last": last, "count": len(found)}


def _crumbs(result: Result) -> list[tuple[str, str]]:
    """The pages above a result's: the batch's, if it is of one."""
    parts = result.path.split("/")
    return [(parts[1], f"batches/{parts[1]}/")] if parts[0] == "batches" else []


def _digests(record: Any) -> dict[str, str]:
    outputs = table(record["outputs"])
    return {
        str(facts.get("file")): str(facts.get("sha256", ""))
        for facts in outputs.values()
        if isinstance(facts, dict)
    }
