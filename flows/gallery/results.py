"""Results as the gallery knows them: a record that flows wrote, and the files it names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from core.wording import value
from flows.gallery.places import BATCHES, folders, inside, kind_of, read_table, table

FILMS = {".mp4", ".webm"}  # what a player shows; other clips are pictures that move
SHOWN = {".gif", ".webp", ".png", ".jpg", ".jpeg"}  # what a page shows as a picture
PICTURES = {"preview": ".webp", "frames": ".png"}
READ = {
    "prompt_as_typed": "typed as",
    "read_as": "read as",
    "not_understood": "not understood",
}
NEEDED = {"task", "created", "request", "outputs"}


@dataclass(frozen=True)
class Result:
    """One output with its record.

    Attributes:
        project: The project it belongs to.
        path: Of the record, from the project's folder on, without ``.json``.
        record: As written beside the output.
        files: Role to file, those of the record that stand, and pictures beside it.
    """

    project: str
    path: str
    record: Mapping[str, Any]
    files: Mapping[str, Path]

    @property
    def request(self) -> Mapping[str, Any]:
        """What was asked for."""
        return self.record["request"]

    @property
    def medical(self) -> bool:
        """Whether it shows a person's body."""
        model = self.record.get("model")
        of_heads = isinstance(model, dict) and model.get("kind") == "mri"
        return of_heads or "mri" in str(self.record["task"]).split("_")

    @property
    def title(self) -> str:
        """The prompt, or the name of the scan."""
        return title_of(self.request) or self.path.rpartition("/")[2]

    @property
    def remarks(self) -> list[str]:
        """How the prompt was read, where something was corrected or left out."""
        said = table(self.record.get("extra"))
        return [
            f"{label}: {value(found)}" for key, label in READ.items() if (found := said.get(key))
        ]

    @property
    def created(self) -> str:
        """When, as ISO time."""
        return str(self.record["created"])

    @property
    def run(self) -> str:
        """Which run made it: the end of its folder's name; empty for an item of a batch."""
        folder = self.path.rpartition("/")[0]
        return "" if folder.startswith(f"{BATCHES}/") else folder.rpartition("-")[2]

    @property
    def main(self) -> Path | None:
        """The file that was asked for."""
        outputs = table(self.record["outputs"])
        last = {"std", "consistency"}  # old records name the maps of a volume first
        named = sorted(outputs, key=lambda role: role in last) if outputs else []
        return next((self.files[role] for role in named if role in self.files), None)

    @property
    def picture(self) -> Path | None:
        """A picture for a card: the playing preview, the clip if it is one, else a still one."""
        if self.moves and "preview" not in self.files:
            return self.main
        names = ("preview", "picture", "frames")
        return next((self.files[name] for name in names if name in self.files), None)

    @property
    def moves(self) -> bool:
        """Whether the file that was asked for is shown as a picture, which may move."""
        return self.main is not None and self.main.suffix.lower() in SHOWN

    @property
    def page(self) -> str:
        """Address of its page, from the project's on."""
        return f"r/{quote(self.path)}"

    def address(self, file: Path) -> str:
        """Address of one of its files, from the project's on."""
        return f"f/{quote(self.path)}/{quote(file.name)}"

    def file(self, name: str) -> Path | None:
        """The file of that name if it is one of this result's."""
        return next((path for path in self.files.values() if path.name == name), None)


def title_of(request: Mapping[str, Any]) -> str:
    """The prompt of a request, or the name of its scan without folder and ending."""
    scan = str(request.get("scan") or "").replace("\\", "/").rpartition("/")[2]
    return str(request.get("prompt") or "") or scan.partition(".nii")[0]


def read_result(folder: Path, path: str) -> Result | None:
    """The result whose record is ``path.json`` in a project's folder; None if there is none.

    Args:
        folder: The project's, resolved.
        path: Names joined by slashes, from an address.
    """
    *between, name = path.split("/")
    file = inside(folder, *between, f"{name}.json")
    if file is None or not file.is_file():
        return None
    record = read_table(file)
    if not record.keys() >= NEEDED or not isinstance(record["request"], dict):
        return None
    return Result(folder.name, path, record, {**_files(folder, file, record), "record": file})


def single_results(folder: Path) -> Iterator[Result]:
    """The results of single runs in a project's folder, in no order."""
    for flow in folders(folder):
        if flow.name == BATCHES:
            continue
        for run in folders(flow):
            for file in sorted(run.glob("*.json")):
                path = file.relative_to(folder).as_posix().removesuffix(".json")
                if found := read_result(folder, path):
                    yield found


def _files(folder: Path, file: Path, record: Mapping[str, Any]) -> dict[str, Path]:
    outputs = table(record["outputs"])
    named = {
        str(role): str(facts.get("file", ""))
        for role, facts in outputs.items()
        if isinstance(facts, dict)
    }
    beside = {role: f"{file.stem}{ending}" for role, ending in PICTURES.items()}
    between = file.parent.relative_to(folder).parts
    found: dict[str, Path] = {}
    for role, name in (named | beside).items():
        path = inside(folder, *between, name) if kind_of(name) else None
        if path is not None and path.is_file() and path not in found.values():
            found[role] = path
    return found
