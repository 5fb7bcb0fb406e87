"""What a run shows of a clip before it is made: in its own page, and in the gallery.

One small file a clip stands in the project's hidden folder while it is drawn. It is shown and
sent in the background; what is late is left out.
"""

import base64
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING

from core.operations.operation import AnyOperation
from core.records import atomic_path
from core.request import Request

if TYPE_CHECKING:
    from flows.pages.artifacts import LivingPage

logger = logging.getLogger(__name__)

FOLDER = ".under-way"
TITLE = "On the way"
FORGOTTEN_S = 2 * 86_400.0


class RunPreviews:
    """Takes a picture now and then; see ``video.engines.previews.Shown``."""

    def __init__(
        self, place: Path, title: str, line: ThreadPoolExecutor, page: "LivingPage | None"
    ) -> None:
        """Nothing is shown yet.

        Args:
            place: The file for the gallery.
            title: What is being made.
            line: In which it is shown.
            page: In the run; None for none.
        """
        self._place, self._title, self._line = place, title, line
        self._page, self._state = page, copy_context()
        self._busy: Future[None] | None = None

    def __call__(self, picture: bytes, done: int, total: int) -> None:
        """Show a WebP, unless the last is still being shown."""
        if self._busy is None or self._busy.done():
            self._busy = self._line.submit(self._state.run, self._show, picture, done, total)

    def end(self) -> None:
        """Take file and page away, as the clip itself is shown now."""
        if self._busy is not None or self._place.exists():
            self._line.submit(self._state.run, self._remove)

    def _remove(self) -> None:
        _tidy(self._place)
        try:
            if self._page is not None:
                self._page.remove()
        except Exception as error:
            logger.warning("the page of the clip on its way stays: %s", error)

    def _show(self, picture: bytes, done: int, total: int) -> None:
        said = {"title": self._title, "done": done, "total": total, "time": time.time()}
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            coded = base64.b64encode(picture).decode()
            with atomic_path(self._place, overwrite=True) as temporary:
                temporary.write_text(json.dumps(said | {"picture": coded}))
            facts = {"prompt": self._title, "step": f"{done} of {total}"}
            if self._page is not None:
                uri = f"data:image/webp;base64,{coded}"
                self._page({"what is predicted so far": uri}, facts)
        except Exception as error:  # the clip is more than its preview
            logger.warning("the clip on its way could not be shown: %s", error)


@contextmanager
def run_previews(
    operation: AnyOperation, request: Request, project: Path, name: str, *, page: bool = True
) -> Iterator[RunPreviews | None]:
    """What shows a clip while it is drawn; None for what is no clip.

    Args:
        operation: What is done.
        request: What is asked.
        project: The project's folder.
        name: Of the run or the item.
        page: Whether the run's page shows it, too.
    """
    if operation.kind != "video":
        yield None
        return
    place = project / FOLDER / f"{name}.json"
    with ThreadPoolExecutor(1) as line:
        shown = RunPreviews(place, operation.title(request), line, _page() if page else None)
        try:
            yield shown
        finally:
            shown.end()
            line.shutdown()


def _page() -> "LivingPage":
    from flows.pages.artifacts import LivingPage  # Prefect, which shards do without

    return LivingPage(TITLE)


def _tidy(place: Path) -> None:
    """Remove this run's file, and those of runs that were killed and never taken up again."""
    place.unlink(missing_ok=True)
    old = time.time() - FORGOTTEN_S
    for path in place.parent.glob("*.json"):
        try:
            if path.stat().st_mtime < old:
                path.unlink()
        except OSError:
            continue
