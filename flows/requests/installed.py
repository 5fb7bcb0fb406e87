"""What a form offers to choose from: models and engines that stand here, by name."""

from importlib.util import find_spec
from pathlib import Path

from flows.settings.settings import read_settings
from video.engines.places import INDEX, servers

SHIPPED = ("video", "medical")
OWN = "own"


def installed_models(kind: str) -> list[str]:
    """Names of the models of a kind, the operator's and the shipped ones."""
    from core.models.files import RECORD, read_record
    from core.trouble import Trouble

    specs = [find_spec(package) for package in SHIPPED]
    shipped = [Path(s.origin).parent / "weights" for s in specs if s and s.origin]
    found: dict[str, str] = {}
    for shelf in (*read_settings().models, *shipped):
        for path in sorted(shelf.glob(f"*/{RECORD}")):
            try:
                found.setdefault(path.parent.name, read_record(path.parent)["kind"])
            except (ValueError, OSError, Trouble):  # one that is broken hides no other
                continue
    return sorted(name for name, of in found.items() if of == kind)


def installed_engines() -> list[str]:
    """Our own model, the engines on the shelves, and servers that have a name."""
    shelves = read_settings().engines
    folders = {path.parent.name for shelf in shelves for path in shelf.glob(f"*/{INDEX}")}
    return [OWN, *sorted({*folders, *servers()} - {OWN})]
