"""What a run shows while it works and when it is done, inside the page of the run.

The page can show an image only from inline data or an http address, never from a file, and it
drops video players; an animated WebP as a data URI plays. Artifacts stay small, as the list of
artifacts is sent with all its data. Results carry no key: one click in the run's page then opens
the result, where a key would open the list of all results of all runs.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.events import emit_event

from core.progress import Meter, Throttle, aside
from core.wording import inside, label, value
from flows.pages.front import bring_to_front, card
from flows.storage.files import FileRef

UPDATE_EVERY_S = 2.0
LARGEST_ARTIFACT = 200_000
LARGEST_PICTURE = 140_000  # bytes; base64 makes four of three
QUALITIES = (85, 70, 50, 30)
FOLLOW = "Follow it in the gallery"


class ArtifactMeter:
    """A meter that shows a progress bar, with words and the time left, in the run's page."""

    def __init__(self, key: str, page: str = "") -> None:
        """Take the artifact's key; it appears with the first call.

        Args:
            key: Of the artifact.
            page: Address in the gallery where the results can be seen meanwhile; empty for none.
        """
        self._key, self._page = key, page
        self._throttle = Throttle(UPDATE_EVERY_S)
        self._artifact: UUID | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show ``done`` of ``total``; updates closer than two seconds are dropped."""
        if done < total and not self._throttle.ready():
            return
        percent = 100.0 * done / total
        if self._artifact is None:
            self._artifact = cast(UUID, create_progress_artifact(percent, self._key, note))
            if self._page:
                create_markdown_artifact(f"[{FOLLOW}]({self._page})\n", description=FOLLOW)
        else:
            update_progress_artifact(self._artifact, percent, note)


def progress_bar(key: str, page: str = "") -> AbstractContextManager[Meter]:
    """A bar in the run's page for the block; a server that is slow or away holds nothing up.

    Arguments as of ``ArtifactMeter``.
    """
    return aside(ArtifactMeter(key, page))


class LivingPage:
    """A page in the run that is written anew as the work goes on."""

    def __init__(self, title: str) -> None:
        """Take the headline; the page appears with the first call."""
        self._title = title
        self._artifact: UUID | None = None

    def __call__(self, pictures: Mapping[str, str], facts: Mapping[str, Any]) -> None:
        """Show pictures (what they show to data URI) above a table of facts."""
        shown = "".join(f"![{_plain(name)}]({uri})\n\n" for name, uri in pictures.items())
        page = _page(self._title, shown + _table(facts))
        if self._artifact is None:
            self._artifact = cast(UUID, create_markdown_artifact(page, description=self._title))
            return
        with get_client(sync_client=True) as client:
            client.update_artifact(self._artifact, ArtifactUpdate(data=page))

    def remove(self) -> None:
        """Take the page out of the run again."""
        if self._artifact is not None:
            with get_client(sync_client=True) as client:
                client.delete_artifact(self._artifact)


def data_uri(image: bytes, kind: str) -> str:
    """An image as text that a page can hold; ``kind`` is ``webp`` or ``png``."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def webp_uri(picture: bytes, largest: int = LARGEST_PICTURE) -> str:
    """A still picture of any form as a data URI in WebP.

    Args:
        picture: The bytes of its file.
        largest: Bytes it may take; by default it fits a page alone.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    while True:
        for quality in QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality)
            if buffer.tell() <= largest:
                return data_uri(buffer.getvalue(), "webp")
        image = image.resize((image.width // 2, image.height // 2))


def show_result(
    title: str,
    picture: str,
    facts: Mapping[str, Any],
    page: str = "",
    files: Mapping[str, FileRef] | None = None,
) -> None:
    """Put one page with a picture, a table of facts and a table of outputs into the run.

    Args:
        title: Headline and the picture's alternative text.
        picture: A data URI; empty for none.
        facts: Name to value, one row each.
        page: Address of the result's page in the gallery; empty for no link.
        files: The outputs by role.
    """
    link = f"[See, compare and download it in the gallery]({page})\n\n" if page else ""
    outputs = f"\n### Outputs\n\n{_outputs(files, page)}" if files else ""
    shown = f"![{_plain(title)}]({picture})\n\n" if picture else ""
    made = _show(title, f"{shown}{link}{_table(facts)}{outputs}", picture)
    if made:
        bring_to_front(made)


def show_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Put one page with a table of facts into the run; arguments as in ``show_result``."""
    show_result(title, "", facts)


def show_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put one page with a table into the run; a cell that a row lacks is empty.

    Args:
        title: Headline.
        rows: Name to value; all names together are the columns.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(value(row.get(name, ""))) for name in names] for row in rows]
    _show(title, _rows([_named(name) for name in names], cells))


def gallery_page(record: Path, outputs: Path) -> str:
    """Address of a result's page in the gallery, on the server's own origin.

    Args:
        record: The result's record, ``outputs/project/.../name.json``.
        outputs: Root of all outputs.
    """
    project, *parts = record.with_suffix("").relative_to(outputs).parts
    return f"/gallery/p/{quote(project)}/r/{quote('/'.join(parts))}"


def batch_page(project: str, name: str) -> str:
    """Address of a batch's page in the gallery, on the server's own origin."""
    return f"/gallery/p/{quote(project)}/batches/{quote(name)}/"


def announce(
    files: Mapping[str, FileRef], outputs: Path, page: str = "", *, folder: str = ""
) -> None:
    """Tell the outside of each output, as Prefect's own event for an asset that was made.

    Args:
        files: Role to file, each ``outputs/project/.../folder/file``.
        outputs: Root of all outputs.
        page: Address of the result's page in the gallery.
        folder: What to name the assets after, instead of the folder in which they stand.
    """
    for role, file in files.items():
        path = Path(file.path)
        place = folder or path.parent.relative_to(outputs).as_posix()
        emit_event(**asset_event(place, role, file.sha256, path, page))


def asset_event(folder: str, role: str, sha256: str, file: Path, page: str) -> dict[str, Any]:
    """Prefect's own event for an asset that was made, without identity and time.

    An asset is named by its place, ``lamina://project/flow/folder/role``: folders are named by
    whoever asked, and nothing else of a request or a patient is told.

    Args:
        folder: The asset's place below the root of all outputs.
        role: What it is there.
        sha256: Digest of its file.
        file: The file, which another host may have.
        page: Address in the gallery; empty for none.
    """
    resource = {
        "prefect.resource.id": f"lamina://{quote(folder)}/{role}",
        "prefect.resource.name": role,
    }
    size = {"bytes": file.stat().st_size} if file.exists() else {}
    return {
        "event": "prefect.asset.materialization.succeeded",
        "resource": resource | ({"prefect.asset.url": page} if page else {}),
        "payload": {"sha256": sha256, **size},
    }


def _show(title: str, body: str, picture: str = "") -> UUID | None:
    told = card(_cell(title), picture) if picture else title
    return cast(UUID | None, create_markdown_artifact(_page(title, body), description=told))


def _page(title: str, body: str) -> str:
    page = f"## {_cell(title)}\n\n{body}"
    assert len(page) <= LARGEST_ARTIFACT, f"a page of {len(page)} bytes slows the interface down"
    return page


def _outputs(files: Mapping[str, FileRef], page: str) -> str:
    """A table of files; with a page in the gallery, each name is a link that saves the file."""
    rows = []
    for role, file in files.items():
        path = Path(file.path)
        name = _cell(path.name)
        if page:
            name = f"[{name}]({page.replace('/r/', '/f/', 1)}/{quote(path.name)}?download=1)"
        kilobytes = f"{path.stat().st_size / 1000:.1f} kB"
        rows.append([_cell(role), name, kilobytes, f"`{file.sha256[:16]}`"])
    return _rows(["output", "file", "size", "SHA-256"], rows)


def _rows(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _table(facts: Mapping[str, Any]) -> str:
    said = {name: value(x) for name, x in facts.items() if not (isinstance(x, str) and not x)}
    told = "\n".join(f"| {_named(name)} | {_cell(x)} |" for name, x in said.items())
    return f"| | |\n|---|---|\n{told}\n"


def _named(name: str) -> str:
    """A fact's name in words; what is in words already stays."""
    return _cell(inside(label(name)) if "_" in name else name)


def _cell(value: object) -> str:
    text = str(value).replace("\n", " ")
    return "".join(f"\\{sign}" if sign in "|<>`*_[]" else sign for sign in text)


def _plain(text: str) -> str:
    return "".join(sign for sign in text if sign not in "[]()\n")
