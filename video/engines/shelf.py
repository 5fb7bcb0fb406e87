"""Engines by what a request names: our own model, a name on a shelf, a folder, a server."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from core.models.adapters import Lora
from core.refusal import Refusal
from video.engines.controlled import SHOWN
from video.engines.diffusers_folder import DiffusersFolder
from video.engines.own_engine import OwnEngine
from video.engines.places import INDEX, servers, shelves, whereabouts
from video.request import VideoRequest

if TYPE_CHECKING:
    from core.models.controls import Control
    from video.engines.engine import Ability, Engine


def engine_of(request: VideoRequest) -> "Engine":
    """The engine that a request names.

    Raises:
        Refusal: There is none of that name.
    """
    if not request.engine:
        lora = Lora.of(request.lora, request.lora_scale) if request.lora else None
        return _own(request.model, lora, _control_of(request), request.backend)
    return find_engine(request.engine, request.placement)


def find_engine(name: str, placement: str = "") -> "Engine":
    """An engine by its name on a shelf, by its folder, which has a slash, or by its address.

    Args:
        name: As a request writes it.
        placement: How a folder's weights are held and computed; see ``video.engines.placement``.

    Raises:
        Refusal: There is none.
    """
    return _found(name, placement, whereabouts())


def folders() -> list[Path]:
    """All folders of engines on the shelves; the first of a name wins."""
    return [path.parent for shelf in shelves() for path in sorted(shelf.glob(f"*/{INDEX}"))]


def able(ability: "Ability") -> list[str]:
    """Names of the engines here that are known to have an ability; none is looked over for it."""
    here = (_of_folder(path.resolve(), "") for path in folders())
    found = [one.name for one in here if ability in one.known_abilities]
    if not servers():
        return found
    from video.engines.video_server import VideoServer

    return found + [name for name in servers() if ability in VideoServer.abilities]


@cache
def _found(name: str, placement: str, whereabouts: tuple[str, ...]) -> "Engine":
    if "://" in name or name in servers():
        if placement:
            raise Refusal(
                f"placement={placement} with engine={name}: a server holds its weights as it was "
                "started; leave placement out."
            )
        from video.engines.video_server import VideoServer

        return VideoServer.named(servers().get(name, name))
    if "/" in name or not name[:1].isalnum():
        return _of_folder(Path(name).expanduser().resolve(), placement)
    here = (shelf / name for shelf in shelves())
    found = next((folder for folder in here if (folder / INDEX).is_file()), None)
    if found is None:
        named = ", ".join(sorted({folder.name for folder in folders()})) or "none"
        raise Refusal(
            f"engine={name}: no such engine stands on the shelves of LAMINA_ENGINES (there: "
            f"{named}): an engine is named as `lamina engines list` shows it, or as a folder with "
            f"a slash; write ./{name} for a folder here."
        )
    return _of_folder(found.resolve(), placement)


def _control_of(request: VideoRequest) -> "Control | None":
    if not request.control:
        return None
    from core.models.controls import named

    return named(request.control, request.control_scale, tuple(SHOWN), "video")


@cache
def _own(name: str, lora: Lora | None, control: "Control | None", backend: str) -> OwnEngine:
    return OwnEngine(name, lora, control, backend)


@cache
def _of_folder(path: Path, placement: str) -> DiffusersFolder:
    if not path.is_dir():
        raise Refusal(
            f"engine={path}: there is no such folder: an engine is a folder of diffusers with "
            f"{INDEX}; check the name."
        )
    return DiffusersFolder(path, placement)
